"""§11: event source mappings."""

from __future__ import annotations

from typing import Any

import pytest
from tests.parity.spec.spec_world import (
    FUNCTIONS,
    IPV,
    RCE,
    RNF,
    UUID,
    VAL,
    Row,
    Wire,
    at_least,
    at_most,
    encoded,
    filled,
    hold,
    one,
    one_of,
    rows,
)
from tests.support import unique

PATH = "/2015-03-31/event-source-mappings"
CREATE = f"POST {PATH}"
NO_RESOURCE = "The resource you requested does not exist."
NOBODYS = "00000000-0000-4000-8000-000000000000"
BAD_FILTER = "Invalid filter pattern definition."
UNSUPPORTED_DESTINATION = "Unsupported DestinationConfig parameter for given event source mapping type."
BASIC_AUTH = [{"Type": "BASIC_AUTH", "URI": "arn:aws:secretsmanager:us-east-1:{account}:secret:s"}]
SOURCES: dict[str, dict[str, Any]] = {
    "sqs": {"EventSourceArn": "arn:aws:sqs:us-east-1:{account}:{source}"},
    "fifo": {"EventSourceArn": "arn:aws:sqs:us-east-1:{account}:{source}.fifo"},
    "kinesis": {
        "EventSourceArn": "arn:aws:kinesis:us-east-1:{account}:stream/{source}",
        "StartingPosition": "LATEST",
    },
    "dynamodb": {
        "EventSourceArn": "arn:aws:dynamodb:us-east-1:{account}:table/{source}/stream/2026-01-01T00:00:00.000",
        "StartingPosition": "TRIM_HORIZON",
    },
    "msk": {
        "EventSourceArn": "arn:aws:kafka:us-east-1:{account}:cluster/{source}/00000000-0000-4000-8000-000000000000-1",
        "StartingPosition": "LATEST",
        "Topics": ["topic"],
    },
    "kafka": {
        "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["{source}.example:9092"]}},
        "Topics": ["topic"],
        "SourceAccessConfigurations": BASIC_AUTH,
    },
    "mq": {
        "EventSourceArn": "arn:aws:mq:us-east-1:{account}:broker:{source}:b-00000000-0000-4000-8000-000000000000",
        "Queues": ["q"],
        "SourceAccessConfigurations": BASIC_AUTH,
    },
    "documentdb": {
        "EventSourceArn": "arn:aws:rds:us-east-1:{account}:cluster:{source}",
        "StartingPosition": "LATEST",
        "SourceAccessConfigurations": BASIC_AUTH,
        "DocumentDBEventSourceConfig": {"DatabaseName": "d"},
    },
}
STREAMS = ("kinesis", "dynamodb")


def mapping(source: str, **members: Any) -> dict[str, Any]:
    document = {"FunctionName": "{name}", **SOURCES[source], **members}
    return {key: value for key, value in document.items() if value is not None}


@pytest.fixture(scope="module")
def names(wire: Wire) -> dict[str, str]:
    name = wire.make("mappings")
    wire.publish(name)
    wire.alias(name, "live")
    return {"name": name, "account": wire.account, "source": unique("source"), "arn": wire.arn(name)}


def create(wire: Wire, names: dict[str, str], source: str, **members: Any) -> Any:
    fresh = {**names, "source": unique("source")}
    return wire.ok("POST", PATH, filled(mapping(source, **members), fresh), 202)


@rows(
    Row("11.5 no source", CREATE, {"FunctionName": "{name}"}, IPV, "Unrecognized event source."),
    Row(
        "11.5 an unknown service",
        CREATE,
        mapping("sqs", EventSourceArn="arn:aws:s3:us-east-1:{account}:b"),
        IPV,
        "Unrecognized event source.",
    ),
    Row("11.5 no function", CREATE, mapping("sqs", FunctionName="no"), IPV, "Function does not exist"),
    Row("11.5 no version", CREATE, mapping("sqs", FunctionName="{name}:9"), IPV, "Function does not exist"),
    Row("11.5 no alias", CREATE, mapping("sqs", FunctionName="{name}:no"), IPV, "Function does not exist"),
    *(
        Row(
            f"11.5 {source} without StartingPosition",
            CREATE,
            mapping(source, StartingPosition=None),
            IPV,
            one("null", "startingPosition", "Member must not be null."),
        )
        for source in ("kinesis", "dynamodb", "msk", "documentdb")
    ),
    Row(
        "11.5 StartingPosition not in the enum",
        CREATE,
        mapping("kinesis", StartingPosition="NOW"),
        VAL,
        one("'NOW'", "startingPosition", one_of("LATEST", "AT_TIMESTAMP", "TRIM_HORIZON")),
    ),
    Row(
        "11.5 AT_TIMESTAMP with a DynamoDB stream",
        CREATE,
        mapping("dynamodb", StartingPosition="AT_TIMESTAMP", StartingPositionTimestamp=1),
        IPV,
        "Unsupported starting position for arn type: " + SOURCES["dynamodb"]["EventSourceArn"],
    ),
    *(
        Row(
            f"11.5 {source} with OnSuccess",
            CREATE,
            mapping(source, DestinationConfig={"OnSuccess": {"Destination": "arn:aws:sqs:us-east-1:{account}:d"}}),
            IPV,
            UNSUPPORTED_DESTINATION,
        )
        for source in ("sqs", "kinesis", "dynamodb", "msk", "kafka")
    ),
    *(
        Row(
            f"11.4 {source} does not take {name}",
            CREATE,
            mapping(source, **{name: value}),
            IPV,
            f"Unsupported '{name[0].lower() + name[1:]}' parameter for given event source mapping type.",
        )
        for source in ("sqs", "mq", "documentdb")
        for name, value in (
            ("ParallelizationFactor", 2),
            ("BisectBatchOnFunctionError", True),
            ("TumblingWindowInSeconds", 10),
            ("MaximumRecordAgeInSeconds", 60),
            ("MaximumRetryAttempts", 1),
        )
    ),
    Row(
        "11.5 SQS BatchSize over 10 without a window",
        CREATE,
        mapping("sqs", BatchSize=11),
        IPV,
        "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
    ),
    Row(
        "11.5 FIFO with a window",
        CREATE,
        mapping("fifo", MaximumBatchingWindowInSeconds=1),
        IPV,
        "Batching window is not supported for FIFO queues",
    ),
    *(
        Row(
            f"11.6 filter {pattern}",
            CREATE,
            mapping("sqs", FilterCriteria={"Filters": [{"Pattern": pattern}]}),
            IPV,
            BAD_FILTER,
        )
        for pattern in ("{", "[]", "", '{"a":"b"}', '{"a":[{"unknown":1}]}')
    ),
    Row(
        "11.5 BatchSize above",
        CREATE,
        mapping("sqs", BatchSize=10_001),
        VAL,
        one("'10001'", "batchSize", at_most(10_000)),
    ),
    Row("11.5 BatchSize below", CREATE, mapping("sqs", BatchSize=0), VAL, one("'0'", "batchSize", at_least(1))),
    Row(
        "11.5 order: DestinationConfig before the source",
        CREATE,
        {
            "FunctionName": "no",
            "EventSourceArn": "arn:aws:s3:us-east-1:{account}:b",
            "DestinationConfig": {"OnSuccess": {"Destination": "arn:aws:sqs:us-east-1:{account}:d"}},
        },
        IPV,
        UNSUPPORTED_DESTINATION,
    ),
    Row(
        "11.5 order: the window before filters",
        CREATE,
        mapping("sqs", BatchSize=11, FilterCriteria={"Filters": [{"Pattern": "{"}]}),
        IPV,
        "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
    ),
    Row(
        "11.5 order: filters before the function",
        CREATE,
        mapping("sqs", FunctionName="no", FilterCriteria={"Filters": [{"Pattern": "{"}]}),
        IPV,
        BAD_FILTER,
    ),
    *(
        Row(
            f"11.7 unknown UUID, {method}",
            f"{method} {PATH}/{NOBODYS}",
            {} if method == "PUT" else None,
            RNF,
            NO_RESOURCE,
        )
        for method in ("GET", "PUT", "DELETE")
    ),
    Row("11.7 List of no function", f"GET {PATH}?FunctionName=no", shown={"EventSourceMappings": []}),
    Row(
        "11.7 List of no source",
        f"GET {PATH}?EventSourceArn={encoded('arn:aws:sqs:us-east-1:123456789012:no')}",
        shown={"EventSourceMappings": []},
    ),
)
def test_refusals(wire: Wire, names: dict[str, str], row: Row) -> None:
    hold(wire, row, names)


ALWAYS = {"UUID", "EventSourceMappingArn", "FunctionArn", "LastModified", "State", "StateTransitionReason"}
OF_STREAMS: dict[str, Any] = {
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
DEFAULTS: dict[str, dict[str, Any]] = {
    "sqs": {"BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "FunctionResponseTypes": []},
    "kinesis": OF_STREAMS,
    "dynamodb": OF_STREAMS,
    **{source: {"BatchSize": 100} for source in ("msk", "kafka", "mq", "documentdb")},
}
ECHOED = (
    *("EventSourceArn", "StartingPosition", "Topics", "Queues", "SourceAccessConfigurations", "SelfManagedEventSource"),
    "DocumentDBEventSourceConfig",
)
UNSET = {
    *("FilterCriteria", "ScalingConfig", "ProvisionedPollerConfig", "KMSKeyArn", "MetricsConfig", "LoggingConfig"),
    *("StartingPositionTimestamp", "FilterCriteriaError"),
}


@pytest.mark.parametrize("source", DEFAULTS)
def test_what_a_minimal_mapping_shows(wire: Wire, names: dict[str, str], source: str) -> None:
    """§11.1, §11.3: what is echoed for each source, with its defaults, and nothing that was not set."""
    shown = create(wire, names, source)
    assert shown["State"] == "Creating"
    reason = "User action" if source in (*STREAMS, "documentdb") else "USER_INITIATED"
    assert shown["StateTransitionReason"] == reason
    assert UUID.fullmatch(shown["UUID"])
    arn = f"arn:aws:lambda:us-east-1:{wire.account}:event-source-mapping:{shown['UUID']}"
    assert (shown["EventSourceMappingArn"], shown["FunctionArn"]) == (arn, names["arn"])
    assert isinstance(shown["LastModified"], float)
    expected = {*ALWAYS, *DEFAULTS[source], *(name for name in ECHOED if name in SOURCES[source])}
    if source == "kafka":
        expected |= {"StartingPosition"}
        assert shown["StartingPosition"] == "TRIM_HORIZON"
    kafka = {"msk": "AmazonManagedKafkaEventSourceConfig", "kafka": "SelfManagedKafkaEventSourceConfig"}
    expected |= {kafka[source]} if source in kafka else set()
    assert set(shown) - {"LastProcessingResult"} == expected
    assert {name: shown[name] for name in DEFAULTS[source]} == DEFAULTS[source]
    got = wire.ok("GET", f"{PATH}/{shown['UUID']}")
    assert got == {**shown, "State": "Enabled"}


def test_states(wire: Wire, names: dict[str, str]) -> None:
    """§11.2: on the way in the answer, settled in the next; also after an update that changes nothing."""
    path = f"{PATH}/{create(wire, names, 'sqs')['UUID']}"
    for body, on_the_way, settled in (
        ({}, "Updating", "Enabled"),
        ({"BatchSize": 10}, "Updating", "Enabled"),
        ({"Enabled": False}, "Disabling", "Disabled"),
        ({"BatchSize": 5}, "Updating", "Disabled"),
        ({"Enabled": True}, "Enabling", "Enabled"),
    ):
        assert wire.ok("PUT", path, body, 202)["State"] == on_the_way
        assert wire.ok("GET", path)["State"] == settled
    gone = wire.ok("DELETE", path, status=202)
    assert gone["State"] == "Deleting"
    assert wire("GET", path).status == 404
    assert wire("DELETE", path).status == 404
    assert create(wire, names, "sqs", Enabled=False)["State"] == "Disabled"


@pytest.mark.parametrize("source", ["sqs", *STREAMS])
def test_duplicates(wire: Wire, names: dict[str, str], source: str) -> None:
    """§11.5: the same source and the same function, qualifier included."""
    fresh = {**names, "source": unique("twice")}
    made = wire.ok("POST", PATH, filled(mapping(source), fresh), 202)
    wire.ok("POST", PATH, filled(mapping(source, FunctionName="{name}:live"), fresh), 202)
    named = f'arn (" {made["EventSourceArn"]} ") and function (" {names["name"]} ")'
    text = {
        "sqs": f"An event source mapping with SQS {named} already exists. ",
    }.get(source, f"The event source {named} provided mapping already exists. ")
    text += f"Please update or delete the existing mapping with UUID {made['UUID']}"
    hold(wire, Row("twice", CREATE, mapping(source), RCE, text), fresh)


def test_filters_are_kept_replaced_and_removed(wire: Wire, names: dict[str, str]) -> None:
    """§11.6, §11.7"""
    for empty in ({}, {"Filters": []}):
        assert "FilterCriteria" not in create(wire, names, "sqs", FilterCriteria=empty)
    criteria = {"Filters": [{"Pattern": '{"body":["x"]}'}]}
    made = create(wire, names, "sqs", FilterCriteria=criteria, ScalingConfig={"MaximumConcurrency": 2})
    path = f"{PATH}/{made['UUID']}"
    assert made["FilterCriteria"] == criteria
    assert wire.ok("PUT", path, {"BatchSize": 5})["FilterCriteria"] == criteria
    for empty in ({}, {"Filters": []}):
        wire.ok("PUT", path, {"FilterCriteria": criteria})
        assert "FilterCriteria" not in wire.ok("PUT", path, {"FilterCriteria": empty})
    assert "ScalingConfig" not in wire.ok("PUT", path, {"ScalingConfig": {}})


def test_lists(wire: Wire, names: dict[str, str]) -> None:
    """§11.7: by the function in any form, by the source exactly; a bare name finds all its qualifiers."""
    name = wire.make("lists")
    wire.publish(name)
    made = create(wire, {**names, "name": name}, "sqs")
    other = create(wire, {**names, "name": f"{name}:1"}, "sqs")
    assert other["FunctionArn"] == wire.arn(name, "1")
    for form, expected in (
        (name, {made["UUID"], other["UUID"]}),
        (wire.arn(name), {made["UUID"], other["UUID"]}),
        (f"{wire.account}:function:{name}:1", {other["UUID"]}),
    ):
        shown = wire.ok("GET", f"{PATH}?FunctionName={encoded(form)}")["EventSourceMappings"]
        assert {one["UUID"] for one in shown} == expected
    shown = wire.ok("GET", f"{PATH}?EventSourceArn={encoded(made['EventSourceArn'])}")["EventSourceMappings"]
    assert [one["UUID"] for one in shown] == [made["UUID"]]


def test_a_mapping_moves_to_another_function(wire: Wire, names: dict[str, str]) -> None:
    """§11.7: the source and the position stay what they were."""
    path = f"{PATH}/{create(wire, names, 'kinesis')['UUID']}"
    other = wire.make("other")
    moved = wire.ok("PUT", path, {"FunctionName": other, "EventSourceArn": "x", "StartingPosition": "TRIM_HORIZON"})
    assert (moved["FunctionArn"], moved["StartingPosition"]) == (wire.arn(other), "LATEST")
    wire.ok("DELETE", f"{FUNCTIONS}/{other}")
    assert wire.ok("GET", path)["FunctionArn"] == wire.arn(other)
