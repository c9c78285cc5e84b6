"""Archives that are none, that lie, or that reach out of their place: refused in the service's words, nothing left."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import zipfile
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.integration.hostile.hostile_world import Reply, call
from tests.support import PYTHON_RUNTIME, ROLE, function, package

BROKEN = "Could not unzip uploaded file. Please check your file, then try to upload again."
EMPTY = "Uploaded file must be a non-empty zip"
TOO_LARGE = "Unzipped size must be smaller than 262144000 bytes"
GOOD = package({"app.py": "def handler(event, context):\n    return 'well'\n"})
SEED = 20_261
MUTATIONS = 60


def archive(*entries: tuple[str, bytes], mode: int = 0o644, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as made:
        for name, content in entries:
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            info.external_attr = mode << 16
            info.compress_type = compression
            made.writestr(info, content)
    return out.getvalue()


def link(name: str, target: str, *more: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
        info.external_attr = 0o120777 << 16
        made.writestr(info, target)
        for path, content in more:
            made.writestr(path, content)
    return out.getvalue()


def bomb() -> bytes:
    """300 MB of zeros in 300 KB."""
    return archive(*((f"{number}", bytes(30 << 20)) for number in range(10)))


def overlapping() -> bytes:
    """One compressed block that ten thousand entries claim."""
    body = archive(("a", bytes(1 << 20)))
    directory_at = body.index(b"PK\x01\x02")
    end_at = body.index(b"PK\x05\x06")
    record = body[directory_at:end_at]
    count = 10_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(record) * count, directory_at, 0)
    return body[:directory_at] + record * count + end


def liar() -> bytes:
    """A bomb whose directory says that next to nothing comes out."""
    body = bytearray(bomb())
    at = 0
    while (at := body.find(b"PK\x01\x02", at)) >= 0:
        struct.pack_into("<L", body, at + 24, 10)
        at += 4
    at = 0
    while (at := body.find(b"PK\x03\x04", at)) >= 0:
        struct.pack_into("<L", body, at + 22, 10)
        at += 4
    return bytes(body)


def patched(body: bytes, offset: int, value: int) -> bytes:
    """One byte of an archive's first entry changed, in its own header and in the directory, two bytes further there."""
    made = bytearray(body)
    made[made.index(b"PK\x03\x04") + offset] = value
    made[made.index(b"PK\x01\x02") + offset + 2] = value
    return bytes(made)


def encrypted() -> bytes:
    return patched(archive(("app.py", b"secret")), 6, 1)


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "text": (lambda: b"this is no archive", BROKEN),
    "noise": (lambda: random.Random(SEED).randbytes(50_000), BROKEN),
    "a tarball's beginning": (lambda: b"\x1f\x8b\x08" + bytes(1_000), BROKEN),
    "half an archive": (lambda: GOOD[: len(GOOD) // 2], BROKEN),
    "an archive of nothing": (lambda: archive(), EMPTY),
    "up and out": (lambda: archive(("../../evil", b"x")), BROKEN),
    "up and out, backwards": (lambda: archive(("..\\..\\evil", b"x")), BROKEN),
    "from the root": (lambda: archive(("/etc/cron.d/evil", b"x")), BROKEN),
    "a link out": (lambda: link("out", "/etc"), BROKEN),
    "a link up and out": (lambda: link("out", "../../.."), BROKEN),
    "a file through a link": (lambda: link("out", "/tmp", ("out/evil", b"x")), BROKEN),
    "a device": (lambda: archive(("dev", b""), mode=0o020666), BROKEN),
    "encrypted": (encrypted, BROKEN),
    "an unknown compression": (lambda: patched(archive(("app.py", b"x")), 8, 99), BROKEN),
    "a bomb": (bomb, TOO_LARGE),
    "a bomb that denies it": (liar, ""),
    "ten thousand entries over one block": (overlapping, ""),
    "a name of 300 characters": (lambda: archive(("a" * 300, b"x")), BROKEN),
    "a name with NUL": (lambda: archive(("axb", b"x")).replace(b"axb", b"a\0b"), ""),
}


def create(url: str, name: str, zip_file: bytes) -> Reply:
    document = {
        "FunctionName": name,
        "Runtime": PYTHON_RUNTIME,
        "Handler": "app.handler",
        "Role": ROLE,
        "Code": {"ZipFile": b64encode(zip_file).decode()},
    }
    return call(url, "POST", "/2015-03-31/functions", json.dumps(document).encode())


def stored(well: Any) -> list[str]:
    """What lies in the package store, drafts included."""
    return sorted(os.listdir(well.data_dir / "packages"))


@pytest.mark.parametrize("name", list(BAD))
def test_a_bad_archive_is_refused_and_leaves_nothing(well: Any, name: str) -> None:
    make, message = BAD[name]
    before = stored(well)
    answer = create(well.url, "bad-zip", make())
    if name == "a name with NUL" and answer.status == 201:
        call(well.url, "DELETE", "/2015-03-31/functions/bad-zip")
        return  # cut at the NUL, as unpackers do
    assert (answer.status, answer.code) == (400, "InvalidParameterValueException"), answer
    assert answer.message == message or (not message and answer.message in (BROKEN, TOO_LARGE))
    assert answer.document["Type"] == "User"
    assert call(well.url, "GET", "/2015-03-31/functions/bad-zip").status == 404
    assert stored(well) == before
    assert not Path("/tmp/evil").exists()
    assert not Path("/etc/cron.d/evil").exists()


@pytest.mark.parametrize("name", [name for name in BAD if name != "a name with NUL"])
def test_a_bad_layer_is_refused_and_takes_no_number(well: Any, name: str) -> None:
    make, message = BAD[name]
    before = stored(well)
    document = json.dumps({"Content": {"ZipFile": b64encode(make()).decode()}}).encode()
    answer = call(well.url, "POST", "/2018-10-31/layers/bad-zip/versions", document)
    assert (answer.status, answer.code) == (400, "InvalidParameterValueException"), answer
    assert answer.message == message or (not message and answer.message in (BROKEN, TOO_LARGE))
    assert answer.document["Type"] == "User"
    assert call(well.url, "GET", "/2018-10-31/layers/bad-zip/versions").document == {"LayerVersions": []}
    assert stored(well) == before


def test_a_link_inside_the_package_works(well: Any, lambda_: Any) -> None:
    code = {"real/data.txt": "found", "app.py": "def handler(event, context):\n    return open('link.txt').read()\n"}
    out = io.BytesIO(package(code))
    with zipfile.ZipFile(out, "a") as made:
        info = zipfile.ZipInfo("link.txt", (2026, 1, 1, 0, 0, 0))
        info.external_attr = 0o120777 << 16
        made.writestr(info, "real/data.txt")
    with function(lambda_, {"app.py": "def handler(event, context): return 0\n"}) as name:
        lambda_.update_function_code(FunctionName=name, ZipFile=out.getvalue())
        lambda_.get_waiter("function_updated_v2").wait(FunctionName=name)
        assert lambda_.invoke(FunctionName=name)["Payload"].read() == b'"found"'


def test_archives_with_flipped_bytes_are_unpacked_or_refused(well: Any) -> None:
    """Every answer is a creation or one of the two refusals."""
    chance = random.Random(SEED)
    for _ in range(MUTATIONS):
        bad = bytearray(GOOD)
        for _ in range(chance.randint(1, 6)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        answer = create(well.url, "mutant", bytes(bad))
        if answer.status == 201:
            assert call(well.url, "DELETE", "/2015-03-31/functions/mutant").status == 204
        else:
            assert (answer.status, answer.message) in ((400, BROKEN), (400, TOO_LARGE), (400, EMPTY)), answer


def test_too_large_uploads(well: Any) -> None:
    before = stored(well)
    answer = create(well.url, "bad-zip", bytes(52_428_801))
    assert (answer.status, answer.code, answer.document) == (
        413,
        "RequestEntityTooLargeException",
        {"message": "Zipped size must be smaller than 52428800 bytes"},
    )
    padding = json.dumps({"FunctionName": "bad-zip", "Description": "x" * 70_167_212}).encode()
    answer = call(well.url, "POST", "/2015-03-31/functions", padding)
    assert answer.status == 413
    assert "must be smaller than" in (answer.message or "")
    assert stored(well) == before


def test_many_large_uploads_leave_no_memory_behind(well: Any) -> None:
    """Two dozen of 20 MB, eight at a time: `well` measures. With the C library's own sizes 190 MB and more were left."""
    broken = [random.Random(number).randbytes(20_000_000) for number in range(2)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: create(well.url, "bad-zip", broken[number % 2]), range(24)))
    assert {(answer.status, answer.code) for answer in answers} == {(400, "InvalidParameterValueException")}
