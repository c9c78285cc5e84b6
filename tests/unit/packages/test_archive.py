"""Archives are hostile input: what is unpacked, what is refused, and with which words."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambent.packages.archive import BrokenZip, EmptyZip, UnzippedTooLarge, unpack

Item = tuple[str, bytes] | tuple[str, bytes, int]
LINK = stat.S_IFLNK | 0o777


def zipped(*items: Item, system: int = 3, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive of (name, content[, mode with kind])."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content, *mode in items:
            info = zipfile.ZipInfo(name, (2026, 1, 2, 3, 4, 6))
            info.filename = info.orig_filename = name
            info.create_system = system
            info.external_attr = (mode[0] if mode else 0) << 16
            info.compress_type = method
            archive.writestr(info, content)
    return out.getvalue()


class Unpacked:
    def __init__(self, home: Path) -> None:
        self.archive = home / "a.zip"
        self.tree = home / "tree"
        self.count = 0

    def __call__(self, data: bytes, **limits: int) -> int:
        self.archive.write_bytes(data)
        self.count += 1
        self.tree = self.archive.parent / f"tree-{self.count}"
        self.tree.mkdir()
        return unpack(self.archive, self.tree, **limits)

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.tree)): path.read_bytes()
            for path in sorted(self.tree.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }

    def mode(self, name: str) -> int:
        return stat.S_IMODE((self.tree / name).lstat().st_mode)


@pytest.fixture
def unpacked(tmp_path: Path) -> Unpacked:
    return Unpacked(tmp_path)


def test_files_come_out_with_their_executable_bits_and_times(unpacked: Unpacked) -> None:
    old = os.umask(0o077)
    try:
        size = unpacked(
            zipped(
                ("app.py", b"code"),
                ("bootstrap", b"#!", stat.S_IFREG | 0o100),
                ("odd", b"x", stat.S_IFREG | 0o7600),
                ("deep/er/", b"", stat.S_IFDIR | 0o700),
                ("deep/er/still/x", b"12"),
            )
        )
    finally:
        os.umask(old)
    assert size == 9
    assert unpacked.files() == {"app.py": b"code", "bootstrap": b"#!", "odd": b"x", "deep/er/still/x": b"12"}
    assert [unpacked.mode(name) for name in ("app.py", "bootstrap", "odd")] == [0o644, 0o755, 0o644]
    assert [unpacked.mode(name) for name in (".", "deep", "deep/er", "deep/er/still")] == [0o755] * 4
    assert (unpacked.tree / "app.py").stat().st_mtime == 1_767_323_046


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_all_compressions_that_packers_use(unpacked: Unpacked, method: int) -> None:
    assert unpacked(zipped(("a", b"x" * 1_000), method=method)) == 1_000


@pytest.mark.parametrize(
    "data",
    [b"not a zip", b"PK\x03\x04" + b"\0" * 100, zipped(("a", b"b" * 5_000))[:-30], b"PK\x05\x06"],
    ids=["text", "head only", "cut", "end only"],
)
def test_what_is_no_zip(unpacked: Unpacked, data: bytes) -> None:
    with pytest.raises(BrokenZip) as error:
        unpacked(data)
    assert error.value.message == "Could not unzip uploaded file. Please check your file, then try to upload again."


@pytest.mark.parametrize("data", [b"", zipped()])
def test_what_is_empty(unpacked: Unpacked, data: bytes) -> None:
    with pytest.raises(EmptyZip) as error:
        unpacked(data)
    assert error.value.message == "Uploaded file must be a non-empty zip"


def test_the_unzipped_limit_is_inclusive(unpacked: Unpacked) -> None:
    data = zipped(("a", b"x" * 600), ("b", b"y" * 400))
    assert unpacked(data, bytes_max=1_000) == 1_000
    with pytest.raises(UnzippedTooLarge) as error:
        unpacked(data, bytes_max=999)
    assert error.value.message == "Unzipped size must be smaller than 999 bytes"


def lying(data: bytes, size: int) -> bytes:
    """The archive's single entry says it has `size` bytes, in both headers."""
    central = data.rindex(b"PK\x01\x02")
    changed = bytearray(data)
    struct.pack_into("<I", changed, 22, size)
    struct.pack_into("<I", changed, central + 24, size)
    return bytes(changed)


@pytest.mark.parametrize("size", [10, 2_000_000])
def test_headers_that_lie_about_the_size(unpacked: Unpacked, size: int) -> None:
    with pytest.raises(BrokenZip):
        unpacked(lying(zipped(("a", b"\0" * 1_000_000)), size), bytes_max=10_000_000)
    assert sum(map(len, unpacked.files().values())) <= 1_000_000


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/etc/x", "C:/x", "c:x", "..\\x", "a\\..\\..\\x", "\\x", "a/..", "x\0y", "a" * 256],
)
def test_names_that_leave_the_package(unpacked: Unpacked, name: str) -> None:
    data = zipped((name, b"x"))
    with pytest.raises(BrokenZip):
        unpacked(data)
    assert unpacked.files() == {}


def test_names_of_every_kind_of_packer(unpacked: Unpacked) -> None:
    plain = zipped(("n\u00e4me.txt", b"1"))  # marked as UTF-8
    unmarked = bytearray(plain)
    central = plain.rindex(b"PK\x01\x02")
    for at in (6, central + 8):
        flags = struct.unpack_from("<H", plain, at)[0]
        struct.pack_into("<H", unmarked, at, flags & ~0x800)
    unpacked(bytes(unmarked))
    assert list(unpacked.files()) == ["n\u00e4me.txt"]
    unpacked(zipped(("dir\\sub\\f.txt", b"1"), ("./a//b", b"2"), system=0))
    assert list(unpacked.files()) == ["a/b", "dir/sub/f.txt"]
    assert unpacked.mode("a/b") == 0o644


def test_of_the_same_name_the_last_counts(unpacked: Unpacked) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = zipped(("a", b"first"), ("a", b"second"))
    unpacked(data)
    assert unpacked.files() == {"a": b"second"}


@pytest.mark.parametrize(
    "items",
    [
        (("a", b"file"), ("a/b", b"below")),
        (("a/b", b"below"), ("a", b"file")),
        (("a", b"b", LINK), ("a/c", b"x")),
        (("dir/", b"content"),),
        (("fifo", b"", stat.S_IFIFO | 0o644),),
        (("device", b"", stat.S_IFCHR | 0o644),),
    ],
)
def test_contradictions_and_special_files(unpacked: Unpacked, items: tuple[Item, ...]) -> None:
    with pytest.raises(BrokenZip):
        unpacked(zipped(*items))


def test_links_inside_are_kept(unpacked: Unpacked) -> None:
    unpacked(
        zipped(
            ("lib/libx.so.1.2", b"elf"),
            ("lib/libx.so", b"libx.so.1.2", LINK),
            ("top", b"lib/libx.so", LINK),
            ("lib/up", b"../lib", LINK),
            ("absolute", b"/var/task/lib/libx.so.1.2", LINK),
            ("dangling", b"nowhere", LINK),
        )
    )
    assert (unpacked.tree / "top").read_bytes() == b"elf"
    assert os.readlink(unpacked.tree / "absolute") == "/var/task/lib/libx.so.1.2"
    assert os.readlink(unpacked.tree / "dangling") == "nowhere"


@pytest.mark.parametrize(
    "items",
    [
        (("x", b"/etc/passwd", LINK),),
        (("x", b"../outside", LINK),),
        (("a/x", b"../../outside", LINK),),
        (("x", b"/var/task/../../etc", LINK),),
        (("deep/up", b"..", LINK), ("x", b"deep/up/..", LINK)),
        (("x", b"", LINK),),
        (("x", b"y" * 5_000, LINK),),
        (("x", b"a\0b", LINK),),
    ],
)
def test_links_that_leave_are_refused(unpacked: Unpacked, items: tuple[Item, ...]) -> None:
    with pytest.raises(BrokenZip):
        unpacked(zipped(*items))


def test_encrypted_entries(unpacked: Unpacked) -> None:
    data = bytearray(zipped(("a", b"secret")))
    central = data.rindex(b"PK\x01\x02")
    for at in (6, central + 8):
        data[at] |= 1
    with pytest.raises(BrokenZip):
        unpacked(bytes(data))


def test_entries_are_bounded(unpacked: Unpacked) -> None:
    data = zipped(*((str(number), b"") for number in range(11)))
    assert unpacked(data, entries_max=11) == 0
    with pytest.raises(BrokenZip):
        unpacked(data, entries_max=10)


def test_a_central_directory_is_bounded_before_it_is_read(unpacked: Unpacked) -> None:
    data = bytearray(zipped(("a", b"x")))
    struct.pack_into("<I", data, len(data) - 10, 0x7FFFFFFF)
    with pytest.raises(BrokenZip) as error:
        unpacked(bytes(data))
    assert "central directory of 2147483647 bytes" in error.value.reason


def test_overlapping_entries(unpacked: Unpacked) -> None:
    """Two directory entries over one and the same data: the seed of every dense bomb."""
    data = zipped(("a", b"x" * 1_000))
    central, end = data.rindex(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")
    entry = bytearray(data[central:end])
    tail = bytearray(data[end:])
    struct.pack_into("<HHI", tail, 8, 2, 2, 2 * len(entry))
    with pytest.raises(BrokenZip):
        unpacked(data[:end] + bytes(entry) + bytes(tail))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_archives_are_refused_or_unpacked_never_worse(unpacked: Unpacked, data: st.DataObject) -> None:
    good = zipped(("a/b.py", b"content" * 20), ("link", b"a/b.py", LINK), ("c", b"", stat.S_IFREG | 0o755))
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        unpacked(bytes(damaged))
    except (BrokenZip, EmptyZip, UnzippedTooLarge):
        return
    assert all(Path(os.path.realpath(path)).is_relative_to(unpacked.tree) for path in unpacked.tree.rglob("*"))
