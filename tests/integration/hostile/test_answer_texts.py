"""Each refusal that this release can give, provoked once: status, code, text and whether `Type` is there, as published.

Left out, because nothing here can provoke them: what belongs to image functions, VPC and EC2, KMS, EFS, S3 Files,
code signing, capacity providers, SnapStart's own failures, durable executions; aliases and policies (unit tests have their texts); the role
texts (roles are recorded, not judged); the S3 texts (they have tests of their own with an S3 server); the full account
storage (300 GB: a unit test); 409s of Pending and of updates in progress (the server waits instead of refusing, and
gives up only after a while: a unit test with a clock of its own); rate limits of the API (there are none).
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.integration.hostile.hostile_world import Reply, call
from tests.support import PYTHON_RUNTIME, ROLE, client, function, package

ACCOUNT = "000000000000"
ARN = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function"
FUNCTIONS = "/2015-03-31/functions"
ZIP = b64encode(package({"app.py": "def handler(event, context):\n    return 'well'\n"})).decode()
CREATE: dict[str, Any] = {
    "FunctionName": "texts-new",
    "Runtime": PYTHON_RUNTIME,
    "Handler": "app.handler",
    "Role": ROLE,
    "Code": {"ZipFile": ZIP},
}
IPV, RNF, VAL, RCE = (
    "InvalidParameterValueException",
    "ResourceNotFoundException",
    "ValidationException",
    "ResourceConflictException",
)
ENVIRONMENT = (
    "Lambda was unable to configure your environment variables because the environment variables you have provided"
)
MEASURED = json.dumps({"AB": "x" * 4_087}, separators=(",", ":"))


def one(value: str, path: str, constraint: str) -> str:
    """One error of the validation grammar."""
    return f"1 validation error detected: Value {value} at '{path}' failed to satisfy constraint: {constraint}"


def create(**members: Any) -> Callable[[str, str], Reply]:
    body = {name: value for name, value in {**CREATE, **members}.items() if value is not None}
    return lambda url, name: call(url, "POST", FUNCTIONS, json.dumps(body).replace("{name}", name).encode())


def ask(method: str, path: str, **body: Any) -> Callable[[str, str], Reply]:
    """A request whose path begins after the date, with the test's function for `{name}`."""
    data = None if method in ("GET", "DELETE") else json.dumps(body).encode()
    return lambda url, name: call(url, method, path.replace("{name}", name), data)


def invoke(target: str, body: bytes = b"{}", **headers: str) -> Callable[[str, str], Reply]:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda url, name: call(url, "POST", f"{FUNCTIONS}/{target.replace('{name}', name)}", body, fields)


def named(form: str) -> str:
    return form.replace(":", "%3A")


UNQUALIFIED = (
    "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please "
    "specify either a function name or an unqualified function ARN."
)
MISMATCH = "The derived qualifier from the function name does not match the specified qualifier."
LATEST_ONLY = "$LATEST version cannot be deleted without deleting the function."
NO_ALIASES = "Deletion of aliases is not currently supported."
STALE = (
    "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the "
    "latest Revision Id"
)
SUBNETS = (
    "Member must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length greater "
    "than or equal to 0, Member must satisfy regular expression pattern: {}-[0-9a-z]*]"
)
UP = f"{FUNCTIONS}/{{name}}"
CONCURRENCY = "/2017-10-31/functions"

ROWS: dict[str, tuple[Callable[[str, str], Reply], int, str, str | None]] = {
    # Names and qualifiers
    "a bare name of 65": (
        create(FunctionName="n" * 65),
        400,
        IPV,
        one(f"'{'n' * 65}'", "functionName", "Member must have length less than or equal to 64"),
    ),
    "a qualified name over 140": (
        create(FunctionName="n" * 60 + ":" + "q" * 100),
        400,
        VAL,
        one(f"'{'n' * 60}:{'q' * 100}'", "functionName", "Member must have length less than or equal to 140"),
    ),
    "an overlong name that is looked for": (
        ask("GET", f"{FUNCTIONS}/{'n' * 65}"),
        404,
        RNF,
        f"Function not found: {ARN}:{'n' * 65}",
    ),
    "the name `function` by accident": (
        ask("GET", f"{FUNCTIONS}/{named(ARN)}"),
        404,
        RNF,
        f"Function not found: {ARN}:function",
    ),
    "an overlong qualifier": (
        ask("GET", f"{UP}?Qualifier={'q' * 129}"),
        400,
        VAL,
        one(f"'{'q' * 129}'", "qualifier", "Member must have length less than or equal to 128"),
    ),
    "two qualifiers": (ask("GET", f"{UP}:1?Qualifier=2"), 400, IPV, MISMATCH),
    "two qualifiers of no function": (ask("GET", f"{FUNCTIONS}/no:$LATEST?Qualifier=1"), 400, IPV, MISMATCH),
    "two qualifiers to invoke": (invoke("{name}:1/invocations?Qualifier=2"), 400, IPV, MISMATCH),
    "another region": (
        ask("GET", f"{FUNCTIONS}/{named(f'arn:aws:lambda:eu-west-1:{ACCOUNT}:function:f')}"),
        404,
        RNF,
        "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
    ),
    "creation in another account": (
        create(FunctionName="arn:aws:lambda:us-east-1:999999999999:function:f"),
        403,
        "AccessDeniedException",
        None,
    ),
    # What is missing
    "no function": (ask("GET", f"{FUNCTIONS}/no"), 404, RNF, f"Function not found: {ARN}:no"),
    "no function, qualified": (ask("GET", f"{FUNCTIONS}/no?Qualifier=7"), 404, RNF, f"Function not found: {ARN}:no:7"),
    "no version": (ask("GET", f"{UP}?Qualifier=7"), 404, RNF, f"Function not found: {ARN}:{{name}}:7"),
    "no alias": (
        ask("GET", f"{UP}/configuration?Qualifier=live"),
        404,
        RNF,
        f"Function not found: {ARN}:{{name}}:live",
    ),
    "no function to delete": (ask("DELETE", f"{FUNCTIONS}/no"), 404, RNF, f"Function not found: {ARN}:no"),
    "$LATEST to delete": (ask("DELETE", f"{UP}?Qualifier=$LATEST"), 400, IPV, LATEST_ONLY),
    "$LATEST to delete, in the name, of no function": (ask("DELETE", f"{FUNCTIONS}/no:$LATEST"), 400, IPV, LATEST_ONLY),
    "an alias to delete": (ask("DELETE", f"{UP}?Qualifier=live"), 400, IPV, NO_ALIASES),
    "no function to invoke": (invoke("no/invocations"), 404, RNF, f"Function not found: {ARN}:no:$LATEST"),
    "no version to invoke": (
        invoke("{name}/invocations?Qualifier=9"),
        404,
        RNF,
        f"Function not found: {ARN}:{{name}}:9",
    ),
    "no function to update": (ask("PUT", f"{FUNCTIONS}/no/configuration"), 404, RNF, f"Function not found: {ARN}:no"),
    "no function to give code": (
        ask("PUT", f"{FUNCTIONS}/no/code", ZipFile=ZIP),
        404,
        RNF,
        f"Function not found: {ARN}:no",
    ),
    "no function to publish": (ask("POST", f"{FUNCTIONS}/no/versions"), 404, RNF, f"Function not found: {ARN}:no"),
    "no function with versions": (ask("GET", f"{FUNCTIONS}/no/versions"), 404, RNF, f"Function not found: {ARN}:no"),
    "no function to reserve for": (
        ask("PUT", f"{CONCURRENCY}/no/concurrency", ReservedConcurrentExecutions=9_999),
        404,
        RNF,
        f"Function not found: {ARN}:no:$LATEST",
    ),
    "no function that reserves": (
        ask("GET", "/2019-09-30/functions/no/concurrency"),
        404,
        RNF,
        f"Function not found: {ARN}:no",
    ),
    # Creation
    "a name that is taken": (create(FunctionName="{name}"), 409, RCE, "Function already exist: {name}"),
    "no runtime": (
        create(Runtime=None),
        400,
        IPV,
        "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
    ),
    "an image with a handler": (
        create(PackageType="Image", Code={"ImageUri": "x"}),
        400,
        IPV,
        "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image.",
    ),
    "no code": (create(Code={}), 400, IPV, "Please provide a source for function code."),
    "no code at all": (create(Code=None), 400, VAL, one("null", "code", "Member must not be null")),
    "a runtime of long ago": (
        create(Runtime="go1.x"),
        400,
        IPV,
        "The runtime parameter of go1.x is no longer supported for creating or updating AWS Lambda functions. We "
        "recommend you use a supported runtime while creating or updating functions.",
    ),
    "no zip": (
        create(Code={"ZipFile": "bm8gemlw"}),
        400,
        IPV,
        "Could not unzip uploaded file. Please check your file, then try to upload again.",
    ),
    "an empty zip": (create(Code={"ZipFile": ""}), 400, IPV, "Uploaded file must be a non-empty zip"),
    "a role that is none": (
        create(Role="r1"),
        400,
        VAL,
        one(
            "'r1'",
            "role",
            r"Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+",
        ),
    ),
    "4,097 bytes of environment": (
        create(Environment={"Variables": {"AB": "x" * 4_088}}),
        400,
        IPV,
        f'{ENVIRONMENT} exceeded the 4KB limit. String measured: {MEASURED[:-2]}x"}}',
    ),
    "reserved keys": (
        create(Environment={"Variables": {"AWS_REGION": "x", "LAMBDA_TASK_ROOT": "y"}}),
        400,
        IPV,
        f"{ENVIRONMENT} contains reserved keys that are currently not supported for modification. Reserved keys used in "
        "this request: AWS_REGION, LAMBDA_TASK_ROOT",
    ),
    "too much memory": (
        create(MemorySize=10_241),
        400,
        IPV,
        "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 10240",
    ),
    "too little memory": (
        create(MemorySize=127),
        400,
        VAL,
        one("'127'", "memorySize", "Member must have value greater than or equal to 128"),
    ),
    "too long a timeout": (
        create(Timeout=901),
        400,
        IPV,
        "'Timeout' value failed to satisfy constraint: Member must have value less than or equal to 900",
    ),
    "no timeout": (
        create(Timeout=0),
        400,
        VAL,
        one("'0'", "timeout", "Member must have value greater than or equal to 1"),
    ),
    "too large a /tmp": (
        create(EphemeralStorage={"Size": 10_241}),
        400,
        VAL,
        one("'10241'", "ephemeralStorage.size", "Member must have value less than or equal to 10240"),
    ),
    "too small a /tmp": (
        create(EphemeralStorage={"Size": 511}),
        400,
        VAL,
        one("'511'", "ephemeralStorage.size", "Member must have value greater than or equal to 512"),
    ),
    "two architectures": (
        create(Architectures=["x86_64", "arm64"]),
        400,
        VAL,
        one("'[x86_64, arm64]'", "architectures", "Member must have length less than or equal to 1"),
    ),
    "an architecture shouted": (
        create(Architectures=["X86_64"]),
        400,
        VAL,
        one(
            "'[X86_64]'",
            "architectures",
            "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
        ),
    ),
    "SnapStart of something": (
        create(SnapStart={"ApplyOn": "Always"}),
        400,
        VAL,
        one("'Always'", "snapStart.applyOn", "Member must satisfy enum value set: [PublishedVersions, None]"),
    ),
    "SnapStart where there is none": (
        create(Runtime="python3.11", SnapStart={"ApplyOn": "PublishedVersions"}),
        400,
        IPV,
        "python3.11 is not supported for SnapStart enabled functions.",
    ),
    "a subnet that is none": (
        create(VpcConfig={"SubnetIds": ["net"], "SecurityGroupIds": ["sg-1"]}),
        400,
        VAL,
        one("'[net]'", "vpcConfig.subnetIds", SUBNETS.format("subnet")),
    ),
    "subnets alone": (
        create(VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": []}),
        400,
        IPV,
        "SubnetIds and SecurityIds must coexist or be both empty list.",
    ),
    "a level for text": (
        create(LoggingConfig={"LogFormat": "Text", "ApplicationLogLevel": "DEBUG"}),
        400,
        IPV,
        'LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change the '
        'LogFormat to "JSON" and try again.',
    ),
    "durable without a time": (
        create(DurableConfig={"RetentionPeriodInDays": 3}),
        400,
        IPV,
        "You cannot create a function with a durable configuration without an executionTimeout",
    ),
    "two errors at once": (
        create(Role="r1", MemorySize=1),
        400,
        VAL,
        "2 validation errors detected: Value 'r1' at 'role' failed to satisfy constraint: Member must satisfy regular "
        r"expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+; Value '1' at 'memorySize' "
        "failed to satisfy constraint: Member must have value greater than or equal to 128",
    ),
    # Lists, updates, versions
    "another function version": (
        ask("GET", f"{FUNCTIONS}?FunctionVersion=SOME"),
        400,
        VAL,
        one("'SOME'", "functionVersion", "Member must satisfy enum value set: [ALL]"),
    ),
    "no items": (
        ask("GET", f"{FUNCTIONS}?MaxItems=0"),
        400,
        VAL,
        one("'0'", "maxItems", "Member must have value greater than or equal to 1"),
    ),
    "a stale revision": (
        ask("PUT", f"{UP}/configuration", RevisionId="old"),
        412,
        "PreconditionFailedException",
        STALE,
    ),
    "a stale revision of code": (
        ask("PUT", f"{UP}/code", RevisionId="old", ZipFile=ZIP),
        412,
        "PreconditionFailedException",
        STALE,
    ),
    "publishing to somewhere": (
        ask("PUT", f"{UP}/code", ZipFile=ZIP, PublishTo="THERE"),
        400,
        VAL,
        one("'THERE'", "publishTo", "Member must satisfy enum value set: [LATEST_PUBLISHED]"),
    ),
    # Reserved concurrency
    "reserving for a version": (
        ask("PUT", f"{CONCURRENCY}/{{name}}:1/concurrency", ReservedConcurrentExecutions=1),
        400,
        IPV,
        UNQUALIFIED,
    ),
    "reserving too much": (
        ask("PUT", f"{CONCURRENCY}/{{name}}/concurrency", ReservedConcurrentExecutions=901),
        400,
        IPV,
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
        "minimum value of [100].",
    ),
    "reserving less than nothing": (
        ask("PUT", f"{CONCURRENCY}/{{name}}/concurrency", ReservedConcurrentExecutions=-1),
        400,
        VAL,
        one("'-1'", "reservedConcurrentExecutions", "Member must have value greater than or equal to 0"),
    ),
    # Invocation
    "a payload of noise": (
        invoke("{name}/invocations", b"\x99"),
        400,
        "InvalidRequestContentException",
        "Could not parse request body into json: Could not parse payload into json: Unexpected character ((CTRL-CHAR, "
        "code 153)): expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' or 'false')\n at "
        "[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: 1]",
    ),
    "an event over 1 MB": (
        invoke("{name}/invocations", b" " * 1_048_577, X_Amz_Invocation_Type="Event"),
        413,
        "RequestEntityTooLargeException",
        "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)",
    ),
    "an invocation type nobody knows": (
        invoke("{name}/invocations", X_Amz_Invocation_Type="Sometimes"),
        400,
        VAL,
        one(
            "'Sometimes'",
            "invocationType",
            "Member must satisfy enum value set: [Event, RequestResponse, DryRun]",
        ),
    ),
    "a request id that is none": (
        invoke("{name}/invocations", X_Amzn_RequestId="mine"),
        400,
        "InvalidRequestContentException",
        "x-amzn-RequestId must be a UUID",
    ),
}
WITHOUT_TYPE = {"ValidationException", "RequestEntityTooLargeException", "AccessDeniedException"}
ROWS_WITHOUT_TYPE = {"reserving too much"}


@pytest.fixture(scope="module")
def subject(attacked: Any) -> Iterator[str]:
    """A function that the rows leave as it is."""
    made = client("lambda", attacked.url)
    with function(made, "def handler(event, context):\n    return 'well'\n") as name:
        made.close()
        yield name


@pytest.mark.parametrize("row", list(ROWS))
def test_refusals(attacked: Any, subject: str, row: str) -> None:
    provoke, status, code, message = ROWS[row]
    answer = provoke(attacked.url, subject)
    expected = None if message is None else message.replace("{name}", subject)
    assert (answer.status, answer.code, answer.message) == (status, code, expected)
    has_type = code not in WITHOUT_TYPE and row not in ROWS_WITHOUT_TYPE
    assert answer.document.get("Type") == ("User" if has_type else None)


def test_a_runtime_nobody_knows_is_told_all_that_are_known(attacked: Any) -> None:
    answer = create(Runtime="Python3.11")(attacked.url, "")
    assert (answer.status, answer.code) == (400, IPV)
    prefix = "Value Python3.11 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: ["
    assert (answer.message or "").startswith(prefix)
    assert (answer.message or "").endswith("] or be a valid ARN")
    assert "python3.11" in (answer.message or "")


def test_a_variable_of_one_letter(attacked: Any) -> None:
    answer = create(Environment={"Variables": {"A": "b"}})(attacked.url, "")
    assert (answer.status, answer.code) == (400, VAL)
    assert (answer.message or "").startswith(
        "1 validation error detected: Value '{A=b}' at 'environment.variables' failed to satisfy constraint: Map keys must "
        "satisfy constraint: ["
    )


def test_a_region_that_is_none(attacked: Any) -> None:
    answer = ask("GET", f"{FUNCTIONS}/{named('arn:aws:lambda:invalid-region:000000000000:function:f')}")(
        attacked.url, ""
    )
    assert (answer.status, answer.code) == (400, VAL)
    assert " at 'functionName' failed to satisfy constraint: Member must satisfy regular" in (answer.message or "")


def test_code_that_is_not_the_code(attacked: Any, subject: str) -> None:
    current = ask("GET", f"{UP}/configuration")(attacked.url, subject).document["CodeSha256"]
    answer = ask("POST", f"{UP}/versions", CodeSha256="x")(attacked.url, subject)
    assert (answer.status, answer.code, answer.message) == (
        400,
        IPV,
        f"CodeSHA256 (x) is different from current CodeSHA256 in $LATEST ({current}). Please try again with the CodeSHA256 "
        "in $LATEST.",
    )


def test_a_missing_version_is_deleted_without_a_word(attacked: Any, subject: str) -> None:
    answer = ask("DELETE", f"{UP}?Qualifier=77")(attacked.url, subject)
    assert (answer.status, answer.body) == (204, b"")


def test_no_concurrency_left(attacked: Any, subject: str) -> None:
    path = f"{CONCURRENCY}/{{name}}/concurrency"
    assert ask("PUT", path, ReservedConcurrentExecutions=0)(attacked.url, subject).status == 200
    answer = invoke("{name}/invocations")(attacked.url, subject)
    event = invoke("{name}/invocations", X_Amz_Invocation_Type="Event")(attacked.url, subject)
    assert ask("DELETE", path)(attacked.url, subject).status == 204
    assert (answer.status, answer.code) == (429, "TooManyRequestsException")
    assert answer.document == {
        "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
        "Type": "User",
        "message": "Rate Exceeded.",
    }
    assert event.status == 202, "an event is accepted; what becomes of it is the queue's matter"
