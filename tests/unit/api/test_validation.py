"""The validation grammar, word for word as recorded from the service."""

from __future__ import annotations

from typing import Any

import pytest

from lambent.api.printed import (
    CREATABLE_RUNTIMES,
    LISTABLE_RUNTIMES,
    blocked_runtime,
    long_function_name,
    missing_starting_position,
    unknown_runtime,
)
from lambent.api.table import load_table
from lambent.api.validation import PATTERN_CHARS_MAX, java_double, validate
from lambent.domain.errors import ValidationFailed

TABLE = load_table()
ROLE = "arn:aws:iam::123456789012:role/r"
CREATE: dict[str, Any] = {"FunctionName": "f", "Role": ROLE, "Code": {"ZipFile": b"x"}, "Handler": "a.b"}
ONE = "1 validation error detected: "


def refusal(operation: str, values: dict[str, Any]) -> str:
    with pytest.raises(ValidationFailed) as refused:
        validate(TABLE.operations[operation], values)
    assert refused.value.message is not None
    return refused.value.message


def pattern(shape: str) -> str:
    text = TABLE.shape(shape).pattern
    assert text is not None
    return text


RECORDED: list[tuple[str, dict[str, Any], str]] = [
    (
        "CreateFunction",
        CREATE | {"Architectures": ["x86_64", "arm64"]},
        "Value '[x86_64, arm64]' at 'architectures' failed to satisfy constraint: Member must have length less than or "
        "equal to 1",
    ),
    (
        "CreateFunction",
        CREATE | {"Architectures": ["X86_64"]},
        "Value '[X86_64]' at 'architectures' failed to satisfy constraint: Member must satisfy constraint: [Member must "
        "satisfy enum value set: [x86_64, arm64], Member must not be null]",
    ),
    (
        "CreateAlias",
        {"FunctionName": "f", "Name": "a", "FunctionVersion": "1"}
        | {"RoutingConfig": {"AdditionalVersionWeights": {"2": 2.0}}},
        "Value '{2=2.0}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map value must satisfy "
        "constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or equal to "
        "0.0, Member must not be null]",
    ),
    (
        "CreateAlias",
        {"FunctionName": "f", "Name": "a", "FunctionVersion": "1"}
        | {"RoutingConfig": {"AdditionalVersionWeights": {"$LATEST": 0.5}}},
        "Value '{$LATEST=0.5}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map keys must "
        "satisfy constraint: [Member must have length less than or equal to 1024, Member must have length greater than or "
        "equal to 1, Member must satisfy regular expression pattern: [0-9]+]",
    ),
    (
        "CreateFunction",
        CREATE | {"Role": "r1"},
        "Value 'r1' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: "
        r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+",
    ),
    (
        "CreateFunction",
        CREATE | {"VpcConfig": {"SubnetIds": ["bad"], "SecurityGroupIds": []}},
        "Value '[bad]' at 'vpcConfig.subnetIds' failed to satisfy constraint: Member must satisfy constraint: [Member must "
        "have length less than or equal to 1024, Member must have length greater than or equal to 0, Member must satisfy "
        "regular expression pattern: subnet-[0-9a-z]*]",
    ),
    (
        "CreateFunction",
        CREATE | {"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": ["bad"]}},
        "Value '[bad]' at 'vpcConfig.securityGroupIds' failed to satisfy constraint: Member must satisfy constraint: "
        "[Member must have length less than or equal to 1024, Member must have length greater than or equal to 0, Member "
        "must satisfy regular expression pattern: sg-[0-9a-zA-Z]*]",
    ),
    (
        "CreateFunction",
        CREATE | {"SnapStart": {"ApplyOn": "Always"}},
        "Value 'Always' at 'snapStart.applyOn' failed to satisfy constraint: Member must satisfy enum value set: "
        "[PublishedVersions, None]",
    ),
    (
        "CreateFunction",
        CREATE | {"EphemeralStorage": {"Size": 511}},
        "Value '511' at 'ephemeralStorage.size' failed to satisfy constraint: Member must have value greater than or "
        "equal to 512",
    ),
    (
        "CreateFunction",
        CREATE | {"Environment": {"Variables": {"a": "b"}}},
        "Value '{a=b}' at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: [Member "
        "must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]",
    ),
    (
        "CreateFunction",
        CREATE | {"Layers": ["arn:aws:lambda:us-east-1:123456789012:layer:l"]},
        "Value '[arn:aws:lambda:us-east-1:123456789012:layer:l]' at 'layers' failed to satisfy constraint: Member must "
        "satisfy constraint: [Member must have length less than or equal to 2048, Member must have length greater than or "
        "equal to 1, Member must satisfy regular expression pattern: "
        r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:"
        r"[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+), Member must not be null]",
    ),
    (
        "GetLayerVersionByArn",
        {"Arn": "arn:aws:lambda:us-east-1:123456789012:layer:l"},
        "Value 'arn:aws:lambda:us-east-1:123456789012:layer:l' at 'arn' failed to satisfy constraint: Member must satisfy "
        "regular expression pattern: "
        r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:"
        r"[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)",
    ),
    (
        "UntagResource",
        {"Resource": "arn:aws:lambda:us-east-1:123456789012:function:f"},
        "Value null at 'tagKeys' failed to satisfy constraint: Member must not be null",
    ),
    (
        "PutFunctionRecursionConfig",
        {"FunctionName": "f", "RecursiveLoop": "Never"},
        "Value 'Never' at 'recursiveLoop' failed to satisfy constraint: Member must satisfy enum value set: [Terminate, "
        "Allow]",
    ),
    (
        "PutProvisionedConcurrencyConfig",
        {"FunctionName": "f", "Qualifier": "1", "ProvisionedConcurrentExecutions": 0},
        "Value '0' at 'provisionedConcurrentExecutions' failed to satisfy constraint: Member must have value greater than "
        "or equal to 1",
    ),
    (
        "PutFunctionConcurrency",
        {"FunctionName": "f", "ReservedConcurrentExecutions": -1},
        "Value '-1' at 'reservedConcurrentExecutions' failed to satisfy constraint: Member must have value greater than or "
        "equal to 0",
    ),
    (
        "CreateEventSourceMapping",
        {"FunctionName": "f", "StartingPosition": "FIRST"},
        "Value 'FIRST' at 'startingPosition' failed to satisfy constraint: Member must satisfy enum value set: [LATEST, "
        "AT_TIMESTAMP, TRIM_HORIZON]",
    ),
    (
        "CreateFunctionUrlConfig",
        {"FunctionName": "f", "AuthType": "NONE", "InvokeMode": "STREAM"},
        "Value 'STREAM' at 'invokeMode' failed to satisfy constraint: Member must satisfy enum value set: "
        "[RESPONSE_STREAM, BUFFERED]",
    ),
    (
        "CreateFunctionUrlConfig",
        {"FunctionName": "f", "AuthType": "NONE", "Qualifier": "1"},
        "Value '1' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: "
        r"((?!^\d+$)^[0-9a-zA-Z-_]+$)",
    ),
    (
        "ListFunctions",
        {"FunctionVersion": "SOME"},
        "Value 'SOME' at 'functionVersion' failed to satisfy constraint: Member must satisfy enum value set: [ALL]",
    ),
    (
        "PublishVersion",
        {"FunctionName": "f", "PublishTo": "X"},
        "Value 'X' at 'publishTo' failed to satisfy constraint: Member must satisfy enum value set: [LATEST_PUBLISHED]",
    ),
    (
        "ListFunctions",
        {"MaxItems": 0},
        "Value '0' at 'maxItems' failed to satisfy constraint: Member must have value greater than or equal to 1",
    ),
    (
        "ListLayers",
        {"CompatibleRuntime": "cobol"},
        "Value 'cobol' at 'compatibleRuntime' failed to satisfy constraint: Member must satisfy enum value set: "
        f"[{', '.join(LISTABLE_RUNTIMES)}]",
    ),
    (
        "ListLayers",
        {"CompatibleArchitecture": "z80"},
        "Value 'z80' at 'compatibleArchitecture' failed to satisfy constraint: Member must satisfy enum value set: "
        "[x86_64, arm64]",
    ),
    (
        "AddPermission",
        {"FunctionName": "f", "StatementId": "a b", "Action": "lambda:InvokeFunction", "Principal": "*"},
        "Value 'a b' at 'statementId' failed to satisfy constraint: Member must satisfy regular expression pattern: "
        "([a-zA-Z0-9-_]+)",
    ),
    (
        "AddLayerVersionPermission",
        {"LayerName": "l", "VersionNumber": 1, "StatementId": "s", "Action": "lambda:X", "Principal": "*"},
        "Value 'lambda:X' at 'action' failed to satisfy constraint: Member must satisfy regular expression pattern: "
        "lambda:GetLayerVersion",
    ),
    (
        "PutFunctionEventInvokeConfig",
        {"FunctionName": "f", "DestinationConfig": {"OnFailure": {"Destination": "nowhere"}}},
        "Value 'nowhere' at 'destinationConfig.onFailure.destination' failed to satisfy constraint: Member must satisfy "
        f"regular expression pattern: {pattern('DestinationArn')}",
    ),
    (
        "CreateFunction",
        CREATE | {"CapacityProviderConfig": {}},
        "Value null at 'capacityProviderConfig.lambdaManagedInstancesCapacityProviderConfig' failed to satisfy "
        "constraint: Member must not be null",
    ),
    (
        "CreateFunction",
        CREATE | {"CapacityProviderConfig": {"LambdaManagedInstancesCapacityProviderConfig": {}}},
        "Value null at 'capacityProviderConfig.lambdaManagedInstancesCapacityProviderConfig.capacityProviderArn' failed to "
        "satisfy constraint: Member must not be null",
    ),
    (
        "CreateFunction",
        CREATE | {"FunctionName": "function:" + "a" * 140},
        f"Value 'function:{'a' * 140}' at 'functionName' failed to satisfy constraint: Member must have length less than "
        "or equal to 140",
    ),
    (
        "GetFunction",
        {"FunctionName": "f", "Qualifier": "a" * 129},
        f"Value '{'a' * 129}' at 'qualifier' failed to satisfy constraint: Member must have length less than or equal to "
        "128",
    ),
    (
        "GetFunction",
        {"FunctionName": "arn:aws:lambda:invalid-region:123456789012:function:f"},
        "Value 'arn:aws:lambda:invalid-region:123456789012:function:f' at 'functionName' failed to satisfy constraint: "
        f"Member must satisfy regular expression pattern: {pattern('NamespacedFunctionName')}",
    ),
    (
        "ListTags",
        {"Resource": "arn:aws:lambda:us-east-1:123456789012:layer:l"},
        "Value 'arn:aws:lambda:us-east-1:123456789012:layer:l' at 'resource' failed to satisfy constraint: Member must "
        f"satisfy regular expression pattern: {pattern('TaggableResource')}",
    ),
    (
        "Invoke",
        {"FunctionName": "f", "InvocationType": "Later"},
        "Value 'Later' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: [Event, "
        "RequestResponse, DryRun]",
    ),
]


@pytest.mark.parametrize(("operation", "values", "error"), RECORDED, ids=lambda v: v if isinstance(v, str) else "")
def test_recorded_errors_are_worded_exactly(operation: str, values: dict[str, Any], error: str) -> None:
    assert refusal(operation, values) == ONE + error


def test_all_violations_are_in_one_message_with_compatible_runtimes_first() -> None:
    values = {
        "LayerName": "l",
        "Content": {"ZipFile": b"x"},
        "CompatibleRuntimes": ["invalidruntime", "invalidruntime2", "nodejs20.x"],
        "CompatibleArchitectures": ["invalidarch", "x86_64"],
    }
    assert refusal("PublishLayerVersion", values) == (
        "2 validation errors detected: Value '[invalidruntime, invalidruntime2, nodejs20.x]' at 'compatibleRuntimes' "
        f"failed to satisfy constraint: Member must satisfy enum value set: [{', '.join(CREATABLE_RUNTIMES)}]; Value "
        "'[invalidarch, x86_64]' at 'compatibleArchitectures' failed to satisfy constraint: Member must satisfy "
        "constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"
    )


@pytest.mark.parametrize("operation", ["GetFunction", "DeleteFunction", "Invoke"])
def test_the_qualifier_speaks_before_the_name_and_length_before_pattern(operation: str) -> None:
    message = refusal(operation, {"FunctionName": "!" * 257, "Qualifier": "!" * 129})
    parts = [part.split("constraint: Member must ")[1][:8] for part in message.split("; Value ")]
    places = [part.split("' at '")[1].split("'")[0] for part in message.split("; Value ")]
    assert message.startswith("4 validation errors detected: ")
    assert places == ["qualifier", "qualifier", "functionName", "functionName"]
    assert parts == ["have len", "satisfy ", "have len", "satisfy "]


def test_a_structure_in_a_list_and_nulls_in_containers_are_found() -> None:
    long = "x" * 4097
    message = refusal(
        "CreateEventSourceMapping", {"FunctionName": "f", "FilterCriteria": {"Filters": [{}, {"Pattern": long}]}}
    )
    assert message.startswith(f"{ONE}Value '{long}' at 'filterCriteria.filters.2.member.pattern' failed")
    assert "'[null]' at 'layers'" in refusal("CreateFunction", CREATE | {"Layers": [None]})
    nulled = refusal("CreateFunction", CREATE | {"Environment": {"Variables": {"AB": None}}})
    assert nulled.endswith("Map value must satisfy constraint: [Member must not be null]")
    validate(TABLE.operations["CreateFunction"], CREATE | {"VpcConfig": {"SubnetIds": [None], "SecurityGroupIds": []}})


def test_structures_and_blobs_print_in_the_service_own_style() -> None:
    systems = [{"Arn": "a", "LocalMountPath": "/mnt/x"}, {"Arn": "b"}]
    message = refusal("CreateFunction", CREATE | {"FileSystemConfigs": systems})
    assert "Value '[FileSystemConfig(arn=a, localMountPath=/mnt/x" in message
    callback = {"CallbackId": "YQ==", "Result": b"x" * 1_048_577}
    assert "java.nio.HeapByteBuffer[pos=0 lim=1048577 cap=1048577]" in refusal(
        "SendDurableExecutionCallbackSuccess", callback
    )


def test_the_service_logic_checks_the_runtime_of_a_function_itself() -> None:
    validate(TABLE.operations["CreateFunction"], CREATE | {"Runtime": "cobol"})
    validate(TABLE.operations["UpdateFunctionConfiguration"], {"FunctionName": "f", "Runtime": "cobol"})
    validate(TABLE.operations["PublishLayerVersion"], layer(["java8", "go1.x", "custom"]))
    validate(TABLE.operations["ListLayers"], {"CompatibleRuntime": "nasa"})


def layer(runtimes: list[str]) -> dict[str, Any]:
    return {"LayerName": "l", "Content": {}, "CompatibleRuntimes": runtimes}


def test_the_three_exceptions_have_their_own_words() -> None:
    assert unknown_runtime("x").message == (
        "Value x at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
        f"[{', '.join(CREATABLE_RUNTIMES)}] or be a valid ARN"
    )
    assert CREATABLE_RUNTIMES[:3] == ("nodejs20.x", "python3.14", "provided.al2023")
    assert set(CREATABLE_RUNTIMES) <= set(TABLE.shape("Runtime").enum)
    assert long_function_name("n").message == (
        ONE
        + "Value 'n' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64"
    )
    assert missing_starting_position().message == (
        ONE + "Value null at 'startingPosition' failed to satisfy constraint: Member must not be null."
    )
    assert "parameter of go1.x is no longer supported" in (blocked_runtime("go1.x").message or "")


def test_an_enormous_value_is_refused_for_its_length_alone() -> None:
    message = refusal("CreateFunction", CREATE | {"Role": "!" * (PATTERN_CHARS_MAX + 1)})
    assert message.startswith("1 validation error")
    assert refusal("CreateFunction", CREATE | {"Role": "!" * PATTERN_CHARS_MAX}).startswith("2 validation errors")


@pytest.mark.parametrize(
    ("value", "text"),
    [(2, "2.0"), (0.5, "0.5"), (0, "0.0"), (1e7, "1.0E7"), (1e-5, "1.0E-5"), (1234.5, "1234.5"), (1.25e22, "1.25E22")],
)
def test_doubles_print_as_java_prints_them(value: float, text: str) -> None:
    assert java_double(value) == text


def test_the_payload_of_an_invocation_is_nobody_s_business_here() -> None:
    for name in ("Invoke", "InvokeAsync", "InvokeWithResponseStream"):
        validate(TABLE.operations[name], {"FunctionName": "f"})
