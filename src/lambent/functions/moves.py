"""How a function moves from one stored state to the next: plain decisions over frozen values, no clock, no socket.

Each answers the function to be written in place of the one it was given (which may be the same: nothing to write), or
raises the error the caller reads. RevisionIds change at exactly the events the API documentation lists; the store's
revision is counted by whoever writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from ..domain.errors import FunctionNotFound, InvalidParameterValue, PreconditionFailed, ResourceConflict
from ..domain.names import LATEST, FunctionRef
from .model import CREATING_CODE, CREATING_REASON, Code, Configuration, Function, FunctionVersion, Receipt

T = TypeVar("T")

STALE = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
)
"""The refusal of another RevisionId than that of $LATEST, or of the alias."""
INVALID_RUNTIME = "InvalidRuntime"
"""Reason code of a version whose runtime this machine does not have."""


class RuntimeCheck(Protocol):
    """Whether this machine can run a runtime."""

    def missing(self, runtime: str, architecture: str, client: str, /) -> str | None:
        """None when functions of that runtime can run here with that client (`lambent` or `official`), else what to
        install. Cheap: asked on every change."""


@dataclass(frozen=True, slots=True)
class RuntimeChoice:
    """What versions are checked against: this machine, and the runtime client where a function does not choose."""

    check: RuntimeCheck
    client: str = "lambent"


@dataclass(frozen=True, slots=True)
class Stamp:
    """What one write puts on what it touches."""

    now_ms: int
    new_generation: Callable[[], int]
    new_revision: Callable[[], str]


def existing(function: Function | None, ref: FunctionRef, qualifier: str | None = None) -> Function:
    """The function itself; raises FunctionNotFound with the ARN as looked for."""
    if function is None:
        raise FunctionNotFound(ref.arn(qualifier))
    return function


def check_revision(function: Function, revision_id: str | None) -> None:
    """The optional RevisionId of a change to $LATEST; raises PreconditionFailed."""
    if revision_id is not None and revision_id != function.latest.revision_id:
        raise PreconditionFailed(STALE)


def in_progress(ref: FunctionRef, function: Function | None) -> ResourceConflict:
    """The refusal of a change while another one is not settled, in the words clients match."""
    prefix = "The operation cannot be performed at this time."
    if function is not None and function.latest.state == "Pending":
        return ResourceConflict(f"{prefix} The function is currently in the following state: Pending")
    return ResourceConflict(f"{prefix} An update is in progress for resource: {ref.arn()}")


def already_exists(ref: FunctionRef) -> ResourceConflict:
    return ResourceConflict(f"Function already exist: {ref.name}")


def created(
    ref: FunctionRef,
    configuration: Configuration,
    code: Code,
    stamp: Stamp,
    *,
    publish: bool,
    tags: Mapping[str, str],
    invocation_id: str | None,
    code_signing_arn: str | None = None,
) -> Function:
    """A new function: Pending, with version 1 beside $LATEST when it is to be published."""
    latest = FunctionVersion(
        ref=ref,
        version=LATEST,
        configuration=configuration,
        code=code,
        revision_id=stamp.new_revision(),
        state="Pending",
        state_reason=CREATING_REASON,
        state_reason_code=CREATING_CODE,
        generation=stamp.new_generation(),
        last_modified_ms=stamp.now_ms,
    )
    function = Function(ref=ref, revision=1, latest=latest, tags=dict(tags), code_signing_arn=code_signing_arn)
    shown = latest
    if publish:
        shown = replace(latest, version="1", revision_id=stamp.new_revision(), generation=stamp.new_generation())
        function = replace(
            function,
            versions={"1": shown},
            next_version=2,
            last_published="1",
            published_description=configuration.description,
        )
    if invocation_id is not None:
        function = replace(function, receipt=Receipt(invocation_id, shown.revision_id, shown.version))
    return function


def repeated(function: Function, invocation_id: str | None) -> FunctionVersion | None:
    """The first answer once more, when the very same request has made this function; else None."""
    receipt = function.receipt
    if receipt is None or receipt.invocation_id != invocation_id:
        return None
    version = function.find(receipt.version)
    if version is None:
        return None
    return replace(
        version,
        revision_id=receipt.revision_id,
        state="Pending",
        state_reason=CREATING_REASON,
        state_reason_code=CREATING_CODE,
        update_status=None,
        update_reason=None,
        update_reason_code=None,
    )


def changed(
    function: Function, configuration: Configuration, code: Code, stamp: Stamp, runtimes: RuntimeChoice
) -> Function:
    """An accepted update of $LATEST. Invocations run it at once, unless it is known that it cannot run here: then what
    ran before keeps serving, as it does on the real service when an update fails."""
    before = function.latest
    serving = function.serving or (before if before.state == "Active" else None)
    latest = replace(
        before,
        configuration=configuration,
        code=code,
        revision_id=stamp.new_revision(),
        state="Active",
        state_reason=None,
        state_reason_code=None,
        generation=stamp.new_generation(),
        last_modified_ms=stamp.now_ms,
        update_status="InProgress",
        update_reason=CREATING_REASON,
        update_reason_code=CREATING_CODE,
    )
    if missing(configuration, runtimes) is None:
        serving = None
    return replace(function, latest=latest, serving=serving, receipt=None)


def published(
    function: Function, stamp: Stamp, *, description: str | None, pending: bool
) -> tuple[Function, FunctionVersion]:
    """A new version of $LATEST as it stands; or the last one again when nothing changed since (then nothing is written).

    pending: whether the new version has yet to become Active.
    """
    last = function.versions.get(function.last_published or "")
    if last is not None and _is_unchanged(function, last):
        return function, last
    number = str(function.next_version)
    latest = replace(function.latest, revision_id=stamp.new_revision())
    version = replace(latest, version=number, revision_id=stamp.new_revision(), generation=stamp.new_generation())
    if version.state == "Active":
        version = _active(version)
    if description is not None:
        version = replace(version, configuration=replace(version.configuration, description=description))
    if pending:
        version = replace(
            version,
            state="Pending",
            state_reason=CREATING_REASON,
            state_reason_code=CREATING_CODE,
            update_status=None,
        )
    function = replace(
        function,
        latest=latest,
        versions={**function.versions, number: version},
        next_version=function.next_version + 1,
        last_published=number,
        published_description=latest.configuration.description,
        receipt=None,
    )
    return function, version


def check_code_hash(function: Function, sha256_base64: str | None) -> None:
    """The optional CodeSha256 of a publication."""
    current = function.latest.code.sha256_base64
    if sha256_base64 is not None and sha256_base64 != current:
        raise InvalidParameterValue(
            f"CodeSHA256 ({sha256_base64}) is different from current CodeSHA256 in $LATEST ({current}). "
            "Please try again with the CodeSHA256 in $LATEST."
        )


def settled(function: Function, stamp: Stamp, runtimes: RuntimeChoice, *, snapshots: bool = False) -> Function:
    """The function with everything under way brought to its end, or as it is when nothing is under way.

    snapshots: who takes them tells their outcome; versions that wait for one stay as they are, unless their runtime is
    not here at all.
    """
    latest, serving = function.latest, function.serving
    if not latest.is_settled:
        latest = replace(_outcome(latest, serving is None, runtimes), revision_id=stamp.new_revision())
        if latest.update_status == "Successful":
            serving = None
    versions = {
        number: version if _stays(version, runtimes, snapshots) else _outcome(version, True, runtimes)
        for number, version in function.versions.items()
    }
    if latest is function.latest and all(versions[number] is one for number, one in function.versions.items()):
        return function
    return replace(function, latest=latest, serving=serving, versions=versions)


def _stays(version: FunctionVersion, runtimes: RuntimeChoice, snapshots: bool) -> bool:
    if snapshots and version.awaits_snapshot:
        return missing(version.configuration, runtimes) is None
    return version.is_settled


def revived(function: Function, stamp: Stamp, runtimes: RuntimeChoice) -> Function:
    """At start: what failed for want of a runtime becomes Active when the machine has it by now."""

    def again(version: FunctionVersion) -> FunctionVersion:
        if version.state != "Failed" or version.state_reason_code != INVALID_RUNTIME:
            return version
        return version if missing(version.configuration, runtimes) else _active(version)

    latest = again(function.latest)
    versions = {number: again(version) for number, version in function.versions.items()}
    if latest is function.latest and all(versions[number] is one for number, one in function.versions.items()):
        return function
    if latest is not function.latest:
        latest = replace(latest, revision_id=stamp.new_revision())
    return replace(function, latest=latest, versions=versions)


def without_version(function: Function, number: str) -> Function:
    """One published version less; its number stays used. Raises ResourceConflict while an alias points to it."""
    if number not in function.versions:
        return function
    aliases = [one.name for one in function.aliases.values() if number == one.version or number in one.weights]
    if aliases:
        raise ResourceConflict(
            f"Unable to delete version because the following aliases reference it: [{', '.join(aliases)}]"
        )
    versions = {one: version for one, version in function.versions.items() if one != number}
    return without_settings(replace(function, versions=versions), number)


def without_settings(function: Function, qualifier: str) -> Function:
    """The function without everything that was set for one version or alias, which is going."""
    return replace(
        function,
        policies=_without(function.policies, qualifier),
        event_invokes=_without(function.event_invokes, qualifier),
        urls=_without(function.urls, qualifier),
        provisioned=_without(function.provisioned, qualifier),
        runtime_management=_without(function.runtime_management, qualifier),
    )


def _without(table: Mapping[str, T], key: str) -> Mapping[str, T]:
    return {one: value for one, value in table.items() if one != key} if key in table else table


def missing(configuration: Configuration, runtimes: RuntimeChoice) -> str | None:
    """What this machine lacks to run such a function; None: nothing."""
    if configuration.runtime is None:
        return None
    client = configuration.runtime_client or runtimes.client
    return runtimes.check.missing(configuration.runtime, configuration.architecture, client)


def _outcome(version: FunctionVersion, is_alone: bool, runtimes: RuntimeChoice) -> FunctionVersion:
    """is_alone: no earlier state is there to serve in this one's place."""
    reason = missing(version.configuration, runtimes)
    if reason is None:
        return _active(version)
    failed = replace(version, update_status="Failed", update_reason=reason, update_reason_code=INVALID_RUNTIME)
    if version.state == "Pending" or is_alone:
        failed = replace(failed, state="Failed", state_reason=reason, state_reason_code=INVALID_RUNTIME)
    return failed


def _active(version: FunctionVersion) -> FunctionVersion:
    return replace(
        version,
        state="Active",
        state_reason=None,
        state_reason_code=None,
        update_status="Successful",
        update_reason=None,
        update_reason_code=None,
    )


def _is_unchanged(function: Function, last: FunctionVersion) -> bool:
    """Content decides, not the number of updates; a description given to the publication itself does not count."""
    current = function.latest
    as_published = replace(last.configuration, description=function.published_description)
    return current.code == last.code and current.configuration == as_published
