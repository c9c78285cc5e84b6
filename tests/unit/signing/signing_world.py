"""Signers and archives: keys made once, certificates of any kind, zips that are signed and then meddled with."""

from __future__ import annotations

import functools
import io
import stat
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lambent.domain.clock import ManualClock
from lambent.signing.envelope import Claims
from lambent.signing.keys import PrivateKey
from lambent.signing.manifest import SIGNATURE
from lambent.signing.sealing import sign_archive
from lambent.signing.trust import file_name, job_arn

PREFIX = "arn:aws:signer:us-east-1:123456789012:/signing-profiles"
PROFILE, OTHER_PROFILE = f"{PREFIX}/deploy/abcdefghij", f"{PREFIX}/deploy/0123456789"
JOB = job_arn(PROFILE, "8e4f001e-2836-4e62-b342-2951e524bd8b")
NOW_MS = ManualClock().wall_ms()
NOW = datetime.fromtimestamp(NOW_MS / 1_000, UTC)
DAY = timedelta(days=1)


@functools.cache
def key(name: str) -> Any:
    """A private key of its own for each name; those that begin with rsa are RSA's."""
    if name.startswith("rsa"):
        return rsa.generate_private_key(65_537, 1_024 if name == "rsa-short" else 2_048)
    return ec.generate_private_key(ec.SECP384R1())


def private_pem(name: str) -> bytes:
    return bytes(key(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def public_pem(name: str) -> bytes:
    return bytes(key(name).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def certificate(
    name: str,
    issuer: str | None = None,
    *,
    ca: bool = False,
    usages: tuple[Any, ...] = (ExtendedKeyUsageOID.CODE_SIGNING,),
    path_length: int | None = None,
    start: datetime = NOW - DAY,
    end: datetime = NOW + DAY,
    more: tuple[tuple[Any, bool], ...] = (),
    by: str | None = None,
) -> bytes:
    """PEM of a certificate for the key `name`, issued by the key `issuer` (its own without one), or in its name `by`
    another."""

    def called(one: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)])

    builder = (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called(issuer or name))
        .public_key(key(name).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
    )
    if usages and not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    for extension, critical in more:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key(by or issuer or name), SHA384()).public_bytes(Encoding.PEM)


def weakly_issued(name: str, issuer: str) -> bytes:
    """A certificate whose own signature is not over SHA-384 but over SHA-256: as good."""
    made = x509.load_pem_x509_certificate(certificate(name, issuer))
    builder = x509.CertificateBuilder(
        made.issuer, made.subject, made.public_key(), made.serial_number, NOW - DAY, NOW + DAY, list(made.extensions)
    )
    return builder.sign(key(issuer), SHA256()).public_bytes(Encoding.PEM)


Files = dict[str, bytes]
FILES: Files = {"app.py": b"def handler(event, context): return 1", "lib/data.txt": b"data", "bin/empty": b""}


def packed(files: Files | None = None) -> bytes:
    """A zip of files; what is in bin/ may be executed."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (FILES if files is None else files).items():
            info = zipfile.ZipInfo(name, (2026, 1, 2, 3, 4, 6))
            info.external_attr = (stat.S_IFREG | (0o755 if name.startswith("bin/") else 0o644)) << 16
            archive.writestr(info, content)
    return out.getvalue()


class Signer:
    """Signs archives in one directory."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.trust_dir = home / "trust"
        self.trust_dir.mkdir(exist_ok=True)

    def trust(self, pem: bytes, profile: str = PROFILE) -> None:
        """What the owner does: put `pem` where the profile version's keys are looked for."""
        name = file_name(profile)
        assert name is not None
        (self.trust_dir / name).write_bytes(pem)

    def sign(
        self,
        archive: bytes | None = None,
        *,
        by: str = "owner",
        profile: str = PROFILE,
        job: str = JOB,
        expires_ms: int | None = None,
        chain: bytes | None = None,
    ) -> bytes:
        """A signed zip."""
        source, target = self.home / "unsigned.zip", self.home / "signed.zip"
        source.write_bytes(packed() if archive is None else archive)
        private = PrivateKey(private_pem(by), chain)
        sign_archive(source, target, Claims(profile, job, expires_ms), private, NOW_MS)
        return target.read_bytes()


Edit = Callable[[list[tuple[zipfile.ZipInfo, bytes]]], list[tuple[zipfile.ZipInfo, bytes]]]


def edited(archive: bytes, edit: Edit) -> bytes:
    """The archive with other entries: `edit` gets and answers pairs of header and content."""
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        entries = [(info, source.read(info)) for info in source.infolist()]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for info, content in edit(entries):
            target.writestr(info, content)
    return out.getvalue()


def content(archive: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return opened.read(name)


def signature(archive: bytes) -> bytes:
    return content(archive, SIGNATURE)


def with_signature(archive: bytes, file: bytes) -> bytes:
    """The archive with another signature file in place of its own."""
    return edited(
        archive, lambda entries: [(info, file if info.filename == SIGNATURE else data) for info, data in entries]
    )
