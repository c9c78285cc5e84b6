"""What the commands can learn of this machine without a running server: its runtimes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .failures import Failed

if TYPE_CHECKING:
    from lambent.runtimes.service import Runtimes
    from lambent.settings import Settings


@contextmanager
def found_runtimes(settings: Settings) -> Iterator[Runtimes]:
    """The runtimes of this machine, those that were added to the data directory among them; good inside the block.

    Looking must change nothing: where there is no data directory yet, or one of another user's, what discovery keeps
    for the next time goes to a temporary directory.
    """
    from lambent.runtimes.discovery import Places
    from lambent.runtimes.service import discover

    kept = settings.server.data_dir / "runtimes"
    places = Places(os.environ.get("PATH", ""), Path.home(), kept)
    with _writable(kept) as data:
        yield discover(places, data)


@contextmanager
def _writable(kept: Path) -> Iterator[Path]:
    if os.access(kept, os.W_OK | os.X_OK):
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="lambent-runtimes-") as folder:
        Path(folder).chmod(0o711)  # as DATA/runtimes: what lies in it is for every function
        yield Path(folder)


def runtimes_folder(settings: Settings) -> Path:
    """DATA/runtimes, to install into; a data directory that does not exist is made as the server would make it."""
    from lambent.assembly.privileges import UnknownUser, server_identity
    from lambent.stores.datadir import DataDirectoryError, open_data_directory
    from lambent.stores.writer import StoreFormatError

    path = settings.server.data_dir / "runtimes"
    try:
        if not path.is_dir():
            owner = server_identity(settings.server.run_as)
            open_data_directory(settings.server.data_dir, owner=owner).close()
    except (DataDirectoryError, StoreFormatError, UnknownUser) as error:
        raise Failed(f"{error}.") from None
    except PermissionError:
        raise Failed(f"{path} is not this user's; run the command as the server's user, or name --data-dir.") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise Failed(f"{path} cannot be written by this user; run the command as the server's user.")
    return path
