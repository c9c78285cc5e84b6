"""Is this archive what somebody signed who is trusted? What is found, and what follows from it under a policy.

The checks are the service's, in its order: integrity, expiry, mismatch, revocation. An archive that is not what was
signed is refused whatever the policy; the rest is refused under Enforce and told under Warn.
Source: Developer guide, "Using code signing to verify code integrity with Lambda".
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from lambent.packages.archive import reading

from . import keys
from .der import BadEncoding
from .envelope import SIGNATURE_BYTES_MAX, Envelope, unseal
from .manifest import SIGNATURE, digests
from .model import CodeSigningConfig
from .trust import Trust, UnusableTrust

if TYPE_CHECKING:
    from lambent.packages.archive import Reading


class Fault(Enum):
    """What is wrong with a signature."""

    UNSIGNED = "unsigned"
    INTEGRITY = "integrity"
    EXPIRED = "expiry"
    MISMATCH = "mismatch"
    REVOKED = "revocation"
    UNCHECKED = "unchecked"
    """Nothing could be found out, for want of something on this server; the reason is the remedy."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of an archive's signature."""

    fault: Fault | None
    reason: str = ""
    """For the owner's log, and with UNCHECKED for the caller."""
    profile_arn: str | None = None
    """Of a signature without fault: who made it."""
    job_arn: str | None = None


class Verdict(Enum):
    """What becomes of a deployment."""

    ACCEPTED = 0
    WARNED = 1
    REFUSED = 2
    BROKEN = 3
    """Refused under every policy."""


def judge(finding: Finding, config: CodeSigningConfig) -> tuple[Finding, Verdict]:
    """A finding in the light of a configuration: who else may sign is no publisher of this one's."""
    if finding.fault is None and finding.profile_arn not in config.publishers:
        finding = Finding(Fault.MISMATCH, f"{finding.profile_arn} is not among the allowed publishers")
    if finding.fault is None:
        return finding, Verdict.ACCEPTED
    if finding.fault is Fault.INTEGRITY:
        return finding, Verdict.BROKEN
    return finding, Verdict.REFUSED if config.enforces else Verdict.WARNED


def inspect(archive: Path, trust: Trust, now_ms: int) -> Finding:
    """What an archive's signature is worth, whoever may need it. Blocks: run it in a thread.

    Raises BrokenZip and its kin for what cannot be unpacked either.
    """
    with reading(archive) as opened:
        signatures = [entry for entry in opened.entries if entry.path == SIGNATURE]
        if not signatures:
            return Finding(Fault.UNSIGNED, f"there is no {SIGNATURE} in it")
        if len({entry.path for entry in opened.entries}) != len(opened.entries):
            return Finding(Fault.INTEGRITY, "a name stands in it twice")
        (entry,) = signatures
        if entry.kind != stat.S_IFREG or entry.info.file_size > SIGNATURE_BYTES_MAX:
            return Finding(Fault.INTEGRITY, "its signature is no file of a possible size")
        try:
            envelope = unseal(b"".join(opened.chunks(entry)))
        except BadEncoding as error:
            return Finding(Fault.INTEGRITY, f"its signature cannot be read: {error}")
        if (fault := _check_content(opened, envelope)) is not None:
            return fault
    return _check_signer(envelope, trust, now_ms)


def _check_content(archive: Reading, envelope: Envelope) -> Finding | None:
    if envelope.manifest_digest is None:
        return Finding(
            Fault.MISMATCH, "its signature is another signer's, without the manifest digest that `lambent sign` adds"
        )
    actual = digests(archive)
    if (actual.content, actual.manifest) != (envelope.content_digest, envelope.manifest_digest):
        return Finding(Fault.INTEGRITY, "its content is not what was signed")
    return None


def _check_signer(envelope: Envelope, trust: Trust, now_ms: int) -> Finding:
    from datetime import UTC, datetime

    claims = envelope.claims
    now = datetime.fromtimestamp(now_ms / 1_000, UTC)
    try:
        pem = trust.anchors(claims.profile_arn)
        # Without anchors the signature can still be seen to be forged, where it brings its certificate.
        anchors = keys.Anchors((), ()) if pem is None else keys.read_anchors(pem)
        keys.check_signature(envelope, anchors, now)
        revoked = trust.revoked()
    except keys.NoCryptography as error:
        return Finding(Fault.UNCHECKED, str(error))
    except UnusableTrust as error:
        return Finding(Fault.UNCHECKED, str(error))
    except keys.BadKey as error:
        return Finding(Fault.UNCHECKED, f"the trust file of {claims.profile_arn} cannot be used: {error}")
    except keys.Forged as error:
        return Finding(Fault.INTEGRITY, f"its signature is forged: {error}")
    except keys.Outdated as error:
        return Finding(Fault.EXPIRED, str(error))
    except keys.Untrusted as error:
        return Finding(Fault.MISMATCH, f"{trust.remedy or error} ({claims.profile_arn})")
    if claims.expires_ms is not None and claims.expires_ms <= now_ms:
        return Finding(Fault.EXPIRED, "its signature has expired")
    if gone := revoked & {claims.job_arn, claims.profile_arn}:
        return Finding(Fault.REVOKED, f"{min(gone)} is revoked")
    return Finding(None, "", claims.profile_arn, claims.job_arn)
