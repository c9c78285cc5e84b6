"""The signature file: CMS SignedData (RFC 5652) with detached content, as PEM.

Form and attributes are those of the service's signer: content type, message digest (the content digest), signing time,
algorithm protection (RFC 6211), and under AWS's arc the signing job, the expiry and the signing profile version. Ours is
one more signed attribute, the manifest digest; a signature without it cannot be verified here.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Protocol

from . import der
from .der import BadEncoding, Element
from .manifest import Digests

SIGNATURE_BYTES_MAX = 1_048_576
"""A signature file; ours has some thousand bytes, most of it certificates."""
CERTIFICATES_MAX = 16
"""Certificates in one signature."""

_SIGNED_DATA, _DATA = der.oid("1.2.840.113549.1.7.2"), der.oid("1.2.840.113549.1.7.1")
_CONTENT_TYPE, _MESSAGE_DIGEST = der.oid("1.2.840.113549.1.9.3"), der.oid("1.2.840.113549.1.9.4")
_SIGNING_TIME, _PROTECTION = der.oid("1.2.840.113549.1.9.5"), der.oid("1.2.840.113549.1.9.52")
_JOB, _EXPIRY, _PROFILE = (der.oid(f"1.3.187.137.1.{number}") for number in (2, 3, 4))
_MANIFEST = der.oid(f"2.25.{0x6C8F1A0E5B2D4E7A9C3D20261126A5D1}")
"""The arc of UUIDs belongs to whoever draws one."""
_SHA384 = der.oid("2.16.840.1.101.3.4.2.2")
ALGORITHMS = {"EC": der.oid("1.2.840.10045.4.3.3"), "RSA": der.oid("1.2.840.113549.1.1.12")}
"""ECDSA and RSA (PKCS #1 v1.5), both with SHA-384, by the kind of key."""

_PEM = re.compile(rb"-----BEGIN PKCS7-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END PKCS7-----\r?\n?")


@dataclass(frozen=True, slots=True)
class Claims:
    """What a signer says, and signs, besides the digests."""

    profile_arn: str
    job_arn: str
    expires_ms: int | None = None
    """Epoch milliseconds from which on the signature is worth nothing; None: it stays."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Whose key it is, as the signature names it."""

    key_id: bytes | None = None
    """Subject key identifier, where there is no certificate."""
    issuer: bytes = b""
    serial: int = 0
    """Of the certificate: DER of the issuer's name, and the number."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A signature as read. Nothing in it is true before it is verified."""

    claims: Claims
    content_digest: bytes
    manifest_digest: bytes | None
    """None: another signer's, which knows no such attribute."""
    signer: Signer
    key_kind: str | None
    """EC or RSA; None: an algorithm that is not known here."""
    signed: bytes
    """The bytes that are signed: the attributes as a SET."""
    signature: bytes
    certificates: tuple[bytes, ...]
    """DER, in no order."""


class SigningKey(Protocol):
    """A private key, and what proves it."""

    @property
    def kind(self) -> str:
        """EC or RSA."""

    @property
    def signer(self) -> Signer: ...

    @property
    def certificates(self) -> tuple[bytes, ...]: ...

    def sign(self, data: bytes) -> bytes:
        """The signature of `data`, hashed with SHA-384."""


def seal(digests: Digests, claims: Claims, key: SigningKey, now_ms: int) -> bytes:
    """The signature file for an archive with these digests."""
    algorithm = _algorithm(key.kind)
    attributes = [
        _attribute(_CONTENT_TYPE, _DATA),
        _attribute(_MESSAGE_DIGEST, der.octets(digests.content)),
        _attribute(_MANIFEST, der.octets(digests.manifest)),
        _attribute(_SIGNING_TIME, der.generalized_time(now_ms)),
        _attribute(_PROTECTION, der.sequence(der.sequence(_SHA384), der.write(der.context(1), algorithm[2:]))),
        _attribute(_JOB, der.utf8(claims.job_arn)),
        _attribute(_PROFILE, der.utf8(claims.profile_arn)),
    ]
    if claims.expires_ms is not None:
        attributes.append(_attribute(_EXPIRY, der.generalized_time(claims.expires_ms)))
    signer = key.signer
    named = signer.key_id is None
    sid = (
        der.sequence(signer.issuer, der.integer(signer.serial))
        if signer.key_id is None
        else der.write(der.context(0, constructed=False), signer.key_id)
    )
    info = der.sequence(
        der.integer(1 if named else 3),
        sid,
        der.sequence(_SHA384),
        der.set_of(attributes, der.context(0)),
        algorithm,
        der.octets(key.sign(der.set_of(attributes))),
    )
    certificates = der.set_of(key.certificates, der.context(0)) if key.certificates else b""
    data = der.sequence(
        der.integer(1 if named else 3),
        der.set_of([der.sequence(_SHA384)]),
        der.sequence(_DATA),
        certificates,
        der.set_of([info]),
    )
    text = b64encode(der.sequence(_SIGNED_DATA, der.write(der.context(0), data)))
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return b"\n".join([b"-----BEGIN PKCS7-----", *lines, b"-----END PKCS7-----", b""])


def unseal(file: bytes) -> Envelope:
    """Read a signature file. Raises BadEncoding; what it says is to be verified."""
    armoured = _PEM.fullmatch(file)
    if armoured is None:
        raise BadEncoding("it is not PKCS7 in PEM form and nothing else")
    try:
        data = b64decode(re.sub(rb"[\r\n]", b"", armoured[1]), validate=True)
    except binascii.Error as error:
        raise BadEncoding("it is not base64") from error
    content_type, content = _parts(der.read(data).expect(der.SEQUENCE), 2)
    if content_type.whole != _SIGNED_DATA:
        raise BadEncoding("it is not SignedData")
    (signed_data,) = _parts(content.expect(der.context(0)), 1)
    _, _, encapsulated, *optional, infos = _parts(signed_data.expect(der.SEQUENCE), 4, 6)
    if [part.whole for part in encapsulated.expect(der.SEQUENCE).children()] != [_DATA]:
        raise BadEncoding("it carries content of its own")
    certificates: tuple[bytes, ...] = ()
    for part in optional:
        if part.tag == der.context(0):
            certificates = tuple(one.expect(der.SEQUENCE).whole for one in part.children())
    if len(certificates) > CERTIFICATES_MAX:
        raise BadEncoding(f"{len(certificates)} certificates")
    (info,) = _parts(infos.expect(der.SET), 1)
    return _signer_info(info, certificates)


def _signer_info(info: Element, certificates: tuple[bytes, ...]) -> Envelope:
    # Exactly six parts: unsigned attributes would be the seventh, and nobody vouches for them.
    _, sid, digest, attributes, algorithm, signature = _parts(info.expect(der.SEQUENCE), 6)
    if digest.expect(der.SEQUENCE).children()[:1] != [der.read(_SHA384)]:
        raise BadEncoding("a digest that is not SHA-384")
    values = _attributes(attributes.expect(der.context(0)))
    kind = next((kind for kind in ALGORITHMS if algorithm.whole == _algorithm(kind)), None)
    manifest = values.get(_MANIFEST)
    if values[_CONTENT_TYPE].whole != _DATA:
        raise BadEncoding("a content type of another kind")
    expiry = values.get(_EXPIRY)
    return Envelope(
        claims=Claims(
            profile_arn=der.read_utf8(values[_PROFILE]),
            job_arn=der.read_utf8(values[_JOB]),
            expires_ms=None if expiry is None else der.read_time(expiry),
        ),
        content_digest=values[_MESSAGE_DIGEST].expect(der.OCTETS).body,
        manifest_digest=None if manifest is None else manifest.expect(der.OCTETS).body,
        signer=_signer(sid),
        key_kind=kind,
        signed=der.write(der.SET, attributes.body),
        signature=signature.expect(der.OCTETS).body,
        certificates=certificates,
    )


def _attributes(attributes: Element) -> dict[bytes, Element]:
    """The one value of each attribute by its identifier."""
    values: dict[bytes, Element] = {}
    for attribute in attributes.children():
        name, held = _parts(attribute.expect(der.SEQUENCE), 2)
        if name.whole in values:
            raise BadEncoding("an attribute twice")
        (values[name.whole],) = _parts(held.expect(der.SET), 1)
    if missing := {_CONTENT_TYPE, _MESSAGE_DIGEST, _PROFILE, _JOB} - set(values):
        raise BadEncoding(f"{len(missing)} attributes are missing")
    return values


def _signer(sid: Element) -> Signer:
    if sid.tag == der.context(0, constructed=False):
        return Signer(key_id=sid.body)
    issuer, serial = _parts(sid.expect(der.SEQUENCE), 2)
    return Signer(issuer=issuer.whole, serial=der.read_integer(serial))


def _attribute(name: bytes, value: bytes) -> bytes:
    return der.sequence(name, der.set_of([value]))


def _algorithm(kind: str) -> bytes:
    """An AlgorithmIdentifier; that of RSA carries an explicit NULL (RFC 4055), that of ECDSA nothing (RFC 5758)."""
    return der.sequence(ALGORITHMS[kind], der.write(der.NULL, b"") if kind == "RSA" else b"")


def _parts(element: Element, least: int, most: int | None = None) -> list[Element]:
    parts = element.children()
    if not least <= len(parts) <= (most or least):
        raise BadEncoding(f"{len(parts)} parts")
    return parts
