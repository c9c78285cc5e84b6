"""SnapStart's part of a version's state: Pending until its init has run once, and then what came of it.

A version that asked for it is published Pending. Who runs environments initialises it, keeps the result as a template where
that can be done, and tells the outcome; an init that fails makes the version Failed. A version of which no template can be
kept is Active all the same, with OptimizationStatus Off: its environments have an init of their own.
Source: Developer guide, "Improving startup performance with Lambda SnapStart"; the service model's StateReasonCode.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .model import Function, FunctionVersion

INIT_FAILURES = {
    "timeout": "FunctionError.InitTimeout",
    "Runtime.OutOfMemory": "FunctionError.InitResourceExhausted",
    "Runtime.InvalidEntrypoint": "FunctionError.InvalidEntryPoint",
    "PermissionDenied": "FunctionError.PermissionDenied",
}
"""Reason codes by what ended the init; everything else is `INIT_FAILED`."""
INIT_FAILED = "FunctionError.RuntimeInitError"
NOT_MADE = "InternalError"
"""No execution environment could be made to run the init in."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the init of a version that asked for a snapshot: a template where both are None."""

    refusal: str | None = None
    """Initialised, but no template could be kept: what was in the way."""
    failure: tuple[str, str] | None = None
    """(reason code, reason): the init failed."""


def init_failure(kind: str, error_type: str | None, text: str) -> Outcome:
    """The outcome of an init that failed. kind: `timeout`, or anything else. text: what the runtime said."""
    code = INIT_FAILURES.get("timeout" if kind == "timeout" else error_type or "", INIT_FAILED)
    return Outcome(failure=(code, text))


def snapshot_taken(function: Function, number: str, generation: int, outcome: Outcome) -> Function:
    """The function with a pending version brought to its end; as it is, where that version is settled or gone."""
    version = function.versions.get(number)
    if version is None or version.generation != generation or not version.awaits_snapshot:
        return function
    return replace(function, versions={**function.versions, number: _ended(version, outcome)})


def _ended(version: FunctionVersion, outcome: Outcome) -> FunctionVersion:
    if outcome.failure is not None:
        code, reason = outcome.failure
        return replace(
            version,
            state="Failed",
            state_reason=reason,
            state_reason_code=code,
            update_status="Failed",
            update_reason=reason,
            update_reason_code=code,
            snapshot_refusal=reason,
        )
    return replace(
        version,
        state="Active",
        state_reason=None,
        state_reason_code=None,
        update_status="Successful",
        update_reason=None,
        update_reason_code=None,
        snapshot_refusal=outcome.refusal,
    )
