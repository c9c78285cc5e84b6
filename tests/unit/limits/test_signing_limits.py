"""Bounds of signatures at their own size: files, chains, keys."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.x509 import SubjectKeyIdentifier
from tests.unit.signing.signing_world import (
    NOW_MS,
    PROFILE,
    Signer,
    certificate,
    key,
    public_pem,
    signature,
    with_signature,
)

from lambent.signing.envelope import SIGNATURE_BYTES_MAX, Claims, Envelope
from lambent.signing.envelope import Signer as Named
from lambent.signing.keys import CHAIN_MAX, RSA_BITS_MIN, Anchors, Forged, check_signature, kind_of, read_anchors
from lambent.signing.trust import TRUST_FILE_BYTES_MAX, Trust, UnusableTrust
from lambent.signing.verification import Fault, inspect


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    signer = Signer(tmp_path)
    signer.trust(public_pem("owner"))
    return signer


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (SIGNATURE_BYTES_MAX, "its signature cannot be read: it is not PKCS7 in PEM form and nothing else"),
        (SIGNATURE_BYTES_MAX + 1, "its signature is no file of a possible size"),
    ],
)
def test_a_signature_file_has_a_megabyte_at_most(signer: Signer, size: int, reason: str) -> None:
    path = signer.home / "large.zip"
    path.write_bytes(with_signature(signer.sign(), b"x" * size))
    found = inspect(path, Trust(signer.trust_dir), NOW_MS)
    assert (found.fault, found.reason) == (Fault.INTEGRITY, reason)


@pytest.mark.parametrize(("intermediates", "is_trusted"), [(CHAIN_MAX - 2, True), (CHAIN_MAX - 1, False)])
def test_a_chain_has_eight_certificates_at_most(signer: Signer, intermediates: int, is_trusted: bool) -> None:
    names = ["owner", *(f"middle-{number}" for number in range(intermediates)), "root"]
    chain = [certificate(names[0], names[1])]
    chain += [certificate(one, above, ca=True) for one, above in pairwise(names[1:])]
    signer.trust(certificate("root", ca=True))
    path = signer.home / "chained.zip"
    path.write_bytes(signer.sign(chain=b"".join(chain)))
    found = inspect(path, Trust(signer.trust_dir), NOW_MS)
    assert found.fault is (None if is_trusted else Fault.MISMATCH)


def test_rsa_keys_have_2048_bits_at_least() -> None:
    """Trusted or not: a short one has signed nothing."""
    assert key("rsa-owner").key_size == RSA_BITS_MIN
    assert (kind_of(key("rsa-owner")), kind_of(key("rsa-short"))) == ("RSA", None)
    short = key("rsa-short")
    named = Named(key_id=SubjectKeyIdentifier.from_public_key(short.public_key()).digest)
    made = short.sign(b"data", padding.PKCS1v15(), SHA384())
    envelope = Envelope(Claims(PROFILE, "job"), b"", b"", named, "RSA", b"data", made, ())
    anchors = read_anchors(public_pem("rsa-short").decode())
    assert isinstance(anchors, Anchors)
    with pytest.raises(Forged):
        check_signature(envelope, anchors, datetime.now(UTC))


@pytest.mark.parametrize(("size", "is_read"), [(TRUST_FILE_BYTES_MAX, True), (TRUST_FILE_BYTES_MAX + 1, False)])
def test_a_trust_file_has_a_megabyte_at_most(signer: Signer, size: int, is_read: bool) -> None:
    content = public_pem("owner")
    signer.trust(content + b"#" * (size - len(content)))
    if is_read:
        assert Trust(signer.trust_dir).anchors(PROFILE) is not None
    else:
        with pytest.raises(UnusableTrust, match="has more than 1,048,576 bytes"):
            Trust(signer.trust_dir).anchors(PROFILE)


def test_what_is_sealed_is_far_below_the_bound(signer: Signer) -> None:
    assert len(signature(signer.sign(chain=certificate("owner", "root")))) < SIGNATURE_BYTES_MAX / 100
