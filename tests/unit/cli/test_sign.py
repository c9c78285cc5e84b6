"""`lambent sign`: what it writes, and how it refuses."""

from __future__ import annotations

import json
import stat
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from tests.unit.packages.test_archive import zipped
from tests.unit.signing.signing_world import (
    NOW_MS,
    PROFILE,
    Signer,
    certificate,
    content,
    key,
    packed,
    private_pem,
    public_pem,
)

from lambent.cli import root
from lambent.domain.clock import SystemClock
from lambent.signing.manifest import SIGNATURE
from lambent.signing.trust import Trust
from lambent.signing.verification import Fault, inspect


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("a.zip").write_bytes(packed())
    Path("key.pem").write_bytes(private_pem("owner"))
    Signer(tmp_path).trust(public_pem("owner"))
    return tmp_path


def sign(*arguments: str, source: str = "a.zip", profile: str = PROFILE, key: str = "key.pem") -> Any:
    return CliRunner().invoke(
        root, ["sign", source, "--profile", profile, "--key", key, "--out", "out.zip", *arguments]
    )


def test_a_signed_zip_is_the_zip_and_its_signature(home: Path) -> None:
    result = sign()
    assert result.exit_code == 0, result.output
    assert f"out.zip is signed by {PROFILE}, signing job " in result.output
    assert "in their trust directory, as us-east-1.123456789012.deploy.abcdefghij.pem" in result.output
    before, after = Path("a.zip").read_bytes(), Path("out.zip").read_bytes()
    with zipfile.ZipFile("a.zip") as archive:
        assert after[: archive.start_dir] == before[: archive.start_dir]  # nothing that was there is packed anew
        names = archive.namelist()
    with zipfile.ZipFile("out.zip") as archive:
        assert archive.namelist() == [*names, "META_INF/", SIGNATURE]
    found = inspect(Path("out.zip"), Trust("trust"), SystemClock().wall_ms())
    assert (found.fault, found.profile_arn) == (None, PROFILE)
    assert not [path for path in home.iterdir() if path.name.startswith(".")]
    assert stat.S_IMODE(Path("out.zip").stat().st_mode) & 0o077 == stat.S_IMODE(Path("a.zip").stat().st_mode) & 0o077


def test_a_directory_that_is_there_is_not_added_again(home: Path) -> None:
    Path("a.zip").write_bytes(packed({"META_INF/": b"", "META_INF/notes": b"mine", "app.py": b""}))
    assert sign().exit_code == 0
    with zipfile.ZipFile("out.zip") as archive:
        assert archive.namelist() == ["META_INF/", "META_INF/notes", "app.py", SIGNATURE]
    assert inspect(Path("out.zip"), Trust("trust"), SystemClock().wall_ms()).fault is None


def test_it_may_replace_its_source_and_an_expiry_counts_from_now(home: Path) -> None:
    result = CliRunner().invoke(
        root, ["sign", "a.zip", "--profile", PROFILE, "--key", "key.pem", "--out", "a.zip", "--days", "2", "--json"]
    )
    said = json.loads(result.stdout)
    assert said == {
        "out": "a.zip",
        "signingJobArn": said["signingJobArn"],
        "signingProfileVersionArn": PROFILE,
        "trustFile": "us-east-1.123456789012.deploy.abcdefghij.pem",
    }
    now_ms, day_ms = SystemClock().wall_ms(), 86_400_000
    assert inspect(Path("a.zip"), Trust("trust"), now_ms + day_ms).job_arn == said["signingJobArn"]
    assert inspect(Path("a.zip"), Trust("trust"), now_ms + 2 * day_ms + 1).fault is Fault.EXPIRED


def test_a_certificate_goes_along(home: Path) -> None:
    Path("cert.pem").write_bytes(certificate("owner", "root"))
    assert sign("--cert", "cert.pem").exit_code == 0
    signer = Signer(home)
    signer.trust(certificate("root", ca=True))
    assert inspect(Path("out.zip"), Trust("trust"), NOW_MS).fault is None


def locked() -> bytes:
    return bytes(key("owner").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")))


def edwards() -> bytes:
    made = ed25519.Ed25519PrivateKey.generate()
    return made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        ("key.pem", b"no key", "key.pem: it is not a private key in PEM form."),
        ("key.pem", locked, "the key is locked with a password: unlock it first (openssl pkey -in KEY)."),
        ("key.pem", edwards, "the key is neither EC nor RSA of 2,048 bits or more."),
        ("key.pem", lambda: private_pem("rsa-short"), "the key is neither EC nor RSA of 2,048 bits or more."),
        ("cert.pem", b"none", "key.pem with cert.pem: it is not a certificate in PEM form."),
        ("cert.pem", lambda: certificate("stranger"), "the first certificate is not the key's."),
        ("a.zip", b"no zip", "a.zip is not a zip that can be deployed: no end of central directory."),
        ("a.zip", b"", "a.zip cannot be deployed: Uploaded file must be a non-empty zip."),
        ("a.zip", lambda: zipped(("a", b"1"), ("./a", b"2")), "a.zip cannot be signed: a name stands in it twice."),
        ("a.zip", lambda: zipped((SIGNATURE, b"1")), "a.zip cannot be signed: it is signed already."),
    ],
    ids=["no key", "locked", "edwards", "short", "no certificate", "another's", "no zip", "empty", "twice", "signed"],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(home: Path, file: str, content: Any, text: str) -> None:
    Path(file).write_bytes(content() if callable(content) else content)
    result = sign(*(["--cert", "cert.pem"] if file == "cert.pem" else []))
    assert result.exit_code == 1
    assert result.output.startswith("lambent: ")
    assert result.output.strip().endswith(text)
    assert not Path("out.zip").exists()
    assert not [path for path in home.iterdir() if path.name.startswith(".")]


def test_a_profile_of_another_form_and_a_place_that_is_not_there(home: Path) -> None:
    result = sign(profile="deploy")
    assert (result.exit_code, Path("out.zip").exists()) == (1, False)
    assert "deploy is not a signing profile version: arn:aws:signer:REGION:ACCOUNT" in result.output
    command = ["sign", "a.zip", "--profile", PROFILE, "--key", "key.pem", "--out", "nowhere/out.zip"]
    result = CliRunner().invoke(root, command)
    assert result.exit_code == 1
    assert result.output.strip() == "lambent: nowhere/out.zip cannot be written: No such file or directory."


def test_without_cryptography_the_remedy_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    result = sign()
    assert result.exit_code == 1
    assert result.output.strip() == (
        "lambent: Lambent needs the package cryptography for signatures: pip install 'lambent[signing]'."
    )


def test_the_signature_is_where_the_services_signer_puts_it(home: Path) -> None:
    sign()
    assert content(Path("out.zip").read_bytes(), "META_INF/aws_signer_signature_v1.0.SF").startswith(
        b"-----BEGIN PKCS7"
    )
