"""§4: functions: creation, updates, reading, listing, deletion."""

from __future__ import annotations

import http.client
import json
from base64 import b64encode
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.parity.spec.spec_world import (
    DENIED,
    FUNCTIONS,
    IPV,
    OTHER_ZIP,
    RCE,
    TOO_LARGE,
    VAL,
    ZIP,
    Row,
    Wire,
    at_least,
    at_most,
    encoded,
    filled,
    hold,
    like,
    no_longer,
    no_shorter,
    one,
    one_of,
    rows,
    well_formed,
)
from tests.support import PYTHON_RUNTIME, unique

CREATE = f"POST {FUNCTIONS}"
CONFIGURE = f"PUT {FUNCTIONS}/{{name}}/configuration"
CODE = f"PUT {FUNCTIONS}/{{name}}/code"
BASE64 = b64encode(ZIP).decode()
RUNTIMES = (
    "nodejs20.x, python3.14, provided.al2023, python3.12, python3.13, nodejs24.x, nodejs22.x, java25, python3.10, "
    "python3.11, java21, ruby3.3, ruby3.4, ruby3.2, python3.8, python3.9, java17, nodejs16.x, dotnet10, dotnet8, java11, "
    "dotnet6, nodejs18.x, provided.al2, java8.al2"
)
ENVIRONMENT = (
    "Lambda was unable to configure your environment variables because the environment variables you have provided"
)
ELEMENT = "Member must satisfy constraint: [{}]"
LAYER_PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:"
    r"[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)"
)
ROLE_PATTERN = r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"


@pytest.fixture(scope="module")
def names(wire: Wire) -> dict[str, str]:
    name = wire.make("functions")
    layer = "/2018-10-31/layers/compat/versions"
    first = wire.ok("POST", layer, {"Content": {"ZipFile": BASE64}, "CompatibleRuntimes": ["nodejs22.x"]})
    wire.ok("POST", layer, {"Content": {"ZipFile": b64encode(OTHER_ZIP).decode()}})
    theirs = wire.foreign.ok("POST", layer, {"Content": {"ZipFile": BASE64}})
    json_name = wire.make("json", LoggingConfig={"LogFormat": "JSON"})
    durable = wire.make("durable", DurableConfig={"ExecutionTimeout": 60})
    return {
        "name": name,
        "json": json_name,
        "durable": durable,
        "arn": wire.arn(name),
        "free": unique("free"),
        "role": wire.role,
        "account": wire.account,
        "layer": first["LayerVersionArn"].removesuffix(":1"),
        "theirs": theirs["LayerVersionArn"],
        "config": f"arn:aws:lambda:us-east-1:{wire.account}:code-signing-config:csc-0123456789abcdefg",
    }


def creation(**members: Any) -> dict[str, Any]:
    base = {"FunctionName": "{free}", "Runtime": PYTHON_RUNTIME, "Handler": "app.handler", "Role": "{role}"}
    return {key: one for key, one in {**base, "Code": {"ZipFile": BASE64}, **members}.items() if one is not None}


def variables(length: int) -> dict[str, Any]:
    """An Environment that measures `length` bytes."""
    return {"Variables": {"AB": "x" * (length - len('{"AB":""}'))}}


MEASURED = json.dumps(variables(4_097)["Variables"], separators=(",", ":"))


@rows(
    # 4.1
    Row("4.1 the name is taken", CREATE, creation(FunctionName="{name}"), RCE, "Function already exist: {name}"),
    Row(
        "4.1 the name is taken, by ARN",
        CREATE,
        creation(FunctionName="{arn}"),
        RCE,
        "Function already exist: {name}",
    ),
    Row(
        "4.1 an unknown code signing configuration",
        CREATE,
        creation(CodeSigningConfigArn="{config}"),
        "CodeSigningConfigNotFoundException",
        "The code signing configuration cannot be found. Check that the provided configuration is not deleted: {config}.",
    ),
    Row(
        "4.1 order: constraints before the environment",
        CREATE,
        creation(Role="r1", Environment=variables(5_000)),
        VAL,
        one("'r1'", "role", like(ROLE_PATTERN)),
    ),
    Row(
        "4.1 order: the environment before layers",
        CREATE,
        creation(Environment={"Variables": {"AWS_REGION": "x"}}, Layers=["{layer}:9"]),
        IPV,
        f"{ENVIRONMENT} contains reserved keys that are currently not supported for modification. Reserved keys used in "
        "this request: AWS_REGION",
    ),
    Row(
        "4.1 order: layers before the runtime",
        CREATE,
        creation(Layers=["{layer}:9"], Runtime="cobol"),
        IPV,
        "Layer version {layer}:9 does not exist.",
    ),
    Row(
        "4.1 order: the runtime before the name",
        CREATE,
        creation(Runtime="go1.x", FunctionName="n" * 65),
        IPV,
        "The runtime parameter of go1.x is no longer supported for creating or updating AWS Lambda functions. We "
        "recommend you use a supported runtime while creating or updating functions.",
    ),
    Row(
        "4.1 order: the package type before the name",
        CREATE,
        creation(Handler=None, FunctionName="n" * 65),
        IPV,
        "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
    ),
    Row(
        "4.1 order: the name before SnapStart",
        CREATE,
        creation(FunctionName="n" * 65, Runtime="python3.11", SnapStart={"ApplyOn": "PublishedVersions"}),
        IPV,
        one(f"'{'n' * 65}'", "functionName", no_longer(64)),
    ),
    Row(
        "4.1 order: SnapStart before the conflict",
        CREATE,
        creation(FunctionName="{name}", Runtime="python3.11", SnapStart={"ApplyOn": "PublishedVersions"}),
        IPV,
        "python3.11 is not supported for SnapStart enabled functions.",
    ),
    Row(
        "4.1 order: the conflict before the code",
        CREATE,
        creation(FunctionName="{name}", Code={"ZipFile": "bm8gemlw"}),
        RCE,
        "Function already exist: {name}",
    ),
    # 4.2
    Row(
        "4.2 no runtime",
        CREATE,
        creation(Runtime=None),
        IPV,
        "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
    ),
    *(
        Row(
            f"4.2 an image with {', '.join(members)}",
            CREATE,
            creation(PackageType="Image", Code={"ImageUri": "x"}, **{"Runtime": None, "Handler": None, **members}),
            IPV,
            "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image.",
        )
        for members in ({"Runtime": "python3.11"}, {"Handler": "a.b"}, {"Layers": ["{layer}:1"]})
    ),
    Row("4.2 no source", CREATE, creation(Code={}), IPV, "Please provide a source for function code."),
    Row("4.2 no source in an update", CODE, {}, IPV, "Please provide a source for function code."),
    Row("4.2 no Code", CREATE, creation(Code=None), VAL, one("null", "code", "Member must not be null")),
    # 4.3
    Row(
        "4.3 unknown",
        CREATE,
        creation(Runtime="cobol"),
        IPV,
        f"Value cobol at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{RUNTIMES}…",
    ),
    Row(
        "4.3 in another case, in an update",
        CONFIGURE,
        {"Runtime": "Python3.13"},
        IPV,
        f"Value Python3.13 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{RUNTIMES}…",
    ),
    *(
        Row(
            f"4.3 {runtime} of long ago",
            CREATE,
            creation(Runtime=runtime),
            IPV,
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. We "
            "recommend you use a supported runtime while creating or updating functions.",
        )
        for runtime in ("java8", "go1.x", "provided", "dotnetcore3.1", "nodejs12.x", "nodejs14.x", "python2.7")
    ),
    # 4.4
    Row(
        "4.4 zip over 50 MiB",
        CODE,
        {"ZipFile": b64encode(bytes(52_428_801)).decode()},
        TOO_LARGE,
        "Zipped size must be smaller than 52428800 bytes",
    ),
    Row(
        "4.4 zip and request too large",
        CREATE,
        creation(Code={"ZipFile": b64encode(bytes(52_700_000)).decode()}),
        TOO_LARGE,
        "Zipped size must be smaller than 52428800 bytes",
    ),
    Row(
        "4.4 no zip",
        CREATE,
        creation(Code={"ZipFile": "bm8gemlw"}),
        IPV,
        "Could not unzip uploaded file. Please check your file, then try to upload again.",
    ),
    Row("4.4 empty zip", CREATE, creation(Code={"ZipFile": ""}), IPV, "Uploaded file must be a non-empty zip"),
    # 4.5
    Row(
        "4.5 one byte over 4 KB",
        CREATE,
        creation(Environment=variables(4_097)),
        IPV,
        f"{ENVIRONMENT} exceeded the 4KB limit. String measured: {MEASURED}",
    ),
    Row(
        "4.5 measured in UTF-8 and in the order of the request",
        CREATE,
        creation(Environment={"Variables": {"ZZ": "é" * 2_040, "AA": "x"}}),
        IPV,
        f'{ENVIRONMENT} exceeded the 4KB limit. String measured: {{"ZZ":"{"é" * 2_040}","AA":"x"}}',
    ),
    Row(
        "4.5 reserved keys, in an update",
        CONFIGURE,
        {"Environment": {"Variables": {"LAMBDA_TASK_ROOT": "x", "AWS_SECRET_ACCESS_KEY": "y"}}},
        IPV,
        f"{ENVIRONMENT} contains reserved keys that are currently not supported for modification. Reserved keys used in "
        "this request: LAMBDA_TASK_ROOT, AWS_SECRET_ACCESS_KEY",
    ),
    Row(
        "4.5 a key of one character",
        CREATE,
        creation(Environment={"Variables": {"A": "b"}}),
        VAL,
        one(
            "'{A=b}'",
            "environment.variables",
            f"Map keys must satisfy constraint: [{like('[a-zA-Z]([a-zA-Z0-9_])+')}]",
        ),
    ),
    # 4.6
    Row("4.6 Role", CREATE, creation(Role="r1"), VAL, one("'r1'", "role", like(ROLE_PATTERN))),
    Row(
        "4.6 MemorySize above",
        CREATE,
        creation(MemorySize=10_241),
        IPV,
        "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 10240",
    ),
    Row("4.6 MemorySize below", CREATE, creation(MemorySize=127), VAL, one("'127'", "memorySize", at_least(128))),
    Row(
        "4.6 Timeout above",
        CONFIGURE,
        {"Timeout": 901},
        IPV,
        "'Timeout' value failed to satisfy constraint: Member must have value less than or equal to 900",
    ),
    Row("4.6 Timeout below", CONFIGURE, {"Timeout": 0}, VAL, one("'0'", "timeout", at_least(1))),
    Row(
        "4.6 EphemeralStorage above",
        CREATE,
        creation(EphemeralStorage={"Size": 10_241}),
        VAL,
        one("'10241'", "ephemeralStorage.size", at_most(10_240)),
    ),
    Row(
        "4.6 EphemeralStorage below",
        CREATE,
        creation(EphemeralStorage={"Size": 511}),
        VAL,
        one("'511'", "ephemeralStorage.size", at_least(512)),
    ),
    Row(
        "4.6 SnapStart.ApplyOn",
        CREATE,
        creation(SnapStart={"ApplyOn": "Always"}),
        VAL,
        one("'Always'", "snapStart.applyOn", one_of("PublishedVersions", "None")),
    ),
    Row(
        "4.6 SnapStart of an older runtime, in an update",
        CONFIGURE,
        {"Runtime": "nodejs22.x", "SnapStart": {"ApplyOn": "PublishedVersions"}},
        IPV,
        "nodejs22.x is not supported for SnapStart enabled functions.",
    ),
    Row(
        "4.6 VpcConfig.SecurityGroupIds",
        CREATE,
        creation(VpcConfig={"SubnetIds": [], "SecurityGroupIds": ["x"]}),
        VAL,
        one(
            "'[x]'",
            "vpcConfig.securityGroupIds",
            ELEMENT.format(f"{no_longer(1024)}, {no_shorter(0)}, {like('sg-[0-9a-zA-Z]*')}"),
        ),
    ),
    Row(
        "4.6 VpcConfig, one list empty",
        CREATE,
        creation(VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": []}),
        IPV,
        "SubnetIds and SecurityIds must coexist or be both empty list.",
    ),
    Row(
        "4.6 LoggingConfig levels with Text",
        CREATE,
        creation(LoggingConfig={"LogFormat": "Text", "SystemLogLevel": "DEBUG"}),
        IPV,
        'LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change the '
        'LogFormat to "JSON" and try again.',
    ),
    Row(
        "4.6 DurableConfig without ExecutionTimeout",
        CREATE,
        creation(DurableConfig={"RetentionPeriodInDays": 3}),
        IPV,
        "You cannot create a function with a durable configuration without an executionTimeout",
    ),
    # 4.8, 4.9, 4.10
    Row(
        "4.8 FunctionVersion",
        f"GET {FUNCTIONS}?FunctionVersion=1",
        None,
        VAL,
        one("'1'", "functionVersion", one_of("ALL")),
    ),
    Row("4.9 PublishTo", CODE, {"PublishTo": "1"}, VAL, one("'1'", "publishTo", one_of("LATEST_PUBLISHED"))),
    Row(
        "4.10 CapacityProviderConfig of a default function",
        CONFIGURE,
        {
            "CapacityProviderConfig": {
                "LambdaManagedInstancesCapacityProviderConfig": {
                    "CapacityProviderArn": "arn:aws:lambda:us-east-1:{account}:capacity-provider:cp"
                }
            }
        },
        IPV,
        "CapacityProviderConfig isn't supported for Lambda Default functions.",
    ),
    # 8.7
    Row(
        "8.7 an ARN without version",
        CREATE,
        creation(Layers=["{layer}"]),
        VAL,
        one(
            "'[{layer}]'",
            "layers",
            ELEMENT.format(f"{no_longer(2048)}, {no_shorter(1)}, {like(LAYER_PATTERN)}, Member must not be null"),
        ),
    ),
    Row(
        "8.7 another region",
        CREATE,
        creation(Layers=["arn:aws:lambda:eu-west-1:{account}:layer:compat:1"]),
        IPV,
        "Layers are not in the same region as the function. Layers are expected to be in region us-east-1.",
    ),
    Row(
        "8.7 a version that is missing, in an update",
        CONFIGURE,
        {"Layers": ["{layer}:1", "{layer}x:1"]},
        IPV,
        "Layer version {layer}x:1 does not exist.",
    ),
    Row(
        "8.7 two versions of one layer",
        CREATE,
        creation(Layers=["{layer}:1", "{layer}:2"]),
        IPV,
        "Two different versions of the same layer are not allowed to be referenced in the same function. {layer}:1 and "
        "{layer}:2 are versions of the same layer.",
    ),
    Row(
        "8.7 one version twice",
        CREATE,
        creation(Layers=["{layer}:1", "{layer}:1"]),
        IPV,
        "Two different versions of the same layer are not allowed to be referenced in the same function. {layer}:1 and "
        "{layer}:1 are versions of the same layer.",
    ),
    Row(
        "8.7 another account's, not shared",
        CREATE,
        creation(Layers=["{theirs}"]),
        DENIED,
        "User: arn:aws:iam::{account}:root is not authorized to perform: lambda:GetLayerVersion on resource: {theirs} "
        "because no resource-based policy allows the lambda:GetLayerVersion action",
    ),
    Row("8.7 more than five", CREATE, creation(Layers=[f"{{layer}}{n}:1" for n in range(6)]), IPV, "Cannot reference…"),
)
def test_refusals(wire: Wire, names: dict[str, str], row: Row) -> None:
    hold(wire, row, names)


def test_a_runtime_nobody_knows_ends_with_what_it_could_be(wire: Wire) -> None:
    """§4.3: the end of the message."""
    reply = wire("POST", FUNCTIONS, wire.creation("f", Runtime="cobol"))
    assert reply.document["message"].endswith("] or be a valid ARN")


@pytest.mark.parametrize(
    ("given", "then", "member", "expected"),
    [
        pytest.param(
            {"Environment": {"Variables": {"AB": "c", "DE": "f"}}},
            {"Environment": {"Variables": {"AB": "g"}}},
            "Environment",
            {"Variables": {"AB": "g"}},
            id="4.10 Environment is replaced",
        ),
        pytest.param(
            {"Environment": {"Variables": {"AB": "c"}}},
            {},
            "Environment",
            {"Variables": {"AB": "c"}},
            id="4.10 Environment is kept",
        ),
        pytest.param({"Layers": ["{layer}:1"]}, {"Layers": []}, "Layers", None, id="4.10 Layers are removed"),
        pytest.param(
            {"Layers": ["{layer}:1"]},
            {},
            "Layers",
            [{"Arn": "{layer}:1", "CodeSize": len(ZIP)}],
            id="4.10 Layers are kept, with the size of their archive",
        ),
        pytest.param(
            {"DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:{account}:q"}},
            {"DeadLetterConfig": {}},
            "DeadLetterConfig",
            {"TargetArn": "arn:aws:sqs:us-east-1:{account}:q"},
            id="4.10 DeadLetterConfig is kept by an empty object",
        ),
        pytest.param(
            {"DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:{account}:q"}},
            {"DeadLetterConfig": {"TargetArn": ""}},
            "DeadLetterConfig",
            None,
            id="4.10 DeadLetterConfig is cleared by an empty string",
        ),
        pytest.param(
            {"TracingConfig": {"Mode": "Active"}},
            {"TracingConfig": {}},
            "TracingConfig",
            {"Mode": "Active"},
            id="4.10 TracingConfig without Mode",
        ),
        pytest.param(
            {"KMSKeyArn": "arn:aws:kms:us-east-1:{account}:key/k"},
            {"KMSKeyArn": ""},
            "KMSKeyArn",
            None,
            id="4.10 KMSKeyArn is cleared",
        ),
        pytest.param({"Description": "d"}, {"Description": ""}, "Description", "", id="4.10 Description may be empty"),
        pytest.param(
            {"EphemeralStorage": {"Size": 600}},
            {"EphemeralStorage": {"Size": 700}},
            "EphemeralStorage",
            {"Size": 700},
            id="4.10 EphemeralStorage is replaced",
        ),
        pytest.param(
            {"LoggingConfig": {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG", "LogGroup": "/g"}},
            {"LoggingConfig": {"SystemLogLevel": "WARN"}},
            "LoggingConfig",
            {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG", "SystemLogLevel": "WARN", "LogGroup": "/g"},
            id="4.10 LoggingConfig is merged by member",
        ),
        pytest.param(
            {"LoggingConfig": {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG", "LogGroup": "/g"}},
            {"LoggingConfig": {"LogFormat": "Text"}},
            "LoggingConfig",
            {"LogFormat": "Text", "LogGroup": "/g"},
            id="4.10 Text drops the levels and keeps the group",
        ),
        pytest.param(
            {"LoggingConfig": {"LogGroup": "/g"}},
            {"LoggingConfig": {"LogFormat": "JSON"}},
            "LoggingConfig",
            {"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO", "LogGroup": "/g"},
            id="4.10 JSON sets both levels",
        ),
        pytest.param(
            {},
            {"Runtime": "python3.13", "SnapStart": {"ApplyOn": "PublishedVersions"}},
            "SnapStart",
            {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"},
            id="4.10 SnapStart on $LATEST",
        ),
        pytest.param(
            {"DurableConfig": {"ExecutionTimeout": 60}},
            {"DurableConfig": {"RetentionPeriodInDays": 7}},
            "DurableConfig",
            {"ExecutionTimeout": 60, "RetentionPeriodInDays": 7},
            id="4.10 RetentionPeriodInDays alone",
        ),
    ],
)
def test_merging(
    wire: Wire, names: dict[str, str], given: dict[str, Any], then: dict[str, Any], member: str, expected: Any
) -> None:
    name = wire.make("merge", **filled(given, names))
    wire.ok("PUT", f"{FUNCTIONS}/{name}/configuration", filled(then, names))
    assert wire.settled(name).get(member) == filled(expected, names)


def test_a_switch_to_json_takes_levels_of_the_same_request(wire: Wire) -> None:
    """§4.10"""
    name = wire.make("levels")
    wanted = {"LogFormat": "JSON", "ApplicationLogLevel": "ERROR"}
    shown = wire.ok("PUT", f"{FUNCTIONS}/{name}/configuration", {"LoggingConfig": wanted})["LoggingConfig"]
    assert (shown["ApplicationLogLevel"], shown["SystemLogLevel"]) == ("ERROR", "INFO")


def test_exactly_4_kb_of_environment(wire: Wire) -> None:
    """§4.5: inclusive."""
    wire.make("four-kb", Environment=variables(4_096))


def test_get_function(wire: Wire) -> None:
    """§4.7: ARN by qualifier, the alias's target, Tags and Concurrency only when there are some."""
    name = wire.make("get")
    wire.publish(name)
    wire.alias(name, "live")
    plain = wire.ok("GET", f"{FUNCTIONS}/{name}")
    assert set(plain) == {"Configuration", "Code"}
    assert plain["Code"]["RepositoryType"] == "S3"
    assert set(plain["Code"]) == {"RepositoryType", "Location"}
    tags = {"a": "b"}
    wire.ok("POST", f"/2017-03-31/tags/{encoded(wire.arn(name))}", {"Tags": tags})
    wire.ok("PUT", f"/2017-10-31/functions/{name}/concurrency", {"ReservedConcurrentExecutions": 0})
    whole = wire.ok("GET", f"{FUNCTIONS}/{name}")
    assert (whole["Tags"], whole["Concurrency"]) == (tags, {"ReservedConcurrentExecutions": 0})
    version = wire.ok("GET", f"{FUNCTIONS}/{name}?Qualifier=1")
    assert "Concurrency" not in version
    alias = wire.ok("GET", f"{FUNCTIONS}/{name}?Qualifier=live")["Configuration"]
    assert alias == {**version["Configuration"], "FunctionArn": wire.arn(name, "live")}
    latest = wire.ok("GET", f"{FUNCTIONS}/{name}?Qualifier=$LATEST")["Configuration"]
    assert latest["FunctionArn"] == wire.arn(name, "$LATEST")


def fetch(location: str) -> tuple[int, bytes]:
    """The object behind an address, asked for without credentials."""
    parts = urlsplit(location)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_the_location_of_code(wire: Wire) -> None:
    """§4.7: the exact bytes, for who has the address; for ten minutes (`test_an_address_ends_after_ten_minutes`)."""
    name = wire.make("location")
    location = wire.ok("GET", f"{FUNCTIONS}/{name}")["Code"]["Location"]
    assert fetch(location) == (200, ZIP)
    assert fetch(location[:-1] + ("0" if location[-1] != "0" else "1"))[0] == 403
    other = wire.ok("GET", f"{FUNCTIONS}/{wire.make('other')}")["Code"]["Location"]
    assert urlsplit(location).path == urlsplit(other).path, "one package, stored once"


def test_code_with_publish_answers_the_new_version(wire: Wire) -> None:
    """§4.9"""
    name = wire.make("published")
    body = {"ZipFile": b64encode(OTHER_ZIP).decode(), "Publish": True}
    shown = wire.ok("PUT", f"{FUNCTIONS}/{name}/code", body, 200)
    assert (shown["Version"], shown["FunctionArn"]) == ("1", wire.arn(name, "1"))
    created = wire.ok("POST", FUNCTIONS, wire.creation(unique("one"), Publish=True), 201)
    assert created["Version"] == "1"
    assert not created["FunctionArn"].endswith(":1")


def test_a_dry_run_changes_nothing(wire: Wire) -> None:
    """§4.9"""
    name = wire.make("dry")
    before = wire.settled(name)
    body = {"ZipFile": b64encode(OTHER_ZIP).decode(), "DryRun": True, "Architectures": ["x86_64"]}
    would = wire.ok("PUT", f"{FUNCTIONS}/{name}/code", body, 200)
    assert would["CodeSha256"] != before["CodeSha256"]
    assert wire.get(name) == before


def test_deletion_takes_everything_but_mappings(wire: Wire) -> None:
    """§4.11: all of the function goes, its event source mappings stay and still name it; the name is free at once."""
    name = wire.make("deleted", Tags={"a": "b"})
    wire.publish(name)
    wire.alias(name, "live")
    queue = f"arn:aws:sqs:us-east-1:{wire.account}:{name}"
    mapping = wire.ok("POST", "/2015-03-31/event-source-mappings", {"FunctionName": name, "EventSourceArn": queue})
    wire.ok("PUT", f"/2017-10-31/functions/{name}/concurrency", {"ReservedConcurrentExecutions": 7})
    reply = wire("DELETE", f"{FUNCTIONS}/{name}")
    assert (reply.status, reply.body) == (204, b"")
    well_formed(reply)
    kept = wire.ok("GET", f"/2015-03-31/event-source-mappings/{mapping['UUID']}")
    assert (kept["State"], kept["FunctionArn"]) == ("Enabled", wire.arn(name))
    wire.ok("POST", FUNCTIONS, wire.creation(name), 201)
    assert wire.ok("GET", f"/2019-09-30/functions/{name}/concurrency") == {}
    assert wire.ok("GET", f"{FUNCTIONS}/{name}/aliases") == {"Aliases": []}
    assert wire.ok("GET", f"/2017-03-31/tags/{encoded(wire.arn(name))}") == {"Tags": {}}
    assert wire.publish(name) == "1"


def test_deletion_of_a_version_with_aliases(wire: Wire) -> None:
    """§4.11: primary or additional, by name, comma and space between."""
    name = wire.make("aliased")
    wire.publish(name)
    wire.publish(name, OTHER_ZIP)
    wire.alias(name, "live")
    wire.alias(name, "both", "2", RoutingConfig={"AdditionalVersionWeights": {"1": 0.5}})
    row = Row(
        "4.11",
        f"DELETE {FUNCTIONS}/{{name}}?Qualifier=1",
        None,
        RCE,
        "Unable to delete version because the following aliases reference it: [both, live]",
    )
    hold(wire, row, {"name": name})


def test_what_a_list_shows(wire: Wire) -> None:
    """§4.8: all that Get shows, but the states and the runtime's version."""
    name = wire.make("shown", Environment={"Variables": {"AB": "c"}}, Description="d", Tags={"a": "b"})
    whole = wire.settled(name)
    hidden = {"State", "LastUpdateStatus", "RuntimeVersionConfig"}
    assert hidden <= whole.keys()
    (shown,) = (one for one in wire.ok("GET", FUNCTIONS)["Functions"] if one["FunctionName"] == name)
    assert shown == {key: value for key, value in whole.items() if key not in hidden}


def test_listing_of_other_regions(wire: Wire) -> None:
    """§4.8: MasterRegion goes with ALL; a service without edge replicas has nothing of elsewhere."""
    assert wire.ok("GET", f"{FUNCTIONS}?MasterRegion=eu-west-1&FunctionVersion=ALL") == {"Functions": []}
    assert wire.ok("GET", f"{FUNCTIONS}?MasterRegion=us-east-1&FunctionVersion=ALL")["Functions"]
    assert wire.ok("GET", f"{FUNCTIONS}?MasterRegion=ALL&FunctionVersion=ALL")["Functions"]
    assert wire("GET", f"{FUNCTIONS}?MasterRegion=ALL").status == 400


def test_a_repeated_creation_is_recognised(wire: Wire) -> None:
    """§23: by its amz-sdk-invocation-id; another one is a conflict."""
    name = unique("repeated")
    body = wire.creation(name)
    first = wire("POST", FUNCTIONS, body, headers={"amz-sdk-invocation-id": "one"})
    again = wire("POST", FUNCTIONS, body, headers={"amz-sdk-invocation-id": "one"})
    other = wire("POST", FUNCTIONS, body, headers={"amz-sdk-invocation-id": "two"})
    assert (first.status, again.status, other.status) == (201, 201, 409)
    assert again.document == first.document
