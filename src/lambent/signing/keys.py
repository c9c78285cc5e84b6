"""Keys and certificates: the one module that uses the package `cryptography`, imported when a signature is at hand.

Who may sign for a profile version is said by PEM blocks, its *anchors*. A public key trusts whoever holds the private
one. A certificate trusts its own key and, if it is an authority's, the certificates for code signing that it issued,
directly or through intermediates inside the signature. Every certificate on the way must be valid now: there is no
authority of time here that could tell when a signature was made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .envelope import Envelope, Signer

if TYPE_CHECKING:
    from datetime import datetime
    from types import ModuleType

    from cryptography.x509 import Certificate

CHAIN_MAX = 8
"""Certificates from a signer's to an anchor, both included."""
RSA_BITS_MIN = 2_048
"""Shorter RSA keys are not believed."""

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)
_HASHES = ("sha256", "sha384", "sha512")
_KNOWN_CRITICAL = ("2.5.29.15", "2.5.29.19", "2.5.29.37")
"""Key usage, basic constraints, extended key usage: critical extensions that are looked at here."""


class NoCryptography(Exception):
    """The optional package is not installed."""

    def __init__(self) -> None:
        super().__init__("Lambent needs the package cryptography for signatures: pip install 'lambent[signing]'")


class BadKey(Exception):
    """A key or certificate that cannot be used; the text says why."""


class Forged(Exception):
    """The signature was not made by the key that it names."""


class Untrusted(Exception):
    """The key is right and is nobody's who is trusted; the text says why."""


class Outdated(Exception):
    """A certificate's time is over, or has not come."""


def _x509() -> ModuleType:
    try:
        from cryptography import x509
    except ImportError as error:
        raise NoCryptography from error
    return x509


@dataclass(frozen=True, slots=True)
class Anchors:
    """Whom one profile version trusts."""

    keys: tuple[Any, ...]
    certificates: tuple[Certificate, ...]


def read_anchors(pem: str) -> Anchors:
    """The public keys and certificates of a text. Raises BadKey for anything else in it, or for nothing."""
    x509 = _x509()
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    keys, certificates = [], []
    for block in _BLOCK.finditer(pem):
        data, label = block[0].encode(), block[1]
        try:
            if label == "CERTIFICATE":
                certificates.append(x509.load_pem_x509_certificate(data))
            elif label == "PUBLIC KEY":
                keys.append(load_pem_public_key(data))
            else:
                raise BadKey(f"a {label} is neither a public key nor a certificate")
        except ValueError as error:
            raise BadKey(f"a {label} that cannot be read") from error
    if not keys and not certificates:
        raise BadKey("it holds no public key and no certificate")
    return Anchors(tuple(keys), tuple(certificates))


def check_signature(envelope: Envelope, anchors: Anchors, now: datetime) -> None:
    """Whether one of `anchors` vouches for the signature. Raises Forged, Untrusted or Outdated."""
    x509 = _x509()
    if envelope.signer.key_id is not None:
        known = (*anchors.keys, *(one.public_key() for one in anchors.certificates))
        key = next((one for one in known if _key_id(one) == envelope.signer.key_id), None)
        if key is None:
            raise Untrusted("the key is none of the profile's")
        _check_bytes(envelope, key)
        if not any(_same_key(key, one) for one in anchors.keys):
            _check_time(next(one for one in anchors.certificates if _same_key(key, one.public_key())), now)
        return
    try:
        certificates = [x509.load_der_x509_certificate(one) for one in envelope.certificates]
    except ValueError as error:
        raise Forged("a certificate that cannot be read") from error
    leaf = next((one for one in certificates if _is_named(one, envelope.signer)), None)
    if leaf is None:
        raise Forged("the signer's certificate is missing")
    _check_bytes(envelope, leaf.public_key())
    _check_chain(leaf, certificates, anchors, now)


def _check_chain(leaf: Certificate, certificates: Sequence[Certificate], anchors: Anchors, now: datetime) -> None:
    if leaf in anchors.certificates or any(_same_key(leaf.public_key(), key) for key in anchors.keys):
        _check_time(leaf, now)
        return
    _check_code_signing(leaf)
    path = [leaf]
    while len(path) < CHAIN_MAX:
        anchor = _issuer(path, anchors.certificates)
        above = anchor or _issuer(path, [one for one in certificates if one not in path])
        if above is None:
            break
        path.append(above)
        if anchor is not None:
            for certificate in path:
                _check_time(certificate, now)
            return
    raise Untrusted("its certificate leads to none of the profile's")


def _issuer(path: Sequence[Certificate], candidates: Sequence[Certificate]) -> Certificate | None:
    """An authority's certificate that issued the last one of `path`, and may stand that far above the first."""
    from cryptography.exceptions import InvalidSignature

    below = path[-1]
    for candidate in candidates:
        if candidate.subject != below.issuer or not _is_authority(candidate, len(path) - 1):
            continue
        hashed = below.signature_hash_algorithm
        if hashed is None or hashed.name not in _HASHES:
            continue
        try:
            below.verify_directly_issued_by(candidate)
        except (InvalidSignature, ValueError, TypeError):
            continue
        return candidate
    return None


def _is_authority(certificate: Certificate, intermediates: int) -> bool:
    x509 = _x509()
    if not _is_understood(certificate):
        return False
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        if not constraints.ca or (constraints.path_length is not None and constraints.path_length < intermediates):
            return False
        return bool(certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign)
    except x509.ExtensionNotFound as error:
        return bool(error.oid == x509.KeyUsage.oid)  # where it does not stand, nothing is forbidden


def _check_code_signing(leaf: Certificate) -> None:
    """An authority may also issue certificates for servers and people: those sign no code."""
    x509 = _x509()
    if _is_understood(leaf):
        try:
            usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            if x509.ExtendedKeyUsageOID.CODE_SIGNING in usage:
                return
        except (x509.ExtensionNotFound, ValueError):
            pass
    raise Untrusted("its certificate is not one for code signing")


def _is_understood(certificate: Certificate) -> bool:
    try:
        return all(one.oid.dotted_string in _KNOWN_CRITICAL for one in certificate.extensions if one.critical)
    except ValueError:
        return False


def _check_time(certificate: Certificate, now: datetime) -> None:
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise Outdated(f"the certificate {certificate.subject.rfc4514_string()} is not valid now")


def _check_bytes(envelope: Envelope, key: Any) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, padding
    from cryptography.hazmat.primitives.hashes import SHA384

    kind = kind_of(key)
    if kind is None or kind != envelope.key_kind:
        raise Forged("its algorithm is not that of its key")
    try:
        if kind == "EC":
            key.verify(envelope.signature, envelope.signed, ec.ECDSA(SHA384()))
        else:
            key.verify(envelope.signature, envelope.signed, padding.PKCS1v15(), SHA384())
    except InvalidSignature as error:
        raise Forged("it was not made by the key that it names") from error


def kind_of(key: Any) -> str | None:
    """EC or RSA, for public and private keys that are believed; else None."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(key, (ec.EllipticCurvePublicKey, ec.EllipticCurvePrivateKey)):
        return "EC"
    if isinstance(key, (rsa.RSAPublicKey, rsa.RSAPrivateKey)):
        return "RSA" if key.key_size >= RSA_BITS_MIN else None
    return None


def _key_id(key: Any) -> bytes:
    return bytes(_x509().SubjectKeyIdentifier.from_public_key(key).digest)


def _same_key(one: Any, other: Any) -> bool:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return bool(one.public_bytes(*form) == other.public_bytes(*form))


def _is_named(certificate: Certificate, signer: Signer) -> bool:
    return certificate.serial_number == signer.serial and certificate.issuer.public_bytes() == signer.issuer


class PrivateKey:
    """A key to sign with, alone or with its certificate and those above it. Implements `envelope.SigningKey`."""

    def __init__(self, pem: bytes, certificates_pem: bytes | None = None) -> None:
        """Raises BadKey, NoCryptography."""
        x509 = _x509()
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

        try:
            self._key: Any = load_pem_private_key(pem, None)
        except TypeError as error:
            raise BadKey("the key is locked with a password: unlock it first (openssl pkey -in KEY)") from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise BadKey("it is not a private key in PEM form") from error
        kind = kind_of(self._key)
        if kind is None:
            raise BadKey(f"the key is neither EC nor RSA of {RSA_BITS_MIN:,} bits or more")
        self.kind = kind
        self.certificates: tuple[bytes, ...] = ()
        self.signer = Signer(key_id=_key_id(self._key.public_key()))
        if certificates_pem is None:
            return
        try:
            chain = x509.load_pem_x509_certificates(certificates_pem)
        except ValueError as error:
            raise BadKey("it is not a certificate in PEM form") from error
        if not _same_key(chain[0].public_key(), self._key.public_key()):
            raise BadKey("the first certificate is not the key's")
        self.certificates = tuple(one.public_bytes(Encoding.DER) for one in chain)
        self.signer = Signer(issuer=chain[0].issuer.public_bytes(), serial=chain[0].serial_number)

    def sign(self, data: bytes) -> bytes:
        from cryptography.hazmat.primitives.asymmetric import ec, padding
        from cryptography.hazmat.primitives.hashes import SHA384

        if self.kind == "EC":
            return bytes(self._key.sign(data, ec.ECDSA(SHA384())))
        return bytes(self._key.sign(data, padding.PKCS1v15(), SHA384()))
