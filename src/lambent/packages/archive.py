"""Zip archives, read as hostile input: checked as a whole first, then unpacked with a running count.

What an archive says about itself (sizes, offsets, names, modes) is believed only where a lie costs nothing. Names stay
below the target: no `..`, no absolute paths, no drive letters; backslashes count as separators. Symbolic links are
made last, so that nothing is ever written through one, and must end inside the package. Of entries with the same name
the last one counts, as with `unzip -o`.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from calendar import timegm
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ..domain.errors import InvalidParameterValue
from ..domain.limits import UNZIPPED_BYTES_MAX

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

ENTRIES_MAX = 100_000
"""Files, directories and links of one package."""
DIRECTORY_BYTES_MAX = 33_554_432
"""Size of an archive's central directory, which has to be read whole."""
LINK_BYTES_MAX = 4_096
"""Length of a symbolic link's target."""
NAME_BYTES_MAX, PATH_BYTES_MAX = 255, 4_096
"""The kernel's limits for one component and for a whole path."""
DEPTH_MAX = 256
"""Components of a path. What walks trees afterwards (merging, removing) does so by recursion, a thousand deep at most."""
TASK_ROOT, LAYERS_ROOT = "/var/task", "/opt"
"""Where functions see their package, and their layers: an absolute link below it stays inside."""

_CHUNK_BYTES = 262_144
_DRIVE = re.compile(r"[A-Za-z]:")
_END_BYTES = 22
_COMMENT_BYTES_MAX = 65_535
_END_SIGNATURE = b"PK\x05\x06"
_LOCATOR_SIGNATURE = b"PK\x06\x07"


class BrokenZip(InvalidParameterValue):
    """Not an archive, or one that is not safe to unpack; `reason` says why, for our own log."""

    def __init__(self, reason: str) -> None:
        super().__init__("Could not unzip uploaded file. Please check your file, then try to upload again.")
        self.reason = reason


class EmptyZip(InvalidParameterValue):
    """An archive of nothing."""

    def __init__(self) -> None:
        super().__init__("Uploaded file must be a non-empty zip")


class UnzippedTooLarge(InvalidParameterValue):
    """More than `most` bytes come out of the archive."""

    def __init__(self, most: int) -> None:
        super().__init__(f"Unzipped size must be smaller than {most} bytes")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it is unpacked, whatever else the archive says of it."""

    info: ZipInfo
    path: str
    """Relative and normalised; empty for the root itself, which is not unpacked."""
    kind: int
    """S_IFREG, S_IFDIR or S_IFLNK."""
    mode: int
    """Permission bits as they will be."""


def unpack(
    archive: Path,
    target: Path,
    *,
    root: str = TASK_ROOT,
    bytes_max: int = UNZIPPED_BYTES_MAX,
    entries_max: int = ENTRIES_MAX,
) -> int:
    """Unpack `archive` into the empty directory `target`; answers the bytes that came out, at most `bytes_max`.

    root: where a sandbox will see the directory.

    Directories become 0755, files keep their executable bits and are readable by everybody (0644 where the archive
    says nothing). Raises BrokenZip, EmptyZip, UnzippedTooLarge; OSError when the disk fails. Blocks: run it in a thread.
    """
    with _opened(archive) as archived:
        entries = _entries(archived.infolist(), entries_max)
        if sum(entry.info.file_size for entry in entries) > bytes_max:
            raise UnzippedTooLarge(bytes_max)
        return _write(archived, entries, target, root, bytes_max)


class Reading:
    """An open archive as `unpack` sees it: what is read here is what comes out there."""

    def __init__(self, archived: ZipFile, entries: tuple[Entry, ...]) -> None:
        self.entries = entries
        """All of them in the directory's order, those with the name of an earlier one included."""
        self._archived = archived

    def chunks(self, entry: Entry) -> Iterator[bytes]:
        """The content of an entry, piece by piece. Raises BrokenZip where it is not what the directory says."""
        count = 0
        with self._archived.open(entry.info) as source:
            while chunk := source.read(_CHUNK_BYTES):
                count += len(chunk)
                yield chunk
        if count != entry.info.file_size:
            raise BrokenZip(f"{entry.path!r} has {count} bytes, not {entry.info.file_size}")


@contextmanager
def reading(archive: Path, *, entries_max: int = ENTRIES_MAX) -> Iterator[Reading]:
    """The entries of an archive for the length of the block, refused for the reasons and with the errors of `unpack`."""
    with _opened(archive) as archived:
        infos = archived.infolist()
        _entries(infos, entries_max)
        entries = ((info, _path(info)) for info in infos)
        yield Reading(archived, tuple(_entry(info, path) for info, path in entries))


@contextmanager
def _opened(archive: Path) -> Iterator[ZipFile]:
    from zipfile import BadZipFile, ZipFile
    from zlib import error as ZlibError

    try:
        with archive.open("rb") as file:
            _check_end(file)
            with ZipFile(file) as archived:
                yield archived
    except OSError as error:
        if error.errno is not None:
            raise  # the disk's
        raise BrokenZip(f"{type(error).__name__}: {error}") from error  # bz2 reports bad data this way
    except (BadZipFile, ZlibError, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error) as error:
        raise BrokenZip(f"{type(error).__name__}: {error}") from error
    except Exception as error:
        if type(error).__name__ == "LZMAError":  # not imported for the sake of a name
            raise BrokenZip(f"LZMAError: {error}") from error
        raise


def _check_end(file: IO[bytes]) -> None:
    """Bound the central directory before anybody reads it: a megabyte of it costs ten of memory."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        raise EmptyZip
    file.seek(max(0, size - _END_BYTES - _COMMENT_BYTES_MAX))
    tail = file.read()
    at = tail.rfind(_END_SIGNATURE)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise BrokenZip("no end of central directory")
    directory_bytes: int = struct.unpack_from("<I", tail, at + 12)[0]
    if at >= 20 and tail[at - 20 : at - 16] == _LOCATOR_SIGNATURE:
        (offset,) = struct.unpack_from("<Q", tail, at - 12)
        if offset + 56 > size:
            raise BrokenZip("the 64-bit end of central directory lies outside the file")
        file.seek(offset)
        directory_bytes = max(directory_bytes % 0xFFFFFFFF, struct.unpack_from("<Q", file.read(56), 40)[0])
    if directory_bytes > DIRECTORY_BYTES_MAX:
        raise BrokenZip(f"a central directory of {directory_bytes} bytes")
    file.seek(0)


def _entries(infos: list[ZipInfo], entries_max: int) -> list[Entry]:
    if not infos:
        raise EmptyZip
    if len(infos) > entries_max:
        raise BrokenZip(f"{len(infos)} entries, {entries_max} is the limit")
    _check_overlap(infos)
    entries: dict[str, Entry] = {}
    for info in infos:
        if info.flag_bits & 0x1:
            raise BrokenZip(f"{info.filename!r} is encrypted")
        if path := _path(info):
            entries.pop(path, None)
            entries[path] = _entry(info, path)
    _check_parents(entries)
    return list(entries.values())


def _check_overlap(infos: list[ZipInfo]) -> None:
    """Entries that share bytes make small archives of anything: no packer writes them."""
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise BrokenZip(f"{info.filename!r} overlaps another entry")
        end = info.header_offset + 30 + info.compress_size


def _path(info: ZipInfo) -> str:
    """The entry's name, relative and normalised; empty for the root itself."""
    name = info.orig_filename
    if not info.flag_bits & 0x800:
        try:  # packers on Unix write UTF-8 without saying so
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            name = info.orig_filename
    if "\0" in name:
        raise BrokenZip("a name with a zero byte")
    name = name.replace("\\", "/")
    if name.startswith("/") or _DRIVE.match(name):
        raise BrokenZip(f"{name!r} is absolute")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BrokenZip(f"{name!r} leaves the package")
    path = "/".join(parts)
    if len(path.encode()) >= PATH_BYTES_MAX or any(len(part.encode()) > NAME_BYTES_MAX for part in parts):
        raise BrokenZip("a name that is too long")
    if len(parts) > DEPTH_MAX:
        raise BrokenZip(f"{len(parts)} directories inside one another")
    return path


def _entry(info: ZipInfo, path: str) -> Entry:
    # Only archives made on Unix (system 3) or macOS (19) carry modes in the upper half.
    mode = info.external_attr >> 16 if info.create_system in (3, 19) else 0
    kind = stat.S_IFMT(mode)
    if info.orig_filename.endswith(("/", "\\")) or kind == stat.S_IFDIR:
        if info.file_size:
            raise BrokenZip(f"{path!r} is a directory with content")
        return Entry(info, path, stat.S_IFDIR, 0o755)
    if kind == stat.S_IFLNK:
        return Entry(info, path, stat.S_IFLNK, 0)
    if kind not in (0, stat.S_IFREG):
        raise BrokenZip(f"{path!r} is neither file, directory nor link")
    return Entry(info, path, stat.S_IFREG, 0o755 if mode & 0o111 else 0o644)


def _check_parents(entries: dict[str, Entry]) -> None:
    """What stands above an entry is a directory, named or implied."""
    checked: set[str] = set()
    for path in entries:
        parent = path.rpartition("/")[0]
        while parent and parent not in checked:
            checked.add(parent)
            above = entries.get(parent)
            if above is not None and above.kind != stat.S_IFDIR:
                raise BrokenZip(f"{parent!r} is a directory and something else")
            parent = parent.rpartition("/")[0]


def _write(archived: ZipFile, entries: list[Entry], target: Path, mounted: str, bytes_max: int) -> int:
    root = str(target)
    os.chmod(root, 0o755)
    made = {""}
    total = 0
    links: list[tuple[str, str]] = []
    for entry in entries:
        _make_directories(root, entry.path if entry.kind == stat.S_IFDIR else entry.path.rpartition("/")[0], made)
        if entry.kind == stat.S_IFREG:
            total += _write_file(archived, entry, f"{root}/{entry.path}", bytes_max - total, bytes_max)
        elif entry.kind == stat.S_IFLNK:
            links.append((entry.path, _link_target(archived, entry)))
    for path, to in links:
        os.symlink(to, f"{root}/{path}")
    for path, to in links:
        _check_inside(root, path, to, mounted)
    return total


def _make_directories(root: str, path: str, made: set[str]) -> None:
    if path in made:
        return
    _make_directories(root, path.rpartition("/")[0], made)
    made.add(path)
    os.mkdir(f"{root}/{path}")
    os.chmod(f"{root}/{path}", 0o755)  # whatever the umask


def _write_file(archived: ZipFile, entry: Entry, path: str, room: int, bytes_max: int) -> int:
    written = 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with archived.open(entry.info) as source:
            while chunk := source.read(_CHUNK_BYTES):
                written += len(chunk)
                if written > room:
                    raise UnzippedTooLarge(bytes_max)
                _write_all(descriptor, chunk)
        if written != entry.info.file_size:
            raise BrokenZip(f"{entry.path!r} has {written} bytes, not {entry.info.file_size}")
        os.fchmod(descriptor, entry.mode)
        # Bytecode in the package is valid only while its source keeps this time.
        modified = timegm((*entry.info.date_time, 0, 0, 0))
        os.utime(descriptor, (modified, modified))
    finally:
        os.close(descriptor)
    return written


def _write_all(descriptor: int, data: bytes) -> None:
    done = os.write(descriptor, data)
    while done < len(data):
        done += os.write(descriptor, memoryview(data)[done:])


def _link_target(archived: ZipFile, entry: Entry) -> str:
    if not 0 < entry.info.file_size < LINK_BYTES_MAX:
        raise BrokenZip(f"{entry.path!r} is a link of {entry.info.file_size} bytes")
    with archived.open(entry.info) as source:
        target = source.read(LINK_BYTES_MAX)
    if b"\0" in target:
        raise BrokenZip(f"{entry.path!r} is a link with a zero byte")
    return os.fsdecode(target)


def _check_inside(root: str, path: str, to: str, mounted: str) -> None:
    """Follow a link as the kernel would, once all links are there: its end is the root or below it.

    Looking at the target's text would not do: `x -> deep/up/..` leaves through the link `deep/up -> ..`.
    """
    if to.startswith("/"):
        below = os.path.normpath(to)
        if below != mounted and not below.startswith(mounted + "/"):
            raise BrokenZip(f"{path!r} points outside")
        start = root + below[len(mounted) :]
    else:
        start = os.path.join(root, os.path.dirname(path), to)
    real_root = os.path.realpath(root)
    end = os.path.realpath(start)
    if end != real_root and not end.startswith(real_root + "/"):
        raise BrokenZip(f"{path!r} points outside")
