"""The plan of a root image: what is in it, and what never is."""

from __future__ import annotations

import os

from lambent.sandbox.port import Image, Mount
from lambent.sandbox.rootfs import image_records, pack


def test_nothing_private_of_the_host_is_bound() -> None:
    sources = [record[1] for record in image_records(Image("x", ())) if record[0] == "bind"]
    private = ("/root", "/home", "/run", "/var", "/etc/shadow", "/etc/ssl/private", "/etc/ssh", "/sys", "/proc", "/dev")
    for source in sources:
        assert not any(path == source or path.startswith(f"{source}/") for path in private), source
        assert not any(source.startswith(path) for path in private), source


def test_the_top_directories_are_as_on_the_host() -> None:
    records = set(image_records(Image("x", ())))
    assert ("bind", "/usr", "/usr") in records
    if os.path.islink("/bin"):
        assert ("link", "/bin", os.readlink("/bin")) in records


def test_an_images_own_mounts_come_last() -> None:
    """They may lie inside what the base brings, or over what it masks."""
    records = list(image_records(Image("x", (Mount("/a", "/var/lang"), Mount("/b", "/var/runtime")))))
    assert records[0] == ("image", "x")
    assert records[-2:] == [("bind", "/a", "/var/lang"), ("bind", "/b", "/var/runtime")]


def test_records_are_packed_as_zero_ended_words() -> None:
    assert pack(iter([("link", "/bin", "usr/bin"), ("mask", "/é")])) == b"link\0/bin\0usr/bin\0mask\0/\xc3\xa9\0"
