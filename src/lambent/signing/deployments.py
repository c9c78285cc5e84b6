"""Signatures at the moment they count: checked in the packages' thread, told on the event loop.

This is the port for everything that takes packages in. Code is looked at when it is deployed, together with the layers
that it will run with (`checking`), and so are layers alone when they are attached. A layer version is looked at when it is
published, too (`publishing`): there is no configuration to judge it by yet, so it is refused only for not being what was
signed. Nothing of that is believed later: an attachment verifies the stored archive anew, by the trust, the revocations
and the time of its own moment, also where the version was published before anybody looked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lambent.domain.clock import Clock
from lambent.domain.errors import CodeVerificationFailed, InvalidCodeSignature
from lambent.domain.names import FunctionRef

from .model import CodeSigningConfig
from .trust import Trust
from .verification import Fault, Finding, Verdict, inspect, judge

METRIC = "SignatureValidationErrors"

_log = logging.getLogger("lambent.signing")


@dataclass(frozen=True, slots=True)
class LayerArchive:
    """A layer version that a function is to have, or has when its code is replaced."""

    arn: str
    path: Path | None
    """Of the stored archive; None: it was attached before archives of layers were kept."""


class Check:
    """Looks at one deployment and remembers what it found; given to `Packages.put`."""

    def __init__(
        self,
        signatures: Signatures,
        ref: FunctionRef,
        config: CodeSigningConfig | None,
        layers: Sequence[LayerArchive] = (),
    ) -> None:
        self._signatures = signatures
        self._ref = ref
        self._config = config
        self._layers = layers
        self.finding: Finding | None = None
        """Of the code."""
        self.judged: list[tuple[str, Finding, Verdict]] = []
        """What was looked at, in words for the log, and what came of it."""

    def __call__(self, archive: Path) -> None:
        """Look at the code, then at the layers. Raises InvalidCodeSignature or CodeVerificationFailed as the
        configuration wants it. Blocks."""
        self.finding = self._signatures.inspect(archive)
        if self._config is not None:
            self.finding = self._judge(f"code for {self._ref.arn()}", self.finding, self._config)
        self.look_at_layers()

    def look_at_layers(self) -> None:
        """Without a configuration nobody asks who signed them. Raises and blocks as for code."""
        if self._config is None:
            return
        for layer in self._layers:
            self._judge(f"layer {layer.arn} for {self._ref.arn()}", self._inspect(layer), self._config)

    def _inspect(self, layer: LayerArchive) -> Finding:
        try:
            if layer.path is not None:
                return self._signatures.inspect(layer.path)
        except FileNotFoundError:
            pass
        reason = f"the archive of {layer.arn} is not kept; publish the layer again and attach its new version"
        return Finding(Fault.UNCHECKED, reason)

    def _judge(self, what: str, finding: Finding, config: CodeSigningConfig) -> Finding:
        finding, verdict = judge(finding, config)
        self.judged.append((what, finding, verdict))
        refuse(self._ref.name, finding, verdict)
        return finding

    @property
    def profile_arn(self) -> str | None:
        """The signing profile version that made the code's signature; None: nobody whom this server trusts."""
        return None if self.finding is None else self.finding.profile_arn

    @property
    def job_arn(self) -> str | None:
        """The signing job; None with `profile_arn`."""
        return None if self.finding is None else self.finding.job_arn


class Publication:
    """Looks at the archive of one layer version to be published; given to `Packages.put`."""

    def __init__(self, signatures: Signatures, name: str) -> None:
        self._signatures = signatures
        self._name = name
        self.finding: Finding | None = None

    def __call__(self, archive: Path) -> None:
        """Raises InvalidCodeSignature for what is not what was signed. Blocks."""
        self.finding = self._signatures.inspect(archive)
        if self.finding.fault is Fault.INTEGRITY:
            refuse(self._name, self.finding, Verdict.BROKEN)

    @property
    def profile_arn(self) -> str | None:
        """The signing profile version that made the signature; None: nobody whom this server trusts."""
        return None if self.finding is None else self.finding.profile_arn

    @property
    def job_arn(self) -> str | None:
        """The signing job; None with `profile_arn`."""
        return None if self.finding is None else self.finding.job_arn


class Signatures:
    """Verifies packages against the trust directory."""

    def __init__(self, trust: Trust, clock: Clock, count: Callable[[FunctionRef, str, int], None]) -> None:
        """count: told of each package of a deployment whose signature is not right, refused or not."""
        self._trust = trust
        self._clock = clock
        self._count = count

    def inspect(self, archive: Path) -> Finding:
        """What the archive's signature is worth, whoever may need it. Blocks."""
        return inspect(archive, self._trust, self._clock.wall_ms())

    @contextmanager
    def checking(
        self, ref: FunctionRef, config: CodeSigningConfig | None, layers: Sequence[LayerArchive] = ()
    ) -> Iterator[Check]:
        """A check for one deployment to a function, or for layers that it is given; without a configuration it only
        looks at the code."""
        check = Check(self, ref, config, layers)
        try:
            yield check
        except BaseException:
            # Nothing is deployed: what would have been with a warning is not told of.
            self._tell(ref, [one for one in check.judged if one[2] is not Verdict.WARNED])
            raise
        self._tell(ref, check.judged)

    @contextmanager
    def publishing(self, arn: str, name: str) -> Iterator[Publication]:
        """A check for one layer version to be published. arn, name: of its layer."""
        publication = Publication(self, name)
        try:
            yield publication
        finally:
            finding = publication.finding
            if finding is not None and finding.fault is Fault.INTEGRITY:
                _log.warning("a version of %s was refused, %s: %s", arn, finding.fault.value, finding.reason)
            elif finding is not None and finding.fault not in (None, Fault.UNSIGNED):
                assert finding.fault is not None
                _log.info("a version of %s names no signer, %s: %s", arn, finding.fault.value, finding.reason)

    def _tell(self, ref: FunctionRef, judged: Sequence[tuple[str, Finding, Verdict]]) -> None:
        """Log and count what is not in order; silent about the rest."""
        for what, finding, verdict in judged:
            if verdict is Verdict.ACCEPTED or finding.fault is None:
                continue
            done = "was deployed" if verdict is Verdict.WARNED else "was refused"
            _log.warning("%s %s, %s: %s", what, done, finding.fault.value, finding.reason)
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
