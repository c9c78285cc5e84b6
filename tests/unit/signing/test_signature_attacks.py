"""Attacks on signed packages: each is refused for its reason, under each policy, and refused code has changed nothing."""

from __future__ import annotations

import asyncio
import base64
import io
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from copy import copy
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.unit.signing.signing_world import (
    DAY,
    JOB,
    NOW,
    NOW_MS,
    OTHER_PROFILE,
    PREFIX,
    PROFILE,
    Signer,
    certificate,
    edited,
    key,
    packed,
    public_pem,
    signature,
    weakly_issued,
    with_signature,
)

from lambent.domain.clock import ManualClock
from lambent.domain.documents import Key
from lambent.domain.errors import CodeVerificationFailed, InvalidCodeSignature, InvalidParameterValue
from lambent.domain.names import FunctionRef
from lambent.packages.store import Packages
from lambent.signing.deployments import Signatures
from lambent.signing.envelope import unseal
from lambent.signing.manifest import SIGNATURE
from lambent.signing.model import CodeSigningConfig
from lambent.signing.trust import Trust
from lambent.signing.verification import Fault, inspect

REF = FunctionRef("123456789012", "us-east-1", "fn")
TEXT = (
    "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client is not "
    "configured to accept. Check the provided signature for fn."
)
POLICIES = ("Warn", "Enforce")


def config(policy: str, *publishers: str) -> CodeSigningConfig:
    key = Key("123456789012", "us-east-1", "csc-0123456789abcdefg")
    return CodeSigningConfig(key, publishers or (PROFILE,), NOW_MS, policy)


class Deployer:
    """Deploys to one function, through the same store and the same check as the operations."""

    def __init__(self, signer: Signer) -> None:
        self.signer = signer
        self.counted: list[tuple[str, str, int]] = []
        self.directory = signer.home / "packages"
        self.trust = Trust(signer.trust_dir)

    def __call__(
        self, archive: bytes, allowed: CodeSigningConfig | None
    ) -> tuple[Fault | None, str | None, str | None]:
        async def main() -> tuple[Fault | None, str | None, str | None]:
            packages = Packages(self.directory, ManualClock())
            signatures = Signatures(
                self.trust, ManualClock(), lambda ref, name, value: self.counted.append((ref.name, name, value))
            )
            with signatures.checking(REF, allowed) as check:
                package = await packages.put(archive, check)
            assert packages.archive(package.digest).read_bytes() == archive
            assert check.finding is not None
            return check.finding.fault, check.profile_arn, check.job_arn

        return asyncio.run(main())

    def stored(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir()) if self.directory.exists() else []

    def found(self, archive: bytes) -> str:
        """The reason for the owner's log."""
        path = self.signer.home / "looked-at.zip"
        path.write_bytes(archive)
        return inspect(path, self.trust, NOW_MS).reason


@pytest.fixture
def deploy(signer: Signer) -> Deployer:
    """The owner's key is trusted for PROFILE and the neighbour's for OTHER_PROFILE."""
    signer.trust(public_pem("owner"))
    signer.trust(public_pem("neighbour"), OTHER_PROFILE)
    return Deployer(signer)


def refused(deploy: Deployer, archive: bytes, policy: str, kind: type[Exception]) -> None:
    """Nothing is stored, and the refusal is counted."""
    before = deploy.stored()
    with pytest.raises(kind) as caught:
        deploy(archive, config(policy))
    assert str(caught.value) == TEXT
    assert deploy.stored() == before
    assert deploy.counted == [("fn", "SignatureValidationErrors", 1)]


def blocked_by_enforce(deploy: Deployer, archive: bytes, policy: str, fault: Fault) -> None:
    """What Enforce refuses is deployed under Warn, counted, and carries no signer's name."""
    if policy == "Enforce":
        refused(deploy, archive, policy, CodeVerificationFailed)
    else:
        assert deploy(archive, config(policy)) == (fault, None, None)
        assert deploy.counted == [("fn", "SignatureValidationErrors", 1)]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("by", ["owner", "rsa-owner"])
def test_what_the_owner_signed_is_deployed_and_names_its_signer(
    deploy: Deployer, signer: Signer, policy: str, by: str
) -> None:
    signer.trust(public_pem("owner") + public_pem("rsa-owner"))
    assert deploy(signer.sign(by=by), config(policy, OTHER_PROFILE, PROFILE)) == (None, PROFILE, JOB)
    assert not deploy.counted
    assert len(deploy.stored()) == 1


@pytest.mark.parametrize("policy", POLICIES)
def test_unsigned(deploy: Deployer, policy: str) -> None:
    blocked_by_enforce(deploy, packed(), policy, Fault.UNSIGNED)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("brings_its_certificate", [False, True])
def test_signed_by_a_key_nobody_trusts(
    deploy: Deployer, signer: Signer, policy: str, brings_its_certificate: bool
) -> None:
    chain = certificate("stranger") if brings_its_certificate else None
    blocked_by_enforce(deploy, signer.sign(by="stranger", chain=chain), policy, Fault.MISMATCH)


@pytest.mark.parametrize("policy", POLICIES)
def test_signed_by_a_key_that_is_trusted_for_another_profile(deploy: Deployer, signer: Signer, policy: str) -> None:
    """As what it is, and under the name of the profile that is allowed."""
    blocked_by_enforce(deploy, signer.sign(by="neighbour", profile=OTHER_PROFILE), policy, Fault.MISMATCH)
    deploy.counted.clear()
    blocked_by_enforce(deploy, signer.sign(by="neighbour", profile=PROFILE), policy, Fault.MISMATCH)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("profile", [f"{PREFIX}/deploy/klmnopqrst", "arn:aws:signer:us-east-1:123456789012:/other/x"])
def test_a_profile_that_nobody_put_into_the_trust_directory(
    deploy: Deployer, signer: Signer, policy: str, profile: str
) -> None:
    blocked_by_enforce(deploy, signer.sign(profile=profile), policy, Fault.MISMATCH)


def entry(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, (2026, 1, 2, 3, 4, 6))
    info.external_attr = mode << 16
    return info


def renamed(info: zipfile.ZipInfo, name: str) -> zipfile.ZipInfo:
    other = copy(info)
    other.filename = other.orig_filename = name
    return other


def modified(info: zipfile.ZipInfo, mode: int) -> zipfile.ZipInfo:
    other = copy(info)
    other.external_attr = mode << 16
    return other


def dated(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    other = copy(info)
    other.date_time = (2026, 1, 2, 3, 4, 8)
    return other


Entries = list[tuple[zipfile.ZipInfo, bytes]]


def moved_boundary(entries: Entries) -> Entries:
    """A byte moves from a content to the name before it: names and contents behind each other stay what they were."""
    (first, text), *rest = entries
    return [(renamed(first, first.filename + text[:1].decode()), text[1:]), *rest]


def joined(entries: Entries) -> Entries:
    """The second entry becomes content of the first one, likewise."""
    (first, text), (second, more), *rest = entries
    return [(first, text + second.filename.encode() + more), *rest]


MEDDLING: dict[str, Callable[[Entries], Entries]] = {
    "content changed": lambda entries: [(entries[0][0], entries[0][1] + b" + 1"), *entries[1:]],
    "content of the same length": lambda entries: [(entries[0][0], entries[0][1].replace(b"1", b"2")), *entries[1:]],
    "entry added": lambda entries: [*entries, (entry("more.py"), b"import os")],
    "entry added in front": lambda entries: [(entry("more.py"), b"import os"), *entries],
    "empty entry added": lambda entries: [*entries, (entry("__init__.py"), b"")],
    "directory added": lambda entries: [*entries, (entry("empty/", stat.S_IFDIR | 0o755), b"")],
    "link added": lambda entries: [*entries, (entry("link", stat.S_IFLNK | 0o777), b"app.py")],
    "root added": lambda entries: [*entries, (entry("./", stat.S_IFDIR | 0o755), b"")],
    "entry removed": lambda entries: [entries[0], *entries[2:]],
    "directory of the signature removed": lambda entries: [one for one in entries if one[0].filename != "META_INF/"],
    "entry renamed": lambda entries: [(renamed(entries[0][0], "main.py"), entries[0][1]), *entries[1:]],
    "names swapped": lambda entries: [
        (entries[0][0], entries[1][1]),
        (entries[1][0], entries[0][1]),
        *entries[2:],
    ],
    "reordered": lambda entries: [entries[1], entries[0], *entries[2:]],
    "made executable": lambda entries: [(modified(entries[0][0], stat.S_IFREG | 0o755), entries[0][1]), *entries[1:]],
    "made a link": lambda entries: [
        entries[0],
        (modified(entries[1][0], stat.S_IFLNK | 0o777), entries[1][1]),
        *entries[2:],
    ],
    "dated otherwise": lambda entries: [(dated(entries[0][0]), entries[0][1]), *entries[1:]],
    "boundary moved": moved_boundary,
    "entries joined": joined,
    "a name twice": lambda entries: [*entries, (copy(entries[0][0]), b"def handler(event, context): return 2")],
    "a name twice, spelled otherwise": lambda entries: [(entry("./app.py"), b"x"), *entries],
    "signature twice": lambda entries: [*entries, (copy(entries[-1][0]), entries[-1][1])],
    "signature twice, spelled otherwise": lambda entries: [*entries, (entry(f"./{SIGNATURE}"), entries[-1][1])],
    "an empty program made a directory": lambda entries: [
        *entries[:2],
        (modified(entries[2][0], stat.S_IFDIR | 0o755), b""),
        *entries[3:],
    ],
    "signature made a link": lambda entries: [
        *entries[:-1],
        (modified(entries[-1][0], stat.S_IFLNK | 0o777), entries[-1][1]),
    ],
    "signature is a link": lambda entries: [
        *entries[:-1],
        (modified(entries[-1][0], stat.S_IFLNK | 0o777), b"../app.py"),
    ],
    "signature is a directory": lambda entries: [*entries[:-1], (entry(f"{SIGNATURE}/", stat.S_IFDIR | 0o755), b"")],
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("attack", MEDDLING)
def test_what_was_meddled_with_is_refused_under_every_policy(
    deploy: Deployer, signer: Signer, policy: str, attack: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of duplicates
        archive = edited(signer.sign(), MEDDLING[attack])
    refused(deploy, archive, policy, InvalidCodeSignature)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_signature_of_another_zip(deploy: Deployer, signer: Signer, policy: str) -> None:
    other = signature(signer.sign(packed({"app.py": b"def handler(event, context): return 2"})))
    refused(deploy, with_signature(signer.sign(), other), policy, InvalidCodeSignature)


def damaged_base64(file: bytes) -> bytes:
    """Another letter deep inside, where the signature's own bytes are."""
    at = len(file) - 60
    return file[:at] + (b"B" if file[at : at + 1] == b"A" else b"A") + file[at + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda file: b"",
    "text": lambda file: b"signed, honestly\n",
    "binary": lambda file: bytes(range(256)),
    "truncated": lambda file: file[: len(file) // 2],
    "truncated, in its armour": lambda file: file[: 65 * 4] + b"-----END PKCS7-----\n",
    "no armour": lambda file: b"\n".join(file.splitlines()[1:-1]),
    "something before it": lambda file: b"import os\n" + file,
    "something behind it": lambda file: file + b"import os\n",
    "another kind of armour": lambda file: file.replace(b"PKCS7", b"CERTIFICATE"),
    "no base64": lambda file: file.replace(b"M", b"=", 1),
    "an empty body": lambda file: b"-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----\n",
    "other bytes": damaged_base64,
    "far too large": lambda file: b"x" * 1_048_577,
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_signature_is_refused_under_every_policy(
    deploy: Deployer, signer: Signer, policy: str, damage: str
) -> None:
    archive = signer.sign()
    refused(deploy, with_signature(archive, DAMAGE[damage](signature(archive))), policy, InvalidCodeSignature)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_forged_signature_with_the_trusted_certificate_is_refused_under_every_policy(
    deploy: Deployer, signer: Signer, policy: str
) -> None:
    """The stranger signs under the name of the certificate that is trusted, and brings it along."""
    trusted = certificate("owner")
    signer.trust(trusted)
    genuine = signer.sign(chain=trusted)
    forged = with_signature(genuine, reforged(signature(genuine)))
    refused(deploy, forged, policy, InvalidCodeSignature)


def reforged(file: bytes) -> bytes:
    """The same signature file, signed by somebody else over the same attributes."""

    envelope = unseal(file)
    body = base64.b64decode(b"".join(file.splitlines()[1:-1]))
    other = key("stranger").sign(envelope.signed, ec.ECDSA(SHA384()))
    while len(other) != len(envelope.signature):  # DER of two numbers: their length varies by a byte
        other = key("stranger").sign(envelope.signed, ec.ECDSA(SHA384()))
    assert body.count(envelope.signature) == 1
    made = base64.b64encode(body.replace(envelope.signature, other))
    lines = [made[at : at + 64] for at in range(0, len(made), 64)]
    return b"\n".join([b"-----BEGIN PKCS7-----", *lines, b"-----END PKCS7-----", b""])


@pytest.mark.parametrize("policy", POLICIES)
def test_an_expired_signature(deploy: Deployer, signer: Signer, policy: str) -> None:
    blocked_by_enforce(deploy, signer.sign(expires_ms=NOW_MS), policy, Fault.EXPIRED)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_signature_that_has_not_expired(deploy: Deployer, signer: Signer, policy: str) -> None:
    assert deploy(signer.sign(expires_ms=NOW_MS + 1), config(policy)) == (None, PROFILE, JOB)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("revoked", [JOB, PROFILE])
def test_a_revoked_signature(deploy: Deployer, signer: Signer, policy: str, revoked: str) -> None:
    archive = signer.sign()
    (signer.trust_dir / "revoked.txt").write_text(f"# leaked\n\n{PROFILE}x\n  {revoked}  # on Tuesday\n")
    blocked_by_enforce(deploy, archive, policy, Fault.REVOKED)


@pytest.mark.parametrize("policy", POLICIES)
def test_trust_that_is_taken_away_counts_from_the_next_deployment_on(
    deploy: Deployer, signer: Signer, policy: str
) -> None:
    """Also for a package that is stored already: it was checked, but not for this deployment."""
    archive = signer.sign()
    assert deploy(archive, config(policy))[0] is None
    signer.trust(public_pem("neighbour"))
    blocked_by_enforce(deploy, archive, policy, Fault.MISMATCH)


def test_a_stored_package_that_is_not_signed_is_refused_all_the_same(deploy: Deployer) -> None:
    assert deploy(packed(), None) == (Fault.UNSIGNED, None, None)
    refused(deploy, packed(), "Enforce", CodeVerificationFailed)


def test_without_a_configuration_nothing_is_refused_and_a_signature_is_shown(deploy: Deployer, signer: Signer) -> None:
    signed = signer.sign()
    assert deploy(signed, None) == (None, PROFILE, JOB)
    assert deploy(edited(signed, MEDDLING["content changed"]), None) == (Fault.INTEGRITY, None, None)
    assert deploy(signer.sign(by="stranger"), None) == (Fault.MISMATCH, None, None)
    assert not deploy.counted


@pytest.mark.parametrize("policy", POLICIES)
def test_what_cannot_be_unpacked_is_told_so_before_its_signature(deploy: Deployer, signer: Signer, policy: str) -> None:
    with pytest.raises(InvalidParameterValue, match="Could not unzip"):
        deploy(signer.sign()[:-10], config(policy))
    assert not deploy.stored()
    assert not deploy.counted


# Tricks with the zip's own structure: what is verified is what is unpacked.


def test_data_before_and_behind_the_archive_changes_nothing_that_is_unpacked(deploy: Deployer, signer: Signer) -> None:
    signed = signer.sign()
    assert deploy(b"#!/bin/sh\nexit\n" + signed, config("Enforce"))[0] is None
    (home,) = deploy.directory.iterdir()
    assert (home / "tree" / "app.py").read_bytes() == b"def handler(event, context): return 1"


@pytest.mark.parametrize("policy", POLICIES)
def test_a_local_header_of_another_name_is_a_broken_zip(deploy: Deployer, signer: Signer, policy: str) -> None:
    signed = bytearray(signer.sign())
    at = signed.index(b"app.py")
    signed[at : at + 6] = b"bpp.py"
    with pytest.raises(InvalidParameterValue, match="Could not unzip"):
        deploy(bytes(signed), config(policy))
    assert not deploy.stored()


@pytest.mark.parametrize("policy", POLICIES)
def test_a_directory_that_leaves_an_entry_out_is_seen(deploy: Deployer, signer: Signer, policy: str) -> None:
    """The data of the first entry stay in the file, and only the directory at its end is shorter."""
    signed = signer.sign()
    with zipfile.ZipFile(io.BytesIO(signed)) as archive:
        start, count = archive.start_dir, len(archive.infolist())
    name_bytes, extra_bytes, comment_bytes = struct.unpack_from("<3H", signed, start + 28)
    size = 46 + name_bytes + extra_bytes + comment_bytes
    end = bytearray(signed[-22:])
    (directory_bytes,) = struct.unpack_from("<I", end, 12)
    struct.pack_into("<2HI", end, 8, count - 1, count - 1, directory_bytes - size)
    refused(deploy, signed[:start] + signed[start + size : -22] + bytes(end), policy, InvalidCodeSignature)


def test_repacking_with_other_compression_is_no_change(deploy: Deployer, signer: Signer) -> None:
    def stored(entries: Entries) -> Entries:
        for info, _ in entries:
            info.compress_type = zipfile.ZIP_STORED
        return entries

    assert deploy(edited(signer.sign(), stored), config("Enforce"))[0] is None


# Certificates.


def test_a_trusted_certificate_trusts_its_own_key_with_and_without_itself(deploy: Deployer, signer: Signer) -> None:
    trusted = certificate("owner")
    signer.trust(trusted)
    assert deploy(signer.sign(chain=trusted), config("Enforce"))[0] is None
    assert deploy(signer.sign(packed({"a": b"1"})), config("Enforce"))[0] is None


def test_an_authority_trusts_whom_it_certifies_also_through_another(deploy: Deployer, signer: Signer) -> None:
    signer.trust(certificate("root", ca=True, path_length=1))
    chain = certificate("owner", "middle") + certificate("middle", "root", ca=True)
    assert deploy(signer.sign(chain=chain), config("Enforce"))[0] is None
    assert deploy(signer.sign(packed({"a": b"1"}), chain=weakly_issued("owner", "root")), config("Enforce"))[0] is None


KEY_USAGE = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
NAMES = x509.NameConstraints([x509.DNSName("example.org")], None)
WRONG_CHAINS: dict[str, tuple[Callable[[], bytes], Callable[[], bytes]]] = {
    "another root of the same name": (
        lambda: certificate("root", ca=True),
        lambda: certificate("owner", "root", by="stranger"),
    ),
    "an authority for one step": (
        lambda: certificate("root", ca=True, path_length=0),
        lambda: certificate("owner", "middle") + certificate("middle", "root", ca=True),
    ),
    "the intermediate is missing": (lambda: certificate("root", ca=True), lambda: certificate("owner", "middle")),
    "the intermediate is no authority": (
        lambda: certificate("root", ca=True),
        lambda: certificate("owner", "middle") + certificate("middle", "root"),
    ),
    "the intermediate may not sign": (
        lambda: certificate("root", ca=True),
        lambda: certificate("owner", "middle") + certificate("middle", "root", ca=True, more=((KEY_USAGE, True),)),
    ),
    "an extension that is not understood": (
        lambda: certificate("root", ca=True),
        lambda: certificate("owner", "middle") + certificate("middle", "root", ca=True, more=((NAMES, True),)),
    ),
    "the anchor is no authority": (lambda: certificate("root"), lambda: certificate("owner", "root")),
    "a certificate for servers": (
        lambda: certificate("root", ca=True),
        lambda: certificate("owner", "root", usages=(ExtendedKeyUsageOID.SERVER_AUTH,)),
    ),
    "a certificate for anything": (
        lambda: certificate("root", ca=True),
        lambda: certificate("owner", "root", usages=()),
    ),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("case", WRONG_CHAINS)
def test_a_certificate_that_leads_nowhere(deploy: Deployer, signer: Signer, policy: str, case: str) -> None:
    anchor, chain = WRONG_CHAINS[case]
    signer.trust(anchor())
    blocked_by_enforce(deploy, signer.sign(chain=chain()), policy, Fault.MISMATCH)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("place", ["leaf", "middle", "root", "trusted leaf", "trusted leaf's key alone", "future"])
def test_a_certificate_whose_time_is_over(deploy: Deployer, signer: Signer, policy: str, place: str) -> None:
    def ends(one: str) -> dict[str, object]:
        if place == "future":
            return {"start": NOW + DAY / 2} if one == "leaf" else {}
        return {"start": NOW - 2 * DAY, "end": NOW - DAY} if one in place else {}

    leaf = certificate("owner", "middle", **ends("leaf"))  # type: ignore[arg-type]
    middle = certificate("middle", "root", ca=True, **ends("middle"))  # type: ignore[arg-type]
    root = certificate("root", ca=True, **ends("root"))  # type: ignore[arg-type]
    signer.trust(leaf if "trusted" in place else root)
    archive = signer.sign(chain=None if "alone" in place else leaf + middle)
    blocked_by_enforce(deploy, archive, policy, Fault.EXPIRED)


# What the owner has to put right.


def test_without_a_trust_directory_the_log_names_the_setting(deploy: Deployer, signer: Signer, tmp_path: Path) -> None:
    for trust, words in (
        (Trust(""), "no signature is trusted before the setting signing.trust_dir names a directory"),
        (Trust(tmp_path / "nowhere"), "nowhere, which is no directory"),
    ):
        deploy.trust = trust
        assert words in deploy.found(signer.sign())
        deploy.counted.clear()
        refused(deploy, signer.sign(), "Enforce", CodeVerificationFailed)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it holds no public key and no certificate"),
        (b"\xff\xfe", "is not text"),
        (b"-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n", "a PUBLIC KEY that cannot be read"),
        (
            b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
            "a PRIVATE KEY is neither a public key nor",
        ),
        (b"#" * 1_048_577, "has more than 1,048,576 bytes"),
    ],
    ids=["empty", "binary", "damaged", "private", "large"],
)
def test_a_trust_file_that_cannot_be_used_is_named(
    deploy: Deployer, signer: Signer, content: bytes, words: str
) -> None:
    """Who deploys cannot know: the refusal says it was not the package."""
    signer.trust(content)
    with pytest.raises(CodeVerificationFailed) as caught:
        deploy(signer.sign(), config("Enforce"))
    assert str(caught.value).startswith(f"{TEXT} It could not be checked: ")
    assert words in str(caught.value)
    assert not deploy.stored()
    assert deploy(signer.sign(), config("Warn")) == (Fault.UNCHECKED, None, None)


def test_a_list_of_revocations_that_cannot_be_read_trusts_nobody(deploy: Deployer, signer: Signer) -> None:
    (signer.trust_dir / "revoked.txt").mkdir()
    with pytest.raises(CodeVerificationFailed, match=r"revoked\.txt cannot be read: Is a directory"):
        deploy(signer.sign(), config("Enforce"))


def test_without_cryptography_enforce_refuses_with_the_remedy_and_content_is_checked_all_the_same(
    deploy: Deployer, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = signer.sign()
    monkeypatch.setitem(__import__("sys").modules, "cryptography", None)
    with pytest.raises(CodeVerificationFailed) as caught:
        deploy(signed, config("Enforce"))
    assert str(caught.value) == (
        f"{TEXT} It could not be checked: Lambent needs the package cryptography for signatures: "
        "pip install 'lambent[signing]'."
    )
    assert deploy(signed, config("Warn")) == (Fault.UNCHECKED, None, None)
    deploy.counted.clear()
    refused(deploy, edited(signed, MEDDLING["content changed"]), "Warn", InvalidCodeSignature)


def test_every_warning_is_in_the_log_with_its_reason(
    deploy: Deployer, signer: Signer, caplog: pytest.LogCaptureFixture
) -> None:
    deploy(packed(), config("Warn"))
    with pytest.raises(CodeVerificationFailed):
        deploy(signer.sign(expires_ms=1), config("Enforce"))
    first, second = (record.getMessage() for record in caplog.records if record.name == "lambent.signing")
    assert first == f"code for {REF.arn()} was deployed, unsigned: there is no {SIGNATURE} in it"
    assert second == f"code for {REF.arn()} was refused, expiry: its signature has expired"
