"""The signature of a package at the moment it is deployed: checked in the packages' thread, told on the event loop.

This is the port for everything that takes packages in: functions, and layers, whose signature is looked at when they are
published (`checking` without a configuration) and judged when they are attached (`judged`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lambent.domain.clock import Clock
from lambent.domain.errors import CodeVerificationFailed, InvalidCodeSignature
from lambent.domain.names import FunctionRef

from .model import CodeSigningConfig
from .trust import Trust
from .verification import Fault, Finding, Verdict, inspect, judge

METRIC = "SignatureValidationErrors"

_log = logging.getLogger("lambent.signing")


class Check:
    """Looks at one archive and remembers what it found; given to `Packages.put`."""

    def __init__(self, signatures: Signatures, name: str, config: CodeSigningConfig | None) -> None:
        self._signatures = signatures
        self._name = name
        self._config = config
        self.finding: Finding | None = None
        self.verdict = Verdict.ACCEPTED

    def __call__(self, archive: Path) -> None:
        """Raises InvalidCodeSignature or CodeVerificationFailed as the configuration wants it. Blocks."""
        self.finding = self._signatures.inspect(archive)
        if self._config is not None:
            self.finding, self.verdict = judge(self.finding, self._config)
            refuse(self._name, self.finding, self.verdict)

    @property
    def profile_arn(self) -> str | None:
        """The signing profile version that made the archive's signature; None: nobody whom this server trusts."""
        return None if self.finding is None else self.finding.profile_arn

    @property
    def job_arn(self) -> str | None:
        """The signing job; None with `profile_arn`."""
        return None if self.finding is None else self.finding.job_arn


class Signatures:
    """Verifies packages against the trust directory."""

    def __init__(self, trust: Trust, clock: Clock, count: Callable[[FunctionRef, str, int], None]) -> None:
        """count: told of each deployment whose signature is not right, refused or not."""
        self._trust = trust
        self._clock = clock
        self._count = count

    def inspect(self, archive: Path) -> Finding:
        """What the archive's signature is worth, whoever may need it. Blocks."""
        return inspect(archive, self._trust, self._clock.wall_ms())

    @contextmanager
    def checking(self, ref: FunctionRef, config: CodeSigningConfig | None) -> Iterator[Check]:
        """A check for one deployment to a function; without a configuration it only looks."""
        check = Check(self, ref.name, config)
        try:
            yield check
        finally:
            if check.finding is not None:
                self.tell(ref, check.finding, check.verdict)

    def judged(self, ref: FunctionRef, profile_arn: str | None, job_arn: str | None, config: CodeSigningConfig) -> None:
        """Whether a layer whose signature was verified when it was published (None: was not) may be attached."""
        fault = Fault.UNSIGNED if profile_arn is None else None
        finding, verdict = judge(Finding(fault, "a layer of it is not signed", profile_arn, job_arn), config)
        self.tell(ref, finding, verdict)
        refuse(ref.name, finding, verdict)

    def tell(self, ref: FunctionRef, finding: Finding, verdict: Verdict) -> None:
        """Log and count what is not in order; silent about the rest."""
        if verdict is Verdict.ACCEPTED or finding.fault is None:
            return
        done = "was deployed" if verdict is Verdict.WARNED else "was refused"
        _log.warning("code for %s %s, %s: %s", ref.arn(), done, finding.fault.value, finding.reason)
        self._count(ref, METRIC, 1)


def refuse(name: str, finding: Finding, verdict: Verdict) -> None:
    """Raise what the caller reads, where there is something to refuse."""
    if verdict in (Verdict.ACCEPTED, Verdict.WARNED):
        return
    text = (
        "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client is "
        f"not configured to accept. Check the provided signature for {name}."
    )
    if verdict is Verdict.BROKEN:
        raise InvalidCodeSignature(text)
    if finding.fault is Fault.UNCHECKED:
        # Not the package's fault: who deploys is told what this server lacks.
        raise CodeVerificationFailed(f"{text} It could not be checked: {finding.reason}.")
    raise CodeVerificationFailed(text)
