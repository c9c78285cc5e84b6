"""Layers become one tree: what extracting them one after the other would leave, made of links to their own trees.

Of two entries with the same path the later layer's wins; directories of both are joined, and where only one of them is
a directory the later one replaces the earlier one whole. Nothing is ever written through a symbolic link, and links are
taken over as they are: where they lead is decided inside the sandbox. Files are hard links where the file system lets
us, since trees never change; else copies.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS})
"""Reasons for which a file is copied: another file system, one without links, or a file with too many."""


def tree_name(digests: Sequence[str]) -> str | None:
    """The name in `packages/` of what a function with these layers sees at /opt; None without layers.

    digests: of the layers' archives, in the order they are attached. One layer alone is its own tree.
    """
    if not digests:
        return None
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(("lambent layers", *digests)).encode()).hexdigest()


def merge(trees: Sequence[Path], target: Path) -> int:
    """Lay `trees` into the empty directory `target`, later ones over earlier ones; answers the bytes of its files.

    Raises OSError when the disk fails or a tree is missing. Blocks: run it in a thread.
    """
    os.chmod(target, 0o755)
    for tree in trees:
        _lay(str(tree), str(target))
    return _file_bytes(str(target))


def _lay(source: str, target: str) -> None:
    with os.scandir(source) as entries:
        for entry in entries:
            place = f"{target}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                _make_directory(place)
                _lay(entry.path, place)
                continue
            _remove(place)
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), place)
            else:
                _place_file(entry.path, place)


def _make_directory(place: str) -> None:
    if os.path.isdir(place) and not os.path.islink(place):
        return
    _remove(place)
    os.mkdir(place)
    os.chmod(place, 0o755)  # whatever the umask


def _remove(place: str) -> None:
    """What an earlier layer put there."""
    if not os.path.lexists(place):
        return
    if os.path.isdir(place) and not os.path.islink(place):
        shutil.rmtree(place)
    else:
        os.unlink(place)


def _place_file(source: str, place: str) -> None:
    try:
        os.link(source, place, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copy2(source, place, follow_symlinks=False)  # with its time: bytecode is valid for that one only


def _file_bytes(root: str) -> int:
    total = 0
    for directory, _, files in os.walk(root):
        for name in files:
            path = f"{directory}/{name}"
            if not os.path.islink(path):
                total += os.lstat(path).st_size
    return total
