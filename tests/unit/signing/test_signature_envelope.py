"""The signature file: written as CMS that others read, and read as hostile input."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.signing.signing_world import (
    JOB,
    NOW_MS,
    PROFILE,
    Signer,
    certificate,
    packed,
    private_pem,
    signature,
    with_signature,
)
from tests.unit.signing.test_signature_attacks import config

from lambent.packages.archive import reading
from lambent.signing import der
from lambent.signing.der import DEPTH_MAX, BadEncoding
from lambent.signing.envelope import CERTIFICATES_MAX, Claims, Envelope, seal, unseal
from lambent.signing.keys import PrivateKey
from lambent.signing.manifest import SIGNATURE, Digests, digests
from lambent.signing.trust import Trust
from lambent.signing.verification import Fault, Verdict, inspect, judge

DIGESTS = Digests(b"c" * 48, b"m" * 48)
CLAIMS = Claims(PROFILE, JOB, NOW_MS + 1_234)


def armoured(data: bytes) -> bytes:
    return b"-----BEGIN PKCS7-----\n" + base64.b64encode(data) + b"\n-----END PKCS7-----\n"


def bare(file: bytes) -> bytes:
    return base64.b64decode(b"".join(file.splitlines()[1:-1]))


@pytest.mark.parametrize("by", ["owner", "rsa-owner"])
@pytest.mark.parametrize("has_certificate", [False, True])
def test_what_was_sealed_is_what_is_read(by: str, has_certificate: bool) -> None:
    chain = certificate(by, "root") + certificate("root", ca=True) if has_certificate else None
    key = PrivateKey(private_pem(by), chain)
    envelope = unseal(seal(DIGESTS, CLAIMS, key, NOW_MS))
    assert envelope.claims == CLAIMS
    assert (envelope.content_digest, envelope.manifest_digest) == (DIGESTS.content, DIGESTS.manifest)
    assert envelope.key_kind == ("RSA" if by.startswith("rsa") else "EC")
    assert envelope.signer == key.signer
    assert sorted(envelope.certificates) == sorted(key.certificates)
    assert len(key.certificates) == (2 if has_certificate else 0)


def test_openssl_verifies_it_as_cms(signer: Signer, tmp_path: Path) -> None:
    """An implementation that is not ours, over the content digest as the service's signer defines it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not on this machine")
    signed = signer.sign(chain=certificate("owner", "root"))
    with zipfile.ZipFile(signer.home / "signed.zip") as archive:
        inner = hashlib.sha384(
            b"".join(
                info.orig_filename.encode() + archive.read(info)
                for info in archive.infolist()
                if info.filename != SIGNATURE
            )
        ).digest()
    (tmp_path / "content").write_bytes(inner)
    (tmp_path / "root.pem").write_bytes(certificate("root", ca=True))
    (tmp_path / "signature.pem").write_bytes(signature(signed).replace(b"PKCS7", b"CMS"))
    command = ["openssl", "cms", "-verify", "-inform", "PEM", "-in", "signature.pem", "-binary", "-content", "content"]
    command += ["-CAfile", "root.pem", "-purpose", "any", "-no_check_time", "-out", "verified"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "verified").read_bytes() == inner
    (tmp_path / "content").write_bytes(inner[::-1])
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=30).returncode != 0


FILE = seal(DIGESTS, CLAIMS, PrivateKey(private_pem("owner")), NOW_MS)


@given(st.integers(0, len(bare(FILE)) - 1), st.binary(max_size=3))
def test_whatever_is_read_is_read_or_refused(at: int, put: bytes) -> None:
    """Bytes replaced, removed and inserted anywhere: an envelope, or BadEncoding, and nothing else."""
    data = bare(FILE)
    for changed in (data[:at], data[:at] + put + data[at + len(put) :], data[:at] + put + data[at:]):
        with contextlib.suppress(BadEncoding):
            assert isinstance(unseal(armoured(changed)), Envelope)


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    for file in (noise, armoured(noise)):
        with pytest.raises(BadEncoding):
            unseal(file)


def indefinite(data: bytes) -> bytes:
    """The same value, its two outermost lengths left open, as other signers write."""
    content_type, content = der.read(data).children()
    return b"\x30\x80" + content_type.whole + b"\xa0\x80" + content.body + b"\0\0\0\0"


def test_open_lengths_are_read_and_a_signature_without_our_digest_is_anothers() -> None:
    assert unseal(armoured(indefinite(bare(FILE)))).claims == CLAIMS
    others = without(bare(FILE), DIGESTS.manifest)
    assert unseal(armoured(others)).manifest_digest is None


@pytest.mark.parametrize("policy", ["Warn", "Enforce"])
def test_a_package_of_anothers_is_refused_by_enforce_alone(signer: Signer, policy: str, tmp_path: Path) -> None:
    archive = signer.sign()
    found = unseal(signature(archive)).manifest_digest
    assert found is not None
    foreign = armoured(without(bare(signature(archive)), found))
    path = tmp_path / "foreign.zip"
    path.write_bytes(with_signature(archive, foreign))
    finding, verdict = judge(inspect(path, Trust(signer.trust_dir), NOW_MS), config(policy))
    assert finding.fault is Fault.MISMATCH
    assert "lambent sign" in finding.reason
    assert verdict is (Verdict.REFUSED if policy == "Enforce" else Verdict.WARNED)


def without(data: bytes, value: bytes) -> bytes:
    """Without the attribute that holds `value`."""

    def rebuilt(element: der.Element) -> bytes:
        if element.tag not in (der.SEQUENCE, der.SET, der.context(0)):
            return element.whole
        kept = (child for child in element.children() if value not in child.whole or len(child.whole) > 90)
        return der.write(element.tag, b"".join(rebuilt(child) for child in kept))

    return rebuilt(der.read(data))


def test_lengths_may_be_open_inside_each_other_so_deep_and_no_deeper() -> None:
    for depth, is_read in ((DEPTH_MAX, True), (DEPTH_MAX + 1, False)):
        data = b"\x30\x80" * depth + b"\0\0" * depth
        if is_read:
            assert der.read(data).tag == der.SEQUENCE
        else:
            with pytest.raises(BadEncoding, match="an indefinite length where none may be"):
                der.read(data)


def test_a_signature_brings_sixteen_certificates_at_most() -> None:
    key = PrivateKey(private_pem("owner"), certificate("owner"))
    for count, is_read in ((CERTIFICATES_MAX, True), (CERTIFICATES_MAX + 1, False)):
        key.certificates = tuple(der.sequence(der.integer(number)) for number in range(count))
        file = seal(DIGESTS, CLAIMS, key, NOW_MS)
        if is_read:
            assert len(unseal(file).certificates) == count
        else:
            with pytest.raises(BadEncoding, match="17 certificates"):
                unseal(file)


@pytest.mark.parametrize(
    ("text", "epoch_ms"),
    [
        ("20260928091926.806Z", 1_790_587_166_806),
        ("20260928091926Z", 1_790_587_166_000),
        ("20260928091926.8Z", 1_790_587_166_800),
        ("20260928091926.806123Z", 1_790_587_166_806),
    ],
)
def test_times_with_and_without_a_fraction(text: str, epoch_ms: int) -> None:
    assert der.read_time(der.read(der.write(der.GENERALIZED_TIME, text.encode()))) == epoch_ms


@pytest.mark.parametrize(
    "text", ["", "20260928091926", "2026092809192Z", "20261328091926Z", "20260928091926.xZ", "²" * 14]
)
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(BadEncoding):
        der.read_time(der.read(der.write(der.GENERALIZED_TIME, text.encode())))


@given(st.integers(0, 2**200), st.integers(0, 4_102_444_800_000))
def test_numbers_and_times_come_back(number: int, epoch_ms: int) -> None:
    assert der.read_integer(der.read(der.integer(number))) == number
    assert der.read_time(der.read(der.generalized_time(epoch_ms))) == epoch_ms


def test_lengths_are_the_shortest_and_identifiers_are_right() -> None:
    assert der.octets(b"x" * 127)[:2] == b"\x04\x7f"
    assert der.octets(b"x" * 128)[:3] == b"\x04\x81\x80"
    assert der.octets(b"x" * 256)[:4] == b"\x04\x82\x01\x00"
    assert der.oid("1.2.840.113549.1.7.2").hex() == "06092a864886f70d010702"
    assert der.oid("1.3.187.137.1.2").hex() == "06072b813b81090102"


def test_the_digests_of_a_known_archive_are_these(tmp_path: Path) -> None:
    """The format is a promise: what was signed by one release is verified by the next."""
    archive = tmp_path / "known.zip"
    archive.write_bytes(packed({"app.py": b"1", "bin/run": b"2"}))
    with reading(archive) as opened:
        found = digests(opened)
    assert found.content.hex()[:32] == "54c11850d4210d08ac1e595b6fafecaf"
    assert found.manifest.hex()[:32] == "b1ee6511d3bae048ff97a170799bba84"


def composed(
    *,
    info: Callable[[list[bytes]], list[bytes]] = list,
    attributes: Callable[[list[bytes]], list[bytes]] = list,
    encapsulated: Callable[[list[bytes]], list[bytes]] = list,
) -> bytes:
    """The signature file FILE with other parts of its signer, other attributes, or other content."""
    content_type, content = der.read(bare(FILE)).children()
    (signed_data,) = content.children()
    version, algorithms, carried, infos = signed_data.children()
    (signer,) = infos.children()
    parts = signer.children()
    signed = der.write(parts[3].tag, b"".join(attributes([one.whole for one in parts[3].children()])))
    made = der.sequence(*info([*(one.whole for one in parts[:3]), signed, *(one.whole for one in parts[4:])]))
    data = der.sequence(
        version.whole,
        algorithms.whole,
        der.sequence(*encapsulated([one.whole for one in carried.children()])),
        der.set_of([made]),
    )
    return armoured(der.sequence(content_type.whole, der.write(der.context(0), data)))


DATA, OTHER_TYPE = der.oid("1.2.840.113549.1.7.1"), der.oid("1.2.840.113549.1.7.3")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (lambda: composed(info=lambda parts: [*parts, der.write(der.context(1), b"")]), "7 parts"),
        (lambda: composed(attributes=lambda parts: [*parts, parts[0]]), "an attribute twice"),
        (lambda: composed(attributes=lambda parts: [one for one in parts if JOB.encode() not in one]), "1 attributes"),
        (
            lambda: composed(attributes=lambda parts: [one.replace(DATA, OTHER_TYPE) for one in parts]),
            "a content type of another kind",
        ),
        (
            lambda: composed(encapsulated=lambda parts: [*parts, der.write(der.context(0), der.octets(b"x"))]),
            "it carries content of its own",
        ),
        (lambda: composed(encapsulated=lambda parts: [OTHER_TYPE]), "it carries content of its own"),
        (
            lambda: composed(info=lambda parts: [*parts[:2], der.sequence(OTHER_TYPE), *parts[3:]]),
            "a digest that is not SHA-384",
        ),
    ],
    ids=["unsigned attributes", "twice", "missing", "content type", "content", "another content", "digest"],
)
def test_a_signature_holds_nothing_that_is_not_signed(file: Callable[[], bytes], words: str) -> None:
    assert unseal(composed()).claims == CLAIMS
    with pytest.raises(BadEncoding, match=words):
        unseal(file())
