"""The operations on event source mappings on the wire: every source with every parameter, and every refusal."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from tests.unit.functions.house import code, ref, wanted
from tests.unit.mappings.mapping_world import FUNCTION_ARN, MAPPINGS, POLLERS, SOURCES, Client, session

from lambent import __version__
from lambent.domain.limits import MAPPING_PAGE_ITEMS_MAX
from lambent.mappings.rules import RECORD_AGE_S_MIN

INVALID = "InvalidParameterValueException"
NOT_FOUND = ("ResourceNotFoundException", "The resource you requested does not exist.")
NOT_POLLED = (
    f"PROBLEM: Lambent {__version__} keeps this mapping but does not poll event sources yet; "
    "its records stay in the source."
)
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
NOWHERE = "0190a5c4-0000-4000-8000-000000000001"
STREAMS = ("kinesis", "consumer", "dynamodb")
QUEUES = ("sqs", "fifo")
KAFKAS = ("msk", "kafka")
DESTINATION = "Unsupported DestinationConfig parameter for given event source mapping type."


def unsupported(parameter: str) -> str:
    return f"Unsupported '{parameter}' parameter for given event source mapping type."


def required(parameter: str) -> str:
    return f"Required '{parameter}' parameter is missing."


QUEUE_SHOWS = {"BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "FunctionResponseTypes": []}
STREAM_SHOWS = {
    "BatchSize": 100,
    "MaximumBatchingWindowInSeconds": 0,
    "FunctionResponseTypes": [],
    "ParallelizationFactor": 1,
    "MaximumRecordAgeInSeconds": -1,
    "MaximumRetryAttempts": -1,
    "BisectBatchOnFunctionError": False,
    "TumblingWindowInSeconds": 0,
    "DestinationConfig": {"OnFailure": {}},
}
SHOWS: dict[str, dict[str, Any]] = {
    "sqs": QUEUE_SHOWS,
    "fifo": QUEUE_SHOWS,
    "kinesis": STREAM_SHOWS,
    "consumer": STREAM_SHOWS,
    "dynamodb": STREAM_SHOWS,
    "msk": {"BatchSize": 100},
    "kafka": {"BatchSize": 100, "StartingPosition": "TRIM_HORIZON"},
    "mq": {"BatchSize": 100},
    "documentdb": {"BatchSize": 100},
}
REASONS = {
    **dict.fromkeys((*QUEUES, *KAFKAS, "mq"), "USER_INITIATED"),
    **dict.fromkeys((*STREAMS, "documentdb"), "User action"),
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_minimal_mapping_shows_exactly_this(source: str) -> None:
    async def scenario(client: Client) -> None:
        answer = await client.create(source)
        uuid = answer["UUID"]
        assert UUID4.fullmatch(uuid)
        expected = {
            **SOURCES[source],
            **SHOWS[source],
            "UUID": uuid,
            "EventSourceMappingArn": f"arn:aws:lambda:us-east-1:123456789012:event-source-mapping:{uuid}",
            "FunctionArn": FUNCTION_ARN,
            "LastModified": client.house.clock.wall_ms() / 1_000,
            "LastProcessingResult": NOT_POLLED,
            "State": "Creating",
            "StateTransitionReason": REASONS[source],
        }
        if source in KAFKAS:
            name = "AmazonManagedKafkaEventSourceConfig" if source == "msk" else "SelfManagedKafkaEventSourceConfig"
            expected[name] = {"ConsumerGroupId": uuid}
        assert answer == expected
        assert await client.get(uuid) == {**expected, "State": "Enabled"}
        assert (await client.list_mappings())["EventSourceMappings"] == [{**expected, "State": "Enabled"}]

    session(scenario)


PATTERN = {"Filters": [{"Pattern": '{"body":["x"]}'}]}
KMS = "arn:aws:kms:us-east-1:123456789012:key/k"
QUEUE_ARN = "arn:aws:sqs:us-east-1:123456789012:failed"
TAKEN: list[tuple[tuple[str, ...], str, Any, tuple[str, ...]]] = [
    # parameter, value, the sources that take it
    (tuple(SOURCES), "BatchSize", 10, ()),
    (tuple(SOURCES), "FilterCriteria", PATTERN, ()),
    (tuple(SOURCES), "KMSKeyArn", KMS, ()),
    (tuple(one for one in SOURCES if one != "fifo"), "MaximumBatchingWindowInSeconds", 300, ("fifo",)),
    (STREAMS, "ParallelizationFactor", 10, ()),
    (STREAMS, "TumblingWindowInSeconds", 900, ()),
    (STREAMS, "BisectBatchOnFunctionError", True, KAFKAS),
    (STREAMS, "MaximumRecordAgeInSeconds", 60, KAFKAS),
    (STREAMS, "MaximumRetryAttempts", 10_000, KAFKAS),
    ((*STREAMS, *QUEUES), "FunctionResponseTypes", ["ReportBatchItemFailures"], KAFKAS),
    ((*STREAMS, *KAFKAS), "DestinationConfig", {"OnFailure": {"Destination": QUEUE_ARN}}, ()),
    (QUEUES, "ScalingConfig", {"MaximumConcurrency": 2}, ()),
    ((*QUEUES, *KAFKAS, "mq"), "ProvisionedPollerConfig", POLLERS, ()),
    ((*QUEUES, *STREAMS, *KAFKAS), "MetricsConfig", {"Metrics": ["EventCount"]}, ()),
    (KAFKAS, "LoggingConfig", {"SystemLogLevel": "DEBUG"}, ()),
    ((*STREAMS, *KAFKAS, "documentdb"), "StartingPosition", "TRIM_HORIZON", ()),
    (KAFKAS, "Topics", ["t2"], ()),
    (("mq",), "Queues", ["q2"], ()),
    (("documentdb",), "DocumentDBEventSourceConfig", {"DatabaseName": "d", "CollectionName": "c"}, ()),
    (("msk",), "AmazonManagedKafkaEventSourceConfig", {"ConsumerGroupId": "g"}, ()),
    (("kafka",), "SelfManagedKafkaEventSourceConfig", {"ConsumerGroupId": "g", "ConsumptionMode": "Stream"}, ()),
]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("takes", "parameter", "value", "apart"), TAKEN, ids=[one[1] for one in TAKEN])
def test_every_source_with_every_parameter(
    source: str, takes: tuple[str, ...], parameter: str, value: Any, apart: tuple[str, ...]
) -> None:
    """Taken and shown, or refused by name; `apart` are the sources with a test of their own."""

    async def scenario(client: Client) -> None:
        if source in takes:
            answer = await client.create(source, **{parameter: value})
            assert answer[parameter] == value
            assert (await client.get(answer["UUID"]))[parameter] == value
        elif source not in apart:
            name = parameter[0].lower() + parameter[1:]
            expected = DESTINATION if parameter == "DestinationConfig" else unsupported(name)
            assert await client.refused(source, **{parameter: value}) == expected

    session(scenario)


@pytest.mark.parametrize("source", KAFKAS)
@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("BisectBatchOnFunctionError", True),
        ("MaximumRecordAgeInSeconds", 60),
        ("MaximumRetryAttempts", 3),
        ("FunctionResponseTypes", ["ReportBatchItemFailures"]),
    ],
)
def test_kafka_handles_errors_in_provisioned_mode(source: str, parameter: str, value: Any) -> None:
    async def scenario(client: Client) -> None:
        message = await client.refused(source, **{parameter: value})
        assert f"'{parameter[0].lower()}{parameter[1:]}'" in message
        assert "ProvisionedPollerConfig" in message
        answer = await client.create(source, **{parameter: value}, ProvisionedPollerConfig=POLLERS)
        assert answer[parameter] == value
        error, message = await client.update(answer["UUID"], 400, ProvisionedPollerConfig={})
        assert error == INVALID
        assert "ProvisionedPollerConfig" in message

    session(scenario)


@pytest.mark.parametrize(
    ("source", "members", "message"),
    [
        ("sqs", {"EventSourceArn": ...}, "Unrecognized event source."),
        ("sqs", {"EventSourceArn": "arn:aws:s3:::bucket"}, "Unrecognized event source."),
        ("sqs", {"EventSourceArn": "arn:aws:dynamodb:us-east-1:1:table/t"}, None),
        ("dynamodb", {"EventSourceArn": "arn:aws:dynamodb:us-east-1:123456789012:table/t"}, "Unrecognized event source."),
        ("kafka", {"SelfManagedEventSource": ...}, "Unrecognized event source."),
        ("msk", SOURCES["kafka"], unsupported("selfManagedEventSource")),
        ("kinesis", {"StartingPosition": ...}, "POSITION"),
        ("consumer", {"StartingPosition": ...}, "POSITION"),
        ("dynamodb", {"StartingPosition": ...}, "POSITION"),
        ("msk", {"StartingPosition": ...}, "POSITION"),
        ("documentdb", {"StartingPosition": ...}, "POSITION"),
        (
            "dynamodb",
            {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1_600_000_000},
            f"Unsupported starting position for arn type: {SOURCES['dynamodb']['EventSourceArn']}",
        ),
        *[
            (source, {"DestinationConfig": {"OnSuccess": {"Destination": QUEUE_ARN}}}, DESTINATION)
            for source in ("sqs", "kinesis", "mq")
        ],
        ("kinesis", {"DestinationConfig": {"OnSuccess": {}}, "EventSourceArn": ...}, DESTINATION),
        ("sqs", {"BatchSize": 11}, "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"),
        ("fifo", {"BatchSize": 11}, "Maximum batch size must be between 1 and 10 inclusive"),
        ("fifo", {"MaximumBatchingWindowInSeconds": 1}, "Batching window is not supported for FIFO queues"),
        ("sqs", {"FilterCriteria": {"Filters": [{"Pattern": '{"eventSource":"aws:sqs"}'}]}}, "Invalid filter pattern definition."),
        ("kinesis", {"FilterCriteria": {"Filters": [{}]}}, "Invalid filter pattern definition."),
        ("sqs", {"FunctionName": "nope"}, "Function does not exist"),
        ("sqs", {"FunctionName": "fn:2"}, "Function does not exist"),
        ("sqs", {"FunctionName": "fn:live"}, "Function does not exist"),
        ("msk", {"Topics": ...}, required("topics")),
        ("kafka", {"Topics": ...}, required("topics")),
        ("kafka", {"SourceAccessConfigurations": ...}, required("sourceAccessConfigurations")),
        ("kafka", {"SourceAccessConfigurations": []}, required("sourceAccessConfigurations")),
        ("kafka", {"SourceAccessConfigurations": [{"URI": "x"}]}, required("sourceAccessConfigurations.type")),
        ("mq", {"Queues": ...}, required("queues")),
        ("mq", {"SourceAccessConfigurations": ...}, required("sourceAccessConfigurations")),
        ("documentdb", {"SourceAccessConfigurations": ...}, required("sourceAccessConfigurations")),
        ("documentdb", {"DocumentDBEventSourceConfig": ...}, required("documentDBEventSourceConfig")),
        (
            "documentdb",
            {"DocumentDBEventSourceConfig": {"CollectionName": "c"}},
            required("documentDBEventSourceConfig.databaseName"),
        ),
        (
            "mq",
            {"SourceAccessConfigurations": [{"Type": "VIRTUAL_HOST", "URI": "/"}]},
            "SourceAccessConfigurations of this event source needs one of type BASIC_AUTH.",
        ),
        (
            "documentdb",
            {"SourceAccessConfigurations": [{"Type": "VIRTUAL_HOST", "URI": "/"}]},
            "Unsupported 'VIRTUAL_HOST' source access type for given event source mapping type.",
        ),
        ("kafka", {"SourceAccessConfigurations": [{"Type": "BASIC_AUTH"}]}, "The source access type BASIC_AUTH takes a URI."),
        (
            "kafka",
            {"SourceAccessConfigurations": [{"Type": "IAM_AUTH", "URI": "x"}]},
            "The source access type IAM_AUTH takes no URI.",
        ),
        ("kinesis", {"MaximumRecordAgeInSeconds": 59}, f"MaximumRecordAgeInSeconds must be -1 or at least {RECORD_AGE_S_MIN}, not 59."),
        ("kinesis", {"MaximumRecordAgeInSeconds": 0}, "MaximumRecordAgeInSeconds must be -1 or at least 60, not 0."),
        (
            "kinesis",
            {"StartingPosition": "AT_TIMESTAMP"},
            "StartingPosition AT_TIMESTAMP and StartingPositionTimestamp need each other.",
        ),
        (
            "kinesis",
            {"StartingPositionTimestamp": 1_600_000_000},
            "StartingPosition AT_TIMESTAMP and StartingPositionTimestamp need each other.",
        ),
        (
            "kinesis",
            {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 4_000_000_000},
            "StartingPositionTimestamp cannot be in the future.",
        ),
        (
            "kinesis",
            {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1e300},
            "StartingPositionTimestamp cannot be in the future.",
        ),
        (
            "kinesis",
            {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": -1e300},
            "StartingPositionTimestamp cannot be before 1970.",
        ),
        (
            "kinesis",
            {"DestinationConfig": {"OnFailure": {"Destination": FUNCTION_ARN}}},
            "DestinationConfig.OnFailure of this event source is an SQS queue or an SNS topic or an S3 bucket, "
            f"not {FUNCTION_ARN}",
        ),
        (
            "kinesis",
            {"DestinationConfig": {"OnFailure": {"Destination": "kafka://dead"}}},
            "DestinationConfig.OnFailure of this event source is an SQS queue or an SNS topic or an S3 bucket, "
            "not kafka://dead",
        ),
        (
            "msk",
            {"DestinationConfig": {"OnFailure": {"Destination": "kafka://orders"}}},
            "The Kafka topic of DestinationConfig.OnFailure cannot be the mapping's own topic.",
        ),
        (
            "sqs",
            {"ScalingConfig": {"MaximumConcurrency": 5}, "ProvisionedPollerConfig": POLLERS},
            "ScalingConfig and ProvisionedPollerConfig cannot be used together.",
        ),
        (
            "sqs",
            {"ProvisionedPollerConfig": {"MinimumPollers": 1}},
            "MinimumPollers must be between 2 and 200 for this event source.",
        ),
        (
            "sqs",
            {"ProvisionedPollerConfig": {"MaximumPollers": 1}},
            "MaximumPollers must be between 2 and 10000 for this event source.",
        ),
        (
            "msk",
            {"ProvisionedPollerConfig": {"MaximumPollers": 2_001}},
            "MaximumPollers must be between 1 and 2000 for this event source.",
        ),
        (
            "mq",
            {"ProvisionedPollerConfig": {"MinimumPollers": 5, "MaximumPollers": 4}},
            "MinimumPollers must not be greater than MaximumPollers.",
        ),
        (
            "sqs",
            {"ProvisionedPollerConfig": {"PollerGroupName": "g"}},
            "PollerGroupName is only supported for Kafka event source mappings.",
        ),
        ("sqs", {"MetricsConfig": {"Metrics": ["ErrorCount"]}}, "Unsupported 'ErrorCount' metric for given event source mapping type."),
        ("kinesis", {"MetricsConfig": {"Metrics": ["KafkaMetrics"]}}, "Unsupported 'KafkaMetrics' metric for given event source mapping type."),
        ("sqs", {"Tags": {"aws:x": "y"}}, "Tag keys that start with aws: are reserved: aws:x"),
        (
            "sqs",
            {"Tags": {str(number): "" for number in range(51)}},
            "A resource carries at most 50 tags; 51 were given.",
        ),
        (
            "kafka",
            {"SelfManagedKafkaEventSourceConfig": {"SchemaRegistryConfig": {"SchemaRegistryURI": "https://r"}}},
            "The 'schemaRegistryConfig' parameter of Kafka event source mappings needs provisioned mode: "
            "give ProvisionedPollerConfig.",
        ),
    ],
)  # fmt: skip
def test_refused_creations(source: str, members: dict[str, Any], message: str | None) -> None:
    async def scenario(client: Client) -> None:
        if message is None:  # not even an ARN by the model's pattern
            error, _ = await client.create(source, 400, **members)
            assert error == "ValidationException"
        elif message == "POSITION":
            assert await client.refused(source, **members) == (
                "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: "
                "Member must not be null."
            )
        else:
            assert await client.refused(source, **members) == message
        assert (await client.list_mappings())["EventSourceMappings"] == []

    session(scenario)


@pytest.mark.parametrize(
    ("source", "members", "message"),
    [
        (
            "kinesis",
            {"StartingPosition": "NOW"},
            "Value 'NOW' at 'startingPosition' failed to satisfy constraint: Member must satisfy enum value set: "
            "[LATEST, AT_TIMESTAMP, TRIM_HORIZON]",
        ),
        (
            "sqs",
            {"BatchSize": 10_001},
            "Value '10001' at 'batchSize' failed to satisfy constraint: Member must have value less than or equal to 10000",
        ),
        (
            "sqs",
            {"BatchSize": 0},
            "Value '0' at 'batchSize' failed to satisfy constraint: Member must have value greater than or equal to 1",
        ),
        (
            "sqs",
            {"MaximumBatchingWindowInSeconds": 301},
            "Value '301' at 'maximumBatchingWindowInSeconds' failed to satisfy constraint: Member must have value less "
            "than or equal to 300",
        ),
        (
            "sqs",
            {"ScalingConfig": {"MaximumConcurrency": 1}},
            "Value '1' at 'scalingConfig.maximumConcurrency' failed to satisfy constraint: Member must have value "
            "greater than or equal to 2",
        ),
    ],
)
def test_values_outside_of_the_model(source: str, members: dict[str, Any], message: str) -> None:
    async def scenario(client: Client) -> None:
        answer = await client.create(source, 400, **members)
        assert answer == ("ValidationException", f"1 validation error detected: {message}")

    session(scenario)


def test_the_order_of_checks() -> None:
    """One request with everything wrong: each fault that is put right uncovers the next."""

    async def scenario(client: Client) -> None:
        await client.create("fifo")
        wrong: dict[str, Any] = {
            "DestinationConfig": {"OnSuccess": {}},
            "EventSourceArn": ...,
            "ParallelizationFactor": 1,
            "BatchSize": 11,
            "MaximumBatchingWindowInSeconds": 1,
            "FilterCriteria": {"Filters": [{"Pattern": ""}]},
            "FunctionName": "nope",
        }
        right: list[tuple[str, Any, str]] = [
            ("DestinationConfig", ..., DESTINATION),
            ("EventSourceArn", SOURCES["fifo"]["EventSourceArn"], "Unrecognized event source."),
            ("ParallelizationFactor", ..., unsupported("parallelizationFactor")),
            ("BatchSize", 10, "Maximum batch size must be between 1 and 10 inclusive"),
            ("MaximumBatchingWindowInSeconds", 0, "Batching window is not supported for FIFO queues"),
            ("FilterCriteria", {}, "Invalid filter pattern definition."),
            ("FunctionName", "fn", "Function does not exist"),
        ]
        for member, cure, message in right:
            assert await client.refused("fifo", **wrong) == message
            wrong[member] = cure
        error, message = await client.create("fifo", 409, **wrong)
        assert error == "ResourceConflictException"
        wrong = {"StartingPosition": ..., "FilterCriteria": {"Filters": [{}]}}
        assert "at 'startingPosition'" in await client.refused("kinesis", **wrong)

    session(scenario)


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_and_a_function_are_mapped_once(source: str) -> None:
    async def scenario(client: Client) -> None:
        uuid = (await client.create(source))["UUID"]
        arn = SOURCES[source].get("EventSourceArn", "kafka.example:9092")
        rest = f"already exists. Please update or delete the existing mapping with UUID {uuid}"
        texts = {
            True: f'An event source mapping with SQS arn (" {arn} ") and function (" fn ") {rest}',
            False: f'The event source arn (" {arn} ") and function (" fn ") provided mapping {rest}',
        }
        expected = ("ResourceConflictException", texts[source in QUEUES])
        assert await client.create(source, 409, FunctionName=FUNCTION_ARN, Enabled=False) == expected
        # Another qualifier is another function.
        for qualifier in ("1", "$LATEST"):
            answer = await client.create(source, FunctionName=f"fn:{qualifier}")
            assert answer["FunctionArn"] == f"{FUNCTION_ARN}:{qualifier}"
        assert (await client.update(answer["UUID"], 409, FunctionName="fn")) == expected
        await client.delete(uuid)
        assert (await client.update(answer["UUID"], FunctionName="fn"))["FunctionArn"] == FUNCTION_ARN

    session(scenario)


def test_another_topic_queue_or_database_is_another_source() -> None:
    async def scenario(client: Client) -> None:
        for source, other in [
            ("msk", {"Topics": ["t2"]}),
            ("kafka", {"Topics": ["t2"]}),
            ("mq", {"Queues": ["q2"]}),
            ("documentdb", {"DocumentDBEventSourceConfig": {"DatabaseName": "shop", "CollectionName": "c"}}),
        ]:
            await client.create(source)
            await client.create(source, **other)
            await client.create(source, 409, **other)

    session(scenario)


def test_of_many_at_once_one_is_created() -> None:
    async def scenario(client: Client) -> None:
        async def attempt() -> bool:
            try:
                await client.create("sqs")
            except AssertionError:  # 409
                return False
            return True

        assert sum(await asyncio.gather(*(attempt() for _ in range(20)))) == 1

    session(scenario)


def test_a_retried_creation_is_recognised_by_the_clients_invocation_id() -> None:
    async def scenario(client: Client) -> None:
        client.headers = {"amz-sdk-invocation-id": "one"}
        first = await client.create("sqs")
        assert await client.create("sqs") == first
        client.headers = {"amz-sdk-invocation-id": "two"}
        await client.create("sqs", 409)
        client.headers = {"amz-sdk-invocation-id": "one"}
        assert (await client.create("fifo"))["UUID"] != first["UUID"]
        await client.update(first["UUID"], BatchSize=1)
        await client.create("sqs", 409)

    session(scenario)


@pytest.mark.parametrize("source", ["sqs", "kinesis", "msk", "documentdb"])
def test_states(source: str) -> None:
    async def scenario(client: Client) -> None:
        async def settled(uuid: str) -> str:
            return str((await client.get(uuid))["State"])

        disabled = await client.create(source, Enabled=False, FunctionName="fn:1")
        assert disabled["State"] == "Disabled"
        assert await settled(disabled["UUID"]) == "Disabled"
        uuid = (await client.create(source, Enabled=True))["UUID"]
        for members, on_the_way, afterwards in [
            ({}, "Updating", "Enabled"),
            ({"Enabled": False}, "Disabling", "Disabled"),
            ({"BatchSize": 5}, "Updating", "Disabled"),
            ({"Enabled": False}, "Disabling", "Disabled"),
            ({"Enabled": True}, "Enabling", "Enabled"),
            ({"Enabled": True}, "Enabling", "Enabled"),
        ]:
            client.house.clock.advance(1.5)
            answer = await client.update(uuid, **members)
            assert answer["State"] == on_the_way
            assert answer["LastModified"] == client.house.clock.wall_ms() / 1_000
            assert await client.get(uuid) == {**answer, "State": afterwards}
        client.house.clock.advance(1)
        last = await client.delete(uuid)
        assert last == {**answer, "State": "Deleting", "LastModified": client.house.clock.wall_ms() / 1_000}
        assert await client.get(uuid, 404) == NOT_FOUND

    session(scenario)


def test_what_does_not_exist() -> None:
    async def scenario(client: Client) -> None:
        assert await client.get(NOWHERE, 404) == NOT_FOUND
        assert await client.update(NOWHERE, 404, DestinationConfig={"OnSuccess": {}}, FunctionName="nope") == NOT_FOUND
        assert await client.delete(NOWHERE, 404) == NOT_FOUND
        error, message = await client.get("short", 400)
        assert (error, message) == (
            "ValidationException",
            "1 validation error detected: Value 'short' at 'uUID' failed to satisfy constraint: Member must have length "
            "greater than or equal to 36",
        )

    session(scenario)


def test_a_mapping_outlives_the_server_and_its_function() -> None:
    async def scenario(client: Client) -> None:
        kept = []
        for source in SOURCES:
            answer = await client.create(source, Tags={"a": "b"}, FilterCriteria=PATTERN)
            kept.append({**answer, "State": "Enabled"})
        provisioned = await client.create(
            "kafka",
            FunctionName="fn:1",
            Enabled=False,
            ProvisionedPollerConfig=POLLERS,
            SelfManagedKafkaEventSourceConfig={"SchemaRegistryConfig": {"SchemaRegistryURI": "https://r"}},
            DestinationConfig={"OnFailure": {"Destination": "kafka://dead"}},
        )
        kept.append(provisioned)
        await client.house.functions.delete(ref())
        client.open()
        assert (await client.list_mappings())["EventSourceMappings"] == sorted(kept, key=lambda one: str(one["UUID"]))
        # It can still be changed, but not be given a function that is not there.
        uuid = kept[0]["UUID"]
        assert (await client.update(uuid, BatchSize=3))["FunctionArn"] == FUNCTION_ARN
        assert await client.update(uuid, 400, FunctionName="fn") == (INVALID, "Function does not exist")

    session(scenario)


UPDATES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    # source, created with, updated with, then shown (... is absent)
    ("sqs", {}, {"BatchSize": 20, "MaximumBatchingWindowInSeconds": 1}, {"BatchSize": 20}),
    ("sqs", {"FilterCriteria": PATTERN}, {"BatchSize": 2}, {"FilterCriteria": PATTERN, "BatchSize": 2}),
    ("sqs", {"FilterCriteria": PATTERN}, {"FilterCriteria": {}}, {"FilterCriteria": ...}),
    ("sqs", {"FilterCriteria": PATTERN}, {"FilterCriteria": {"Filters": []}}, {"FilterCriteria": ...}),
    ("sqs", {"ScalingConfig": {"MaximumConcurrency": 5}}, {"ScalingConfig": {}}, {"ScalingConfig": ...}),
    ("sqs", {"ScalingConfig": {"MaximumConcurrency": 5}}, {}, {"ScalingConfig": {"MaximumConcurrency": 5}}),
    ("sqs", {"ProvisionedPollerConfig": POLLERS}, {"ProvisionedPollerConfig": {}}, {"ProvisionedPollerConfig": ...}),
    (
        "sqs",
        {"ProvisionedPollerConfig": POLLERS},
        {"ProvisionedPollerConfig": {"MaximumPollers": 9}},
        {"ProvisionedPollerConfig": {"MinimumPollers": 2, "MaximumPollers": 9}},
    ),
    (
        "sqs",
        {"FunctionResponseTypes": ["ReportBatchItemFailures"]},
        {"FunctionResponseTypes": []},
        {"FunctionResponseTypes": []},
    ),
    ("sqs", {"KMSKeyArn": KMS}, {"KMSKeyArn": ""}, {"KMSKeyArn": ...}),
    ("sqs", {"MetricsConfig": {"Metrics": ["EventCount"]}}, {"MetricsConfig": {}}, {"MetricsConfig": ...}),
    (
        "kinesis",
        {"DestinationConfig": {"OnFailure": {"Destination": QUEUE_ARN}}},
        {"ParallelizationFactor": 2, "TumblingWindowInSeconds": 30},
        {
            "DestinationConfig": {"OnFailure": {"Destination": QUEUE_ARN}},
            "ParallelizationFactor": 2,
            "TumblingWindowInSeconds": 30,
            "StartingPosition": "LATEST",
        },
    ),
    (
        "kinesis",
        {"DestinationConfig": {"OnFailure": {"Destination": QUEUE_ARN}}},
        {"DestinationConfig": {"OnFailure": {"Destination": ""}}},
        {"DestinationConfig": {"OnFailure": {}}},
    ),
    (
        "kinesis",
        {"MaximumRetryAttempts": 0, "BisectBatchOnFunctionError": True},
        {"MaximumRetryAttempts": -1, "BisectBatchOnFunctionError": False},
        {"MaximumRetryAttempts": -1, "BisectBatchOnFunctionError": False},
    ),
    (
        "kinesis",
        {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1_600_000_000.5},
        {"BatchSize": 7},
        {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1_600_000_000.5, "BatchSize": 7},
    ),
    (
        "msk",
        {"DestinationConfig": {"OnFailure": {"Destination": "kafka://dead"}}},
        {"DestinationConfig": {}, "LoggingConfig": {"SystemLogLevel": "WARN"}},
        {"DestinationConfig": ..., "LoggingConfig": {"SystemLogLevel": "WARN"}},
    ),
    ("msk", {"LoggingConfig": {"SystemLogLevel": "WARN"}}, {"LoggingConfig": {}}, {"LoggingConfig": ...}),
    (
        "msk",
        {
            "AmazonManagedKafkaEventSourceConfig": {
                "ConsumerGroupId": "g",
                "SchemaRegistryConfig": {"SchemaRegistryURI": "https://r"},
            },
            "ProvisionedPollerConfig": {"PollerGroupName": "shared"},
        },
        {"AmazonManagedKafkaEventSourceConfig": {"SchemaRegistryConfig": {}}},
        {
            "AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": "g"},
            "ProvisionedPollerConfig": {"MinimumPollers": 1, "MaximumPollers": 200, "PollerGroupName": "shared"},
        },
    ),
    (
        "msk",
        {"AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": "g"}},
        {"AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": "g"}},
        {"AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": "g"}},
    ),
    (
        "kafka",
        {},
        {"SelfManagedKafkaEventSourceConfig": {"ConsumptionMode": "Stream"}},
        {"Topics": ["orders"], "StartingPosition": "TRIM_HORIZON"},
    ),
    (
        "mq",
        {"SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": "a"}, {"Type": "VIRTUAL_HOST", "URI": "/v"}]},
        {"SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": "b"}]},
        {"SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": "b"}, {"Type": "VIRTUAL_HOST", "URI": "/v"}]},
    ),
    (
        "documentdb",
        {},
        {"DocumentDBEventSourceConfig": {"FullDocument": "UpdateLookup"}},
        {"DocumentDBEventSourceConfig": {"DatabaseName": "shop", "FullDocument": "UpdateLookup"}},
    ),
    (
        "sqs",
        {},
        {"EventSourceArn": SOURCES["fifo"]["EventSourceArn"], "Topics": ["t"], "StartingPosition": "LATEST"},
        {"EventSourceArn": SOURCES["sqs"]["EventSourceArn"], "Topics": ..., "StartingPosition": ...},
    ),
    ("sqs", {}, {"FunctionName": "fn:1"}, {"FunctionArn": f"{FUNCTION_ARN}:1"}),
]


@pytest.mark.parametrize(("source", "created", "updated", "shown"), UPDATES)
def test_an_update_changes_what_is_given_and_nothing_else(
    source: str, created: dict[str, Any], updated: dict[str, Any], shown: dict[str, Any]
) -> None:
    async def scenario(client: Client) -> None:
        before = await client.create(source, **created)
        client.house.clock.advance(1)
        answer = await client.update(before["UUID"], **updated)
        for member, value in shown.items():
            assert answer.get(member, ...) == value, member
        assert await client.get(before["UUID"]) == {**answer, "State": "Enabled"}
        moved = {*shown, *updated, "State", "LastModified"}
        assert {name: one for name, one in before.items() if name not in moved} == {
            name: one for name, one in answer.items() if name not in moved
        }
        # The same once more changes nothing but the time.
        client.house.clock.advance(1)
        again = await client.update(before["UUID"], **updated)
        assert again == {**answer, "LastModified": answer["LastModified"] + 1}

    session(scenario)


@pytest.mark.parametrize(
    ("source", "created", "updated", "message"),
    [
        ("sqs", {}, {"BatchSize": 11}, "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"),
        (
            "sqs",
            {"BatchSize": 11, "MaximumBatchingWindowInSeconds": 5},
            {"MaximumBatchingWindowInSeconds": 0},
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
        ),
        ("sqs", {}, {"DestinationConfig": {"OnSuccess": {}}}, DESTINATION),
        ("sqs", {}, {"DestinationConfig": {"OnFailure": {"Destination": QUEUE_ARN}}}, DESTINATION),
        ("sqs", {}, {"ParallelizationFactor": 2}, unsupported("parallelizationFactor")),
        ("sqs", {}, {"FilterCriteria": {"Filters": [{"Pattern": "x"}]}}, "Invalid filter pattern definition."),
        ("sqs", {}, {"FunctionName": "nope"}, "Function does not exist"),
        (
            "sqs",
            {"ScalingConfig": {"MaximumConcurrency": 5}},
            {"ProvisionedPollerConfig": POLLERS},
            "ScalingConfig and ProvisionedPollerConfig cannot be used together.",
        ),
        ("fifo", {}, {"MaximumBatchingWindowInSeconds": 1}, "Batching window is not supported for FIFO queues"),
        (
            "msk",
            {},
            {"AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": "other"}},
            "ConsumerGroupId cannot be changed after the event source mapping was created.",
        ),
        (
            "kafka",
            {},
            {"SelfManagedKafkaEventSourceConfig": {"ConsumptionMode": "Queue"}},
            "ConsumptionMode cannot be changed after the event source mapping was created.",
        ),
        (
            "mq",
            {},
            {"SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": "b"}, {"Type": "VIRTUAL_HOST", "URI": "/"}]},
            "VIRTUAL_HOST cannot be changed after the event source mapping was created.",
        ),
        ("mq", {}, {"SourceAccessConfigurations": []}, required("sourceAccessConfigurations")),
    ],
)  # fmt: skip
def test_refused_updates(source: str, created: dict[str, Any], updated: dict[str, Any], message: str) -> None:
    async def scenario(client: Client) -> None:
        answer = await client.create(source, **created)
        client.house.clock.advance(1)
        assert await client.update(answer["UUID"], 400, **updated) == (INVALID, message)
        assert await client.get(answer["UUID"]) == {**answer, "State": "Enabled"}

    session(scenario)


def test_kafka_in_queue_mode() -> None:
    queue = {"ConsumptionMode": "Queue", "ConsumerGroupId": "g"}

    async def scenario(client: Client) -> None:
        for member, value in [
            ("StartingPosition", "LATEST"),
            ("StartingPositionTimestamp", 1),
            ("MaximumBatchingWindowInSeconds", 1),
        ]:
            message = await client.refused("kafka", SelfManagedKafkaEventSourceConfig=queue, **{member: value})
            assert message == unsupported(member[0].lower() + member[1:])
        message = await client.refused("kafka", SelfManagedKafkaEventSourceConfig=queue, MaximumRetryAttempts=-1)
        assert "ConsumptionMode Queue" in message
        answer = await client.create("kafka", SelfManagedKafkaEventSourceConfig=queue)
        assert answer["SelfManagedKafkaEventSourceConfig"] == queue
        assert answer["MaximumRetryAttempts"] == 0
        assert "StartingPosition" not in answer
        changed = await client.update(answer["UUID"], MaximumRetryAttempts=3)
        assert changed["MaximumRetryAttempts"] == 3

    session(scenario)


@pytest.mark.parametrize("source", SOURCES)
def test_what_asks_for_nothing_is_taken_by_every_source(source: str) -> None:
    """Clients that send every member of their own model send empty ones."""

    async def scenario(client: Client) -> None:
        empty: dict[str, Any] = {
            "FilterCriteria": {"Filters": []},
            "ScalingConfig": {},
            "ProvisionedPollerConfig": {},
            "DestinationConfig": {},
            "MetricsConfig": {"Metrics": []},
            "LoggingConfig": {},
            "FunctionResponseTypes": [],
            "KMSKeyArn": "",
            "BatchSize": None,
            "Tags": {},
        }
        answer = await client.create(source, **empty)
        given = {"UUID", "EventSourceMappingArn", "FunctionArn", "LastModified", "LastProcessingResult", "State"}
        given |= {"StateTransitionReason", *SOURCES[source], *SHOWS[source]}
        assert set(answer) - {"AmazonManagedKafkaEventSourceConfig", "SelfManagedKafkaEventSourceConfig"} == given

    session(scenario)


FORMS = ["fn", FUNCTION_ARN, "123456789012:function:fn", "function:fn"]


@pytest.mark.parametrize("form", FORMS)
def test_the_function_is_named_in_every_form(form: str) -> None:
    async def scenario(client: Client) -> None:
        assert (await client.create("sqs", FunctionName=form))["FunctionArn"] == FUNCTION_ARN
        assert (await client.create("sqs", FunctionName=f"{form}:1"))["FunctionArn"] == f"{FUNCTION_ARN}:1"

    session(scenario)


def test_functions_elsewhere_are_not_reachable() -> None:
    async def scenario(client: Client) -> None:
        arn = "arn:aws:lambda:eu-west-1:123456789012:function:fn"
        expected = (
            "ResourceNotFoundException",
            "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
        )
        assert await client.create("sqs", 404, FunctionName=arn) == expected
        theirs = "arn:aws:lambda:us-east-1:210987654321:function:fn"
        assert await client.create("sqs", 403, FunctionName=theirs) == ("AccessDeniedException", None)

    session(scenario)


def test_lists_are_filtered_by_function_and_source() -> None:
    async def scenario(client: Client) -> None:
        await client.house.functions.create(ref("other"), wanted(), code())
        uuids: dict[tuple[str, str], str] = {}
        for source in ("sqs", "fifo"):
            for function in ("fn", "fn:1", "fn:$LATEST", "other"):
                uuids[source, function] = (await client.create(source, FunctionName=function))["UUID"]

        async def listed(**parameters: Any) -> set[tuple[str, str]]:
            page = (await client.list_mappings(**parameters))["EventSourceMappings"]
            assert [one["UUID"] for one in page] == sorted(one["UUID"] for one in page)
            return {key for key, uuid in uuids.items() if uuid in {one["UUID"] for one in page}}

        arn = SOURCES["sqs"]["EventSourceArn"]
        assert await listed() == set(uuids)
        assert await listed(EventSourceArn=arn) == {key for key in uuids if key[0] == "sqs"}
        for form in FORMS:
            assert await listed(FunctionName=form) == {key for key in uuids if key[1] != "other"}
            assert await listed(FunctionName=f"{form}:1") == {key for key in uuids if key[1] == "fn:1"}
        assert await listed(FunctionName="fn:$LATEST") == {key for key in uuids if key[1] == "fn:$LATEST"}
        assert await listed(FunctionName="fn:1", EventSourceArn=arn) == {("sqs", "fn:1")}
        assert await client.list_mappings(FunctionName="nope") == {"EventSourceMappings": []}
        assert await client.list_mappings(FunctionName="fn:7") == {"EventSourceMappings": []}
        assert await client.list_mappings(EventSourceArn=f"{arn}2") == {"EventSourceMappings": []}

    session(scenario)


def test_lists_come_in_pages_of_a_hundred() -> None:
    async def scenario(client: Client) -> None:
        made = set()
        for number in range(MAPPING_PAGE_ITEMS_MAX + 5):
            source = f"arn:aws:sqs:us-east-1:123456789012:q{number}"
            made.add((await client.create("sqs", EventSourceArn=source))["UUID"])
        for asked, sizes in [({}, [100, 5]), ({"MaxItems": 10_000}, [100, 5]), ({"MaxItems": 40}, [40, 40, 25])]:
            seen: list[str] = []
            parameters: dict[str, Any] = dict(asked)
            for size in sizes:
                page = await client.list_mappings(FunctionName="fn", **parameters)
                assert len(page["EventSourceMappings"]) == size
                seen += [one["UUID"] for one in page["EventSourceMappings"]]
                parameters["Marker"] = page.get("NextMarker")
            assert parameters["Marker"] is None
            assert seen == sorted(made)
        # What is deleted between two pages is not missed, and nothing else either.
        page = await client.list_mappings(MaxItems=50)
        await client.delete(page["EventSourceMappings"][-1]["UUID"])
        rest = await client.list_mappings(Marker=page["NextMarker"])
        assert len(rest["EventSourceMappings"]) == MAPPING_PAGE_ITEMS_MAX + 5 - 50
        error, _ = await client("GET", f"{MAPPINGS}?Marker=nonsense", status=400)
        assert error == INVALID
        error, _ = await client("GET", f"{MAPPINGS}?MaxItems=0", status=400)
        assert error == "ValidationException"

    session(scenario)


def test_encrypted_filters_are_not_shown_in_lists() -> None:
    async def scenario(client: Client) -> None:
        uuid = (await client.create("sqs", FilterCriteria=PATTERN, KMSKeyArn=KMS))["UUID"]
        assert (await client.get(uuid))["FilterCriteria"] == PATTERN
        (listed,) = (await client.list_mappings())["EventSourceMappings"]
        assert "FilterCriteria" not in listed
        assert listed["KMSKeyArn"] == KMS

    session(scenario)
