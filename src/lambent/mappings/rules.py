"""What a mapping may be given: the checks of creation and update, in the order that is part of the contract.

Destinations, the source, what it takes and lacks, batch size, starting position, batching window, what else belongs
to the source, filters; then the function; then duplicates. All raise the domain's errors; all is pure.
Source: recorded answers of the service; where its words are not known, ours say what would be right.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from ..domain.errors import InvalidParameterValue, ResourceConflict
from .filters import check_filters
from .model import EMPTY, Access, DocumentDb, EventSourceMapping, Kafka, Kind, Pollers, Settings
from .sources import PARAMETERS, SECRETLESS, SOURCES, Source, recognise

RECORD_AGE_S_MIN = 60
"""The least MaximumRecordAgeInSeconds that is an age; -1 means none."""
T = TypeVar("T", Kafka, DocumentDb, Pollers)
_DESTINATION = re.compile(r"arn:[^:]+:([a-z0-9-]+):.*")


def unsupported_destination() -> InvalidParameterValue:
    """The refusal of OnSuccess, which no mapping has, and of OnFailure where the source does not take it."""
    return InvalidParameterValue("Unsupported DestinationConfig parameter for given event source mapping type.")


def kind_of(wanted: Settings) -> Kind:
    """The kind of source named; raises what the caller reads when there is none."""
    kind = recognise(wanted.source_arn, wanted.bootstrap_servers)
    if kind is None:
        raise InvalidParameterValue("Unrecognized event source.")
    return kind


def completed(kind: Kind, uuid: str, wanted: Settings, now_ms: int) -> Settings:
    """The settings of a mapping as kept: checked, emptied of what asks for nothing, with the source's defaults.

    wanted: of a creation, or an update merged with what stood. uuid: names the consumer group where none is given.
    """
    source = SOURCES[kind]
    given = replace(wanted, **{name: None for name in PARAMETERS if getattr(wanted, name) in EMPTY})
    queued = given.kafka is not None and given.kafka.consumption_mode == "Queue"
    _check_members(kind, source, given, queued)
    _check_batch_size(source, given)
    _check_starting_position(source, given, queued, now_ms)
    _check_window(kind, given)
    _check_failures(source, given, queued)
    _check_access(source, given)
    _check_scaling(source, given)
    check_filters(given.filters or ())
    return _filled(kind, uuid, source, given, queued)


def merged(stored: Settings, wanted: Settings) -> Settings:
    """`stored` with what an update gives; what it does not give keeps its value, an empty value clears."""
    given = {one.name: getattr(wanted, one.name) for one in fields(wanted)}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for name in ("msk", "kafka"):
        if name in changes:
            changes[name] = _merged_kafka(getattr(stored, name) or Kafka(), changes[name])
    if wanted.document_db is not None and stored.document_db is not None:
        changes["document_db"] = _over(stored.document_db, wanted.document_db)
    if wanted.pollers is not None and wanted.pollers != Pollers() and stored.pollers is not None:
        changes["pollers"] = _over(stored.pollers, wanted.pollers)
    if wanted.access is not None:
        changes["access"] = _merged_access(stored.access or (), wanted.access)
    return replace(stored, **changes)


def check_duplicate(one: EventSourceMapping, others: Iterable[EventSourceMapping]) -> None:
    """The same source and the same function, qualifier included, are mapped once. Raises ResourceConflict.

    others: all mappings of the account, or those of the same identity alone.
    """
    sought = identity(one)
    for other in others:
        if other.uuid != one.uuid and identity(other) == sought:
            raise _duplicate(one, other)


def is_repetition(one: EventSourceMapping, other: EventSourceMapping) -> bool:
    """Whether `other` was made by the same client request, whose answer was lost on the way."""
    return (
        one.invocation_id is not None and one.invocation_id == other.invocation_id and identity(one) == identity(other)
    )


def _duplicate(one: EventSourceMapping, other: EventSourceMapping) -> ResourceConflict:
    rest = f"Please update or delete the existing mapping with UUID {other.uuid}"
    settings = one.settings
    source = settings.source_arn or ",".join(settings.bootstrap_servers or ())
    if one.kind in (Kind.SQS, Kind.SQS_FIFO):
        return ResourceConflict(
            f'An event source mapping with SQS arn (" {source} ") and function (" {one.function} ") already exists. {rest}'
        )
    return ResourceConflict(
        f'The event source arn (" {source} ") and function (" {one.function} ") provided mapping already exists. {rest}'
    )


def identity(mapping: EventSourceMapping) -> tuple[Hashable, ...]:
    """What no two mappings have in common: what is read, and the function, qualifier, account and region included."""
    settings = mapping.settings
    servers = frozenset(settings.bootstrap_servers or ())
    read = (settings.topics, settings.queues, _database(settings.document_db))
    return settings.source_arn, servers, read, mapping.function_arn


def _database(read: DocumentDb | None) -> tuple[str | None, str | None] | None:
    return None if read is None else (read.database, read.collection)


def _check_members(kind: Kind, source: Source, given: Settings, queued: bool) -> None:
    """What the source does not take, then what it needs: the first of each in the model's order."""
    for name in PARAMETERS:
        if getattr(given, name) is None or name in ("source_arn", "filters"):
            continue
        if name == "bootstrap_servers" and kind is Kind.KAFKA:
            continue
        if name == "on_failure" and not source.destinations:
            raise unsupported_destination()
        in_queues = queued and name in ("starting_position", "starting_ms", "window_s")
        if in_queues or not source.allows(name):
            raise InvalidParameterValue(
                f"Unsupported '{PARAMETERS[name]}' parameter for given event source mapping type."
            )
    for name in source.needs:
        if getattr(given, name) is None:
            raise _required(PARAMETERS[name])
    if "document_db" in source.needs and given.document_db is not None and given.document_db.database is None:
        raise _required("documentDBEventSourceConfig.databaseName")


def _required(parameter: str) -> InvalidParameterValue:
    return InvalidParameterValue(f"Required '{parameter}' parameter is missing.")


def _check_batch_size(source: Source, given: Settings) -> None:
    if given.batch_size is not None and given.batch_size > source.batch_max:
        raise InvalidParameterValue(f"Maximum batch size must be between 1 and {source.batch_max} inclusive")


def _check_starting_position(source: Source, given: Settings, queued: bool, now_ms: int) -> None:
    position = given.starting_position
    if not source.positions or queued:
        return
    if position is None and "starting_position" not in source.defaults:
        raise InvalidParameterValue(
            "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: "
            "Member must not be null."
        )
    if position is not None and position not in source.positions:
        raise InvalidParameterValue(f"Unsupported starting position for arn type: {given.source_arn}")
    if (position == "AT_TIMESTAMP") != (given.starting_ms is not None):
        raise InvalidParameterValue("StartingPosition AT_TIMESTAMP and StartingPositionTimestamp need each other.")
    if given.starting_ms is not None and given.starting_ms < 0:
        raise InvalidParameterValue("StartingPositionTimestamp cannot be before 1970.")
    if given.starting_ms is not None and given.starting_ms > now_ms:
        raise InvalidParameterValue("StartingPositionTimestamp cannot be in the future.")


def _check_window(kind: Kind, given: Settings) -> None:
    window_s = given.window_s or 0
    if kind is Kind.SQS_FIFO and window_s:
        raise InvalidParameterValue("Batching window is not supported for FIFO queues")
    if kind is Kind.SQS and (given.batch_size or 0) > 10 and not window_s:
        raise InvalidParameterValue(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        )


def _check_failures(source: Source, given: Settings, queued: bool) -> None:
    """Record age, retries, the destination of what failed, and what only provisioned mode has."""
    if given.record_age_s is not None and -1 < given.record_age_s < RECORD_AGE_S_MIN:
        raise InvalidParameterValue(
            f"MaximumRecordAgeInSeconds must be -1 or at least {RECORD_AGE_S_MIN}, not {given.record_age_s}."
        )
    if queued and given.retries == -1:
        raise InvalidParameterValue(
            "MaximumRetryAttempts of -1 is not supported for Kafka event source mappings with ConsumptionMode Queue."
        )
    if given.on_failure is not None:
        _check_destination(source, given.on_failure, given.topics or ())
    if given.pollers is None:
        for name in PARAMETERS:
            if (
                name in source.provisioned_only
                and getattr(given, name) is not None
                and not (queued and name == "retries")
            ):
                raise _provisioned_only(PARAMETERS[name])
        kafka = given.msk or given.kafka
        if kafka is not None and kafka.schema_registry:
            raise _provisioned_only("schemaRegistryConfig")


def _provisioned_only(parameter: str) -> InvalidParameterValue:
    return InvalidParameterValue(
        f"The '{parameter}' parameter of Kafka event source mappings needs provisioned mode: give ProvisionedPollerConfig."
    )


def _check_destination(source: Source, destination: str, topics: tuple[str, ...]) -> None:
    if destination.startswith("kafka://"):
        service = "kafka"
        if destination.removeprefix("kafka://") in topics:
            raise InvalidParameterValue(
                "The Kafka topic of DestinationConfig.OnFailure cannot be the mapping's own topic."
            )
    else:
        parsed = _DESTINATION.fullmatch(destination)
        service = "" if parsed is None else parsed[1]
        if service == "kafka":
            service = ""  # a topic is named by kafka://, not by an ARN
    if service not in source.destinations:
        names = {
            "sqs": "an SQS queue",
            "sns": "an SNS topic",
            "s3": "an S3 bucket",
            "kafka": "a Kafka topic (kafka://)",
        }
        raise InvalidParameterValue(
            f"DestinationConfig.OnFailure of this event source is {' or '.join(names[one] for one in source.destinations)}, "
            f"not {destination}"
        )


def _check_access(source: Source, given: Settings) -> None:
    types = [one.type for one in given.access or ()]
    for one in given.access or ():
        if one.type is None:
            raise _required("sourceAccessConfigurations.type")
        if one.type not in source.access:
            raise InvalidParameterValue(
                f"Unsupported '{one.type}' source access type for given event source mapping type."
            )
        if (one.uri is None) != (one.type in SECRETLESS):
            raise InvalidParameterValue(
                f"The source access type {one.type} takes {'no' if one.type in SECRETLESS else 'a'} URI."
            )
    if source.access_needed is not None and types.count(source.access_needed) != 1:
        raise InvalidParameterValue(
            f"SourceAccessConfigurations of this event source needs one of type {source.access_needed}."
        )


def _check_scaling(source: Source, given: Settings) -> None:
    """Scaling and provisioned pollers exclude each other; metrics and pollers are the source's."""
    if given.scaling is not None and given.pollers is not None:
        raise InvalidParameterValue("ScalingConfig and ProvisionedPollerConfig cannot be used together.")
    for metric in given.metrics or ():
        if metric not in source.metrics:
            raise InvalidParameterValue(f"Unsupported '{metric}' metric for given event source mapping type.")
    if given.pollers is None:
        return
    bounds = source.pollers
    assert bounds is not None  # a source without bounds does not take the parameter
    pollers = _with_defaults(source, given.pollers)
    assert pollers.least is not None
    assert pollers.most is not None
    if not bounds.least_min <= pollers.least <= bounds.least_max:
        raise InvalidParameterValue(
            f"MinimumPollers must be between {bounds.least_min} and {bounds.least_max} for this event source."
        )
    if not bounds.least_min <= pollers.most <= bounds.most_max:
        raise InvalidParameterValue(
            f"MaximumPollers must be between {bounds.least_min} and {bounds.most_max} for this event source."
        )
    if pollers.least > pollers.most:
        raise InvalidParameterValue("MinimumPollers must not be greater than MaximumPollers.")
    if pollers.group and "kafka" not in source.destinations:
        raise InvalidParameterValue("PollerGroupName is only supported for Kafka event source mappings.")


def _filled(kind: Kind, uuid: str, source: Source, given: Settings, queued: bool) -> Settings:
    """`given` with the defaults of its source."""
    defaults = dict(source.defaults)
    if queued:
        del defaults["starting_position"]
        defaults["retries"] = 0
    members = {name: default for name, default in defaults.items() if getattr(given, name) is None}
    if kind in (Kind.MSK, Kind.KAFKA):
        name = kind.value
        kafka = getattr(given, name) or Kafka()
        group, registry = kafka.consumer_group or uuid, kafka.schema_registry or None
        members[name] = replace(kafka, consumer_group=group, schema_registry=registry)
    if given.pollers is not None:
        members["pollers"] = _with_defaults(source, given.pollers)
    return replace(given, **members)


def _with_defaults(source: Source, pollers: Pollers) -> Pollers:
    bounds = source.pollers
    assert bounds is not None
    least = bounds.least if pollers.least is None else pollers.least
    return Pollers(least, bounds.most if pollers.most is None else pollers.most, pollers.group or None)


def _merged_kafka(stored: Kafka, wanted: Kafka) -> Kafka:
    """Consumer group and consumption mode are fixed at creation; saying them again is no change."""
    if wanted.consumer_group not in (None, stored.consumer_group):
        raise InvalidParameterValue("ConsumerGroupId cannot be changed after the event source mapping was created.")
    if wanted.consumption_mode not in (None, stored.consumption_mode or "Stream"):
        raise InvalidParameterValue("ConsumptionMode cannot be changed after the event source mapping was created.")
    if wanted.schema_registry is None:
        return stored
    return replace(stored, schema_registry=wanted.schema_registry)


def _merged_access(stored: tuple[Access, ...], wanted: tuple[Access, ...]) -> tuple[Access, ...]:
    """The virtual host of a broker is fixed at creation, and need not be said again."""
    fixed = tuple(one for one in stored if one.type == "VIRTUAL_HOST")
    if any(one.type == "VIRTUAL_HOST" and one not in fixed for one in wanted):
        raise InvalidParameterValue("VIRTUAL_HOST cannot be changed after the event source mapping was created.")
    return (*(one for one in wanted if one not in fixed), *fixed)


def _over(stored: T, wanted: T) -> T:
    """`stored` with the members that `wanted` has."""
    given: Mapping[str, Any] = {one.name: getattr(wanted, one.name) for one in fields(wanted)}
    return replace(stored, **{name: value for name, value in given.items() if value is not None})
