"""What is deployed: a directory, a zip or one file, read into the bytes of one zip.

The same files make the same bytes: names are sorted, times are fixed, modes are only "may be executed" or not. A second
`lambent deploy` of an unchanged directory therefore changes nothing on the server.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .failures import Failed

LEFT_OUT = frozenset({".git", ".hg", ".svn", ".venv", ".DS_Store", "__pycache__", ".mypy_cache", ".pytest_cache"})
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip can hold."""
ZIP_BYTES_MAX = 52_428_800
"""Published limit of a zip inside the request."""
FILES_MAX = 200_000
SOURCE_BYTES_MAX = 1_048_576
"""Larger files are not read for a guess."""


@dataclass(frozen=True, slots=True)
class Package:
    """A zip, and what is known of its contents."""

    zip: bytes
    names: tuple[str, ...]
    """Every file, `/`-separated, sorted."""
    executable: frozenset[str]
    made_executable: bool
    """`bootstrap` was not executable in the directory and is in the zip."""

    def text(self, name: str) -> str:
        """The text of one file for guessing; empty when it is too large."""
        with zipfile.ZipFile(io.BytesIO(self.zip)) as archive:
            if archive.getinfo(name).file_size > SOURCE_BYTES_MAX:
                return ""
            return archive.read(name).decode("utf-8", "replace")


def read(source: Path) -> Package:
    """The package of a directory, a .zip or .jar, or a single source file. Raises Failed."""
    if source.is_dir():
        package = _of_files(dict(_walk(source, "", ())))
    elif not source.is_file():
        raise Failed(f"There is no {source}.")
    elif source.suffix in (".zip", ".jar"):
        package = _of_zip(source)
    else:
        package = _of_files({source.name: source})
    if not package.names:
        raise Failed(f"{source} holds no files.")
    if len(package.zip) > ZIP_BYTES_MAX:
        raise Failed(
            f"The zip of {source} has {len(package.zip):,} bytes; a zip in the request may have {ZIP_BYTES_MAX:,}. "
            "Put it into S3 and use `aws lambda create-function --code S3Bucket=…,S3Key=…`."
        )
    return package


def _walk(directory: Path, prefix: str, above: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Files below `directory` by their name in the zip; symbolic links are followed, a circle of them is refused."""
    real = os.path.realpath(directory)
    if real in above:
        raise Failed(f"{directory} is a symbolic link to a directory above it.")
    for entry in sorted(directory.iterdir()):
        if entry.name in LEFT_OUT:
            continue
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _walk(entry, f"{name}/", (*above, real))
        elif entry.is_file():
            yield name, entry
        elif entry.is_symlink():
            raise Failed(f"{entry} is a symbolic link to nothing.")
        # Sockets, pipes and devices have no contents to deploy.


def _of_files(files: dict[str, Path]) -> Package:
    if len(files) > FILES_MAX:
        raise Failed(f"{len(files):,} files are more than the {FILES_MAX:,} that can be deployed.")
    buffer = io.BytesIO()
    executable: set[str] = set()
    made = False
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            path = files[name]
            runs = bool(path.stat().st_mode & stat.S_IXUSR)
            if name == "bootstrap" and not runs:
                made = runs = True
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix: else the mode below is not read
            info.external_attr = (stat.S_IFREG | (0o755 if runs else 0o644)) << 16
            archive.writestr(info, path.read_bytes())
            if runs:
                executable.add(name)
    return Package(buffer.getvalue(), tuple(sorted(files)), frozenset(executable), made)


def _of_zip(source: Path) -> Package:
    content = source.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
    except zipfile.BadZipFile:
        raise Failed(f"{source} is not a zip file.") from None
    executable = frozenset(info.filename for info in infos if info.external_attr >> 16 & stat.S_IXUSR)
    return Package(content, tuple(sorted(info.filename for info in infos)), executable, False)
