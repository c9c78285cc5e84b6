"""Event invoke configurations: how the asynchronous invocations of one qualifier are retried, and where they end.

Pure decisions over a function, in the service's words. Which destinations there are is the published list; whether one
is served here is another question, which `invocations/destinations.py` answers when a record is due.
Source: API reference, PutFunctionEventInvokeConfig and its neighbours; recordings of the service's answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..domain.errors import InvalidParameterValue, ResourceNotFound
from ..domain.names import LATEST, FunctionRef, is_version, parse_function_arn
from .model import EventInvoke, Function

Exists = Callable[[FunctionRef, "str | None"], bool]
"""Whether a function, with its version or alias where one is named, is there."""

_SERVICES = ("sqs", "sns", "lambda", "events")
"""Services of either destination; `s3` takes failures only."""


@dataclass(frozen=True, slots=True)
class WantedEventInvoke:
    """What a caller asks for. None: not given; an empty destination: none from now on."""

    retries: int | None = None
    age_s: int | None = None
    on_success: str | None = None
    on_failure: str | None = None
    has_destinations: bool = False
    """DestinationConfig was given, be it empty."""


def check_wanted(wanted: WantedEventInvoke) -> None:
    """The one check that comes before everything else: that anything is asked for."""
    if wanted.retries is None and wanted.age_s is None and not wanted.has_destinations:
        raise InvalidParameterValue("You must specify at least one of error handling or destination setting.")


def put(function: Function, qualifier: str | None, wanted: WantedEventInvoke, now_ms: int, exists: Exists) -> Function:
    """The function with this configuration in place of any earlier one."""
    _check_target(function, qualifier)
    _check_destinations(function.ref, wanted, exists)
    made = EventInvoke(now_ms, wanted.retries, wanted.age_s, wanted.on_success or None, wanted.on_failure or None)
    return _with(function, qualifier, made)


def updated(
    function: Function, qualifier: str | None, wanted: WantedEventInvoke, now_ms: int, exists: Exists
) -> Function:
    """The function with what was given merged into the configuration that stands, each destination for itself."""
    _check_target(function, qualifier)
    stored = configured(function, qualifier)
    _check_destinations(function.ref, wanted, exists)
    return _with(
        function,
        qualifier,
        EventInvoke(
            now_ms,
            stored.retries if wanted.retries is None else wanted.retries,
            stored.age_s if wanted.age_s is None else wanted.age_s,
            stored.on_success if wanted.on_success is None else wanted.on_success or None,
            stored.on_failure if wanted.on_failure is None else wanted.on_failure or None,
        ),
    )


def removed(function: Function, qualifier: str | None) -> Function:
    """The function without this configuration; raises ResourceNotFound where there is none."""
    configured(function, qualifier)
    key = qualifier or LATEST
    kept = {one: value for one, value in function.event_invokes.items() if one != key}
    return replace(function, event_invokes=kept)


def configured(function: Function, qualifier: str | None) -> EventInvoke:
    """The configuration of a qualifier; raises ResourceNotFound where there is none."""
    found = function.event_invokes.get(qualifier or LATEST)
    if found is None:
        raise not_configured(function.ref, qualifier)
    return found


def not_configured(ref: FunctionRef, qualifier: str | None) -> ResourceNotFound:
    return ResourceNotFound(f"The function {ref.arn(qualifier or LATEST)} doesn't have an EventInvokeConfig")


def no_function() -> ResourceNotFound:
    return ResourceNotFound("The function doesn't exist.")


def in_order(function: Function) -> list[str]:
    """The qualifiers that have a configuration: $LATEST, versions ascending, aliases by name."""
    return sorted(function.event_invokes, key=_place)


def is_behind(qualifier: str, other: str) -> bool:
    """Whether `qualifier` stands behind `other` in a list."""
    return _place(qualifier) > _place(other)


def _place(qualifier: str) -> tuple[int, int, str]:
    if qualifier == LATEST:
        return 0, 0, ""
    return (1, int(qualifier), "") if is_version(qualifier) else (2, 0, qualifier)


def _with(function: Function, qualifier: str | None, one: EventInvoke) -> Function:
    return replace(function, event_invokes={**function.event_invokes, qualifier or LATEST: one})


def _check_target(function: Function, qualifier: str | None) -> None:
    if function.find(qualifier) is None:
        raise no_function()


def _check_destinations(ref: FunctionRef, wanted: WantedEventInvoke, exists: Exists) -> None:
    """Failure before success, as recorded; the sentence about a wrong service names both."""
    is_served = True
    for arn, services in ((wanted.on_failure, (*_SERVICES, "s3")), (wanted.on_success, _SERVICES)):
        if not arn:
            continue
        service = _service(arn)
        if service == "lambda":
            _check_function(ref, arn, exists)
        is_served = is_served and service in services and not _is_fifo(service, arn)
    if not is_served:
        success = f"OnSuccess(destination={wanted.on_success})" if wanted.on_success else "null"
        failure = f"OnFailure(destination={wanted.on_failure})" if wanted.on_failure else "null"
        raise InvalidParameterValue(
            f"The provided destination config DestinationConfig(onSuccess={success}, onFailure={failure}) is invalid."
        )


def _check_function(ref: FunctionRef, arn: str, exists: Exists) -> None:
    target = parse_function_arn(arn)
    if target is None or target.ref.region != ref.region or not exists(target.ref, target.qualifier):
        raise InvalidParameterValue(f"The destination ARN {arn} is invalid.")
    if target.ref == ref:
        raise InvalidParameterValue("You can't specify the function as a destination for itself.")
    if target.ref.account != ref.account:
        # No role of this account may call another's function while no policy shares it.
        raise InvalidParameterValue(
            f"The function's execution role does not have permissions to call InvokeFunction on {arn}"
        )


def _service(arn: str) -> str:
    """The service of an ARN; empty for what is none, such as a Kafka topic."""
    parts = arn.split(":")
    return parts[2] if parts[0] == "arn" and len(parts) > 2 else ""


def _is_fifo(service: str, arn: str) -> bool:
    """FIFO queues and topics take no records. Source: Developer guide, destinations."""
    return service in ("sqs", "sns") and arn.endswith(".fifo")
