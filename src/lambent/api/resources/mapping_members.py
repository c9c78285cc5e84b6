"""Event source mappings between the wire and `mappings/`: members as given → settings, settings → members as shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambent import __version__
from lambent.mappings.model import Access, DocumentDb, Kafka, Pollers, Scaling, Settings
from lambent.mappings.rules import unsupported_destination
from lambent.mappings.sources import SOURCES

if TYPE_CHECKING:
    from lambent.mappings.model import EventSourceMapping

NOT_POLLED = (
    f"PROBLEM: Lambent {__version__} keeps this mapping but does not poll event sources yet; "
    "its records stay in the source."
)
"""LastProcessingResult of every mapping, also of those whose source shows none at the service: a mapping that looks
enabled and moves no record says why."""

_SERVERS = "KAFKA_BOOTSTRAP_SERVERS"


def read_settings(values: dict[str, Any]) -> Settings:
    """What a creation or an update says of a mapping's settings. Raises for OnSuccess, the first check of all."""
    destination = values.get("DestinationConfig")
    if destination is not None and "OnSuccess" in destination:
        raise unsupported_destination()
    return Settings(
        source_arn=values.get("EventSourceArn"),
        bootstrap_servers=_tuple(_inner(values, "SelfManagedEventSource", "Endpoints", _SERVERS)),
        batch_size=values.get("BatchSize"),
        filters=_filters(values.get("FilterCriteria")),
        kms_key_arn=values.get("KMSKeyArn"),
        metrics=_given(values.get("MetricsConfig"), lambda one: tuple(one.get("Metrics") or ())),
        log_level=_given(values.get("LoggingConfig"), lambda one: one.get("SystemLogLevel", "")),
        scaling=_given(values.get("ScalingConfig"), lambda one: Scaling(one.get("MaximumConcurrency"))),
        window_s=values.get("MaximumBatchingWindowInSeconds"),
        parallelization=values.get("ParallelizationFactor"),
        starting_position=values.get("StartingPosition"),
        starting_ms=_given(values.get("StartingPositionTimestamp"), lambda one: round(one * 1_000)),
        on_failure=_given(destination, lambda one: _inner(one, "OnFailure", "Destination") or ""),
        record_age_s=values.get("MaximumRecordAgeInSeconds"),
        bisect=values.get("BisectBatchOnFunctionError"),
        retries=values.get("MaximumRetryAttempts"),
        tumbling_window_s=values.get("TumblingWindowInSeconds"),
        topics=_tuple(values.get("Topics")),
        queues=_tuple(values.get("Queues")),
        access=_given(
            values.get("SourceAccessConfigurations"),
            lambda several: tuple(Access(one.get("Type"), one.get("URI")) for one in several),
        ),
        response_types=_tuple(values.get("FunctionResponseTypes")),
        msk=_given(values.get("AmazonManagedKafkaEventSourceConfig"), _kafka),
        kafka=_given(values.get("SelfManagedKafkaEventSourceConfig"), _kafka),
        document_db=_given(
            values.get("DocumentDBEventSourceConfig"),
            lambda one: DocumentDb(one.get("DatabaseName"), one.get("CollectionName"), one.get("FullDocument")),
        ),
        pollers=_given(
            values.get("ProvisionedPollerConfig"),
            lambda one: Pollers(one.get("MinimumPollers"), one.get("MaximumPollers"), one.get("PollerGroupName")),
        ),
    )


def show(mapping: EventSourceMapping, state: str | None = None, *, in_list: bool = False) -> dict[str, Any]:
    """A mapping as the API shows it. state: on the way, else as it stands. Lists keep encrypted filters to themselves."""
    settings = mapping.settings
    source = SOURCES[mapping.kind]
    output = {
        "UUID": mapping.uuid,
        "EventSourceMappingArn": mapping.arn,
        "FunctionArn": mapping.function_arn,
        "LastModified": mapping.modified_ms / 1_000,
        "LastProcessingResult": NOT_POLLED,
        "State": state or mapping.state,
        "StateTransitionReason": source.reason,
        "EventSourceArn": settings.source_arn,
        "SelfManagedEventSource": _given(settings.bootstrap_servers, lambda one: {"Endpoints": {_SERVERS: list(one)}}),
        "BatchSize": settings.batch_size,
        "FilterCriteria": _given(settings.filters, lambda several: {"Filters": [{"Pattern": one} for one in several]}),
        "KMSKeyArn": settings.kms_key_arn,
        "MetricsConfig": _given(settings.metrics, lambda one: {"Metrics": list(one)}),
        "LoggingConfig": _given(settings.log_level, lambda one: {"SystemLogLevel": one}),
        "ScalingConfig": _given(settings.scaling, lambda one: {"MaximumConcurrency": one.concurrency}),
        "MaximumBatchingWindowInSeconds": settings.window_s,
        "ParallelizationFactor": settings.parallelization,
        "StartingPosition": settings.starting_position,
        "StartingPositionTimestamp": _given(settings.starting_ms, lambda one: one / 1_000),
        "DestinationConfig": _given(
            settings.on_failure, lambda one: {"OnFailure": {"Destination": one} if one else {}}
        ),
        "MaximumRecordAgeInSeconds": settings.record_age_s,
        "BisectBatchOnFunctionError": settings.bisect,
        "MaximumRetryAttempts": settings.retries,
        "TumblingWindowInSeconds": settings.tumbling_window_s,
        "Topics": _list(settings.topics),
        "Queues": _list(settings.queues),
        "SourceAccessConfigurations": _given(
            settings.access, lambda several: [{"Type": one.type, "URI": one.uri} for one in several]
        ),
        "FunctionResponseTypes": _list(settings.response_types),
        "AmazonManagedKafkaEventSourceConfig": _given(settings.msk, _show_kafka),
        "SelfManagedKafkaEventSourceConfig": _given(settings.kafka, _show_kafka),
        "DocumentDBEventSourceConfig": _given(
            settings.document_db,
            lambda one: {
                "DatabaseName": one.database,
                "CollectionName": one.collection,
                "FullDocument": one.full_document,
            },
        ),
        "ProvisionedPollerConfig": _given(
            settings.pollers,
            lambda one: {"MinimumPollers": one.least, "MaximumPollers": one.most, "PollerGroupName": one.group},
        ),
    }
    if in_list and settings.kms_key_arn is not None:
        output["FilterCriteria"] = None
    return output


def _kafka(members: dict[str, Any]) -> Kafka:
    return Kafka(members.get("ConsumerGroupId"), members.get("SchemaRegistryConfig"), members.get("ConsumptionMode"))


def _show_kafka(kafka: Kafka) -> dict[str, Any]:
    shown: dict[str, Any] = {"ConsumerGroupId": kafka.consumer_group}
    if kafka.schema_registry is not None:
        shown["SchemaRegistryConfig"] = dict(kafka.schema_registry)
    if kafka.consumption_mode is not None:
        shown["ConsumptionMode"] = kafka.consumption_mode
    return shown


def _filters(criteria: dict[str, Any] | None) -> tuple[str | None, ...] | None:
    return None if criteria is None else tuple(one.get("Pattern") for one in criteria.get("Filters") or ())


def _inner(document: dict[str, Any] | None, *path: str) -> Any:
    """What stands at the end of `path`, None where it breaks off."""
    value: Any = document
    for name in path:
        value = None if value is None else value.get(name)
    return value


def _given(value: Any, convert: Any) -> Any:
    return None if value is None else convert(value)


def _tuple(value: list[Any] | None) -> tuple[Any, ...] | None:
    return None if value is None else tuple(value)


def _list(value: tuple[Any, ...] | None) -> list[Any] | None:
    return None if value is None else list(value)
