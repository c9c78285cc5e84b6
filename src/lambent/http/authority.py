"""A certificate authority for development, which the server makes for itself and whoever wants to trusts.

The authority lies in two PEM files: `ca.pem`, which is given to clients, and `ca-key.pem`, which nobody but the server may
read. Certificates are made for the name that a client asks for (SNI), when it first asks: function URLs and APIs have a name
each, and no wildcard reaches over their labels. A client that asks for no name gets one for this machine's own names and
addresses. They live in memory, are good for 90 days, and are made anew after 30.

Needs the package `cryptography`, imported when an authority is opened.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import re
import socket
import ssl
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .tls import BadCertificate, bare_context

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

CONTEXTS_MAX = 256
"""Names whose certificates are kept; beyond it all are made anew."""
AUTHORITY_DAYS = 3_650
CERTIFICATE_DAYS = 90
RENEWED_AFTER_DAYS = 30

_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.(?!-)[a-z0-9_-]{1,63})*", re.IGNORECASE)
_NAME_CHARS_MAX = 253
_DAY_MS = 86_400_000

Clock = Callable[[], int]
"""Milliseconds since the epoch."""


class Authority:
    """One development authority, and the contexts of the names that clients asked for."""

    def __init__(self, certificate: x509.Certificate, key: EllipticCurvePrivateKey, path: Path, wall_ms: Clock) -> None:
        self.path = path
        """`ca.pem`: what clients are told to trust."""
        self._certificate = certificate
        self._key = key
        self._wall_ms = wall_ms
        self._contexts: dict[str, tuple[ssl.SSLContext, int]] = {}

    @classmethod
    def open(cls, directory: Path, wall_ms: Clock) -> Authority:
        """The authority in `directory`, made if there is none. Raises BadCertificate, also where `cryptography` is not
        installed or the files are not what we once wrote."""
        try:
            from cryptography import x509
            from cryptography.hazmat.primitives import serialization
            from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
        except ImportError:
            raise BadCertificate(
                "a development authority takes the package cryptography: pip install 'lambent[tls]', or name a "
                "certificate of your own in tls.certificate and tls.key"
            ) from None
        path, key_path = directory / "ca.pem", directory / "ca-key.pem"
        if not path.exists():
            directory.mkdir(mode=0o755, exist_ok=True)
            _make(path, key_path, wall_ms())
        try:
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        except (OSError, ValueError) as error:
            raise BadCertificate(f"{directory} holds no authority ({error}): remove it, and another is made") from None
        if not isinstance(key, EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise BadCertificate(f"{key_path} is not the key of {path}: remove both, and others are made")
        return cls(certificate, key, path, wall_ms)

    def context(self, addresses: Sequence[str] = ()) -> ssl.SSLContext:
        """What a listener is given. addresses: that the server has beside this machine's own."""
        own = own_names(addresses)
        context = bare_context()
        self._load(context, own)

        def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
            if name is not None and len(name) <= _NAME_CHARS_MAX and _NAME.fullmatch(name):
                connection.context = self._context(name.lower(), (name.lower(),))
            else:
                connection.context = self._context("", own)
            return None

        context.sni_callback = choose
        return context

    def certificate(self, names: Sequence[str]) -> tuple[bytes, bytes]:
        """A certificate with its chain, and its key, both as PEM. names: DNS names and addresses, one at least."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

        key = ec.generate_private_key(ec.SECP256R1())
        made = (
            _builder(self._wall_ms(), CERTIFICATE_DAYS)
            .subject_name(x509.Name([]))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        chain = made.public_bytes(pem) + self._certificate.public_bytes(pem)
        return chain, key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    def _context(self, key: str, names: Sequence[str]) -> ssl.SSLContext:
        now_ms = self._wall_ms()
        known = self._contexts.get(key)
        if known is not None and 0 <= now_ms - known[1] < RENEWED_AFTER_DAYS * _DAY_MS:
            return known[0]
        context = bare_context()
        self._load(context, names)
        if len(self._contexts) >= CONTEXTS_MAX:
            self._contexts.clear()
        self._contexts[key] = context, now_ms
        return context

    def _load(self, context: ssl.SSLContext, names: Sequence[str]) -> None:
        chain, key = self.certificate(names)
        # OpenSSL's Python binding takes files only; this one is nobody else's to read and gone at once.
        with tempfile.NamedTemporaryFile(dir=self.path.parent, prefix=".") as file:
            file.write(chain + key)
            file.flush()
            context.load_cert_chain(file.name)


def own_names(addresses: Sequence[str] = ()) -> list[str]:
    """This machine's names and addresses, as far as it knows them, and `addresses`; those of any machine left out."""
    host = socket.gethostname()
    names = ["localhost", "127.0.0.1", "::1", *addresses]
    if _NAME.fullmatch(host):
        names.append(host.lower())
        with contextlib.suppress(OSError):  # a name that its own machine can't resolve
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            names += [str(one[4][0]).partition("%")[0] for one in found]
    return [name for name in dict.fromkeys(names) if name not in ("", "0.0.0.0", "::")]


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(now_ms: int, days: int) -> Any:
    from cryptography import x509

    now = datetime.datetime.fromtimestamp(now_ms / 1_000, datetime.UTC)
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # a client whose clock is a little late
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _make(path: Path, key_path: Path, now_ms: int) -> None:
    """A new authority in two files; the certificate is written last, and alone says that there is one."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lambent development"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Lambent on {socket.gethostname()}"[:64]),
        ]
    )
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    certificate = (
        _builder(now_ms, AUTHORITY_DAYS)
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(key_path, secret, 0o600)
    _write(path, certificate.public_bytes(pem), 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    partial = path.with_name(f".{path.name}.new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        file.write(content)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    partial.rename(path)
