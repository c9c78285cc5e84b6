"""Parameter rules, word for word, and how updates merge."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.functions.house import ref, wanted

from lambent.domain.errors import InvalidParameterValue, LambentError, ValidationFailed
from lambent.domain.names import Scope
from lambent.domain.tags import check_tags
from lambent.functions.model import Configuration, Durable, FileSystem, Image, Logging, Vpc
from lambent.functions.rules import check_name, check_request, new_configuration, updated
from lambent.functions.runtime_values import CREATABLE, RETIRED
from lambent.functions.wanted import Wanted, WantedDurable, WantedLogging, WantedVpc

SCOPE = Scope("123456789012", "us-east-1")
CALLER = "arn:aws:iam::123456789012:root"
ENVIRONMENT = "Lambda was unable to configure your environment variables because the environment variables you have "
VPC = WantedVpc(("subnet-1",), ("sg-1",))
FILES = (FileSystem("arn:fs", "/mnt/a"),)


def refused(**members: Any) -> LambentError:
    with pytest.raises(LambentError) as error:
        check_request(Wanted(**members), SCOPE, CALLER)
    return error.value


def created(**members: Any) -> Configuration:
    return new_configuration(ref(), wanted(**members))


def refused_creation(**members: Any) -> str | None:
    with pytest.raises(InvalidParameterValue) as error:
        created(**members)
    return error.value.message


def test_defaults_are_the_published_ones() -> None:
    assert created() == Configuration(
        role="arn:aws:iam::123456789012:role/r",
        runtime="python3.13",
        handler="app.handler",
        logging=Logging("Text", None, None, "/aws/lambda/fn"),
        description="",
        timeout_s=3,
        memory_mb=128,
        ephemeral_mb=512,
        environment=None,
        architecture="x86_64",
        package_type="Zip",
        tracing_mode="PassThrough",
        snap_start="None",
    )


def test_the_environment_is_measured_as_compact_json_in_bytes() -> None:
    fits = {"A1": "ü" * 2_043 + "x"}  # {"A1":"…"} is 9 bytes around 4,087
    check_request(Wanted(environment=fits), SCOPE, CALLER)
    error = refused(environment={"A1": fits["A1"] + "y"})
    assert isinstance(error, InvalidParameterValue)
    assert error.message == (f'{ENVIRONMENT}provided exceeded the 4KB limit. String measured: {{"A1":"{fits["A1"]}y"}}')


def test_reserved_names_are_all_named_in_the_order_given() -> None:
    assert refused(environment={"AWS_REGION": "x", "OK": "y", "_HANDLER": "z"}).message == (
        f"{ENVIRONMENT}provided contains reserved keys that are currently not supported for modification. "
        "Reserved keys used in this request: AWS_REGION, _HANDLER"
    )
    check_request(Wanted(environment={"PATH": "a", "TZ": "b", "AWS_LAMBDA_EXEC_WRAPPER": "c"}), SCOPE, CALLER)


def test_the_runtime_client_is_one_we_have() -> None:
    assert created(environment={"LAMBENT_RUNTIME_CLIENT": "official"}).runtime_client == "official"
    assert created().runtime_client is None
    assert "lambent or official" in str(refused(environment={"LAMBENT_RUNTIME_CLIENT": "mine"}))


@pytest.mark.parametrize("runtime", ["python4", "Python3.13", "", "arn:x"])
def test_unknown_runtimes(runtime: str) -> None:
    message = refused(runtime=runtime).message or ""
    assert message.startswith(
        f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
        "[nodejs20.x, python3.14, provided.al2023, "
    )
    assert message.endswith("] or be a valid ARN")


def test_retired_and_creatable_runtimes() -> None:
    for runtime in CREATABLE:
        check_request(Wanted(runtime=runtime), SCOPE, CALLER)
    for runtime in RETIRED:
        assert refused(runtime=runtime).message == (
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions."
        )
    assert "not served" in str(refused(runtime="custom"))


def test_ranges_that_the_model_leaves_wider() -> None:
    assert refused(memory_mb=10_241).message == (
        "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 10240"
    )
    assert refused(timeout_s=901).message == (
        "'Timeout' value failed to satisfy constraint: Member must have value less than or equal to 900"
    )
    error = refused(ephemeral_mb=10_241)
    assert isinstance(error, ValidationFailed)
    assert error.message == (
        "1 validation error detected: Value '10241' at 'ephemeralStorage.size' failed to satisfy constraint: "
        "Member must have value less than or equal to 10240"
    )
    check_request(Wanted(memory_mb=10_240, timeout_s=900, ephemeral_mb=10_240), SCOPE, CALLER)


def test_names_of_sixty_five_characters() -> None:
    check_name("x" * 64)
    check_name(f"arn:aws:lambda:us-east-1:123456789012:function:{'x' * 64}")
    for text in ("x" * 65, f"function:{'x' * 65}"):
        with pytest.raises(InvalidParameterValue) as error:
            check_name(text)
        assert error.value.message == (
            f"1 validation error detected: Value '{'x' * 65}' at 'functionName' failed to satisfy constraint: "
            "Member must have length less than or equal to 64"
        )


def test_tags_are_fifty_at_most_and_not_of_the_service() -> None:
    check_tags({str(number): "" for number in range(50)})
    for tags in ({str(number): "" for number in range(51)}, {"aws:x": ""}):
        with pytest.raises(InvalidParameterValue):
            check_tags(tags)


@pytest.mark.parametrize("missing", ["runtime", "handler"])
def test_zips_need_runtime_and_handler(missing: str) -> None:
    assert refused_creation(**{missing: None}) == (
        "Runtime and Handler are mandatory parameters for functions created with deployment packages."
    )


def test_images_take_neither() -> None:
    assert refused_creation(package_type="Image") == (
        "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image."
    )
    image = created(package_type="Image", runtime=None, handler=None, image=Image(command=("a",), entry_point=()))
    assert image.image == Image(command=("a",))
    assert created(image=Image()).image is None
    assert "PackageType Image" in str(refused_creation(image=Image(command=("a",))))


@pytest.mark.parametrize("runtime", ["python3.11", "nodejs22.x", "provided.al2023", "dotnet6", "java8.al2"])
def test_snap_start_is_for_some_runtimes(runtime: str) -> None:
    assert refused_creation(runtime=runtime, snap_start="PublishedVersions") == (
        f"{runtime} is not supported for SnapStart enabled functions."
    )
    assert created(runtime=runtime, snap_start="None").snap_start == "None"


def test_snap_start_excludes_large_tmp_files_and_tenants() -> None:
    assert created(snap_start="PublishedVersions").snap_start == "PublishedVersions"
    for members in ({"ephemeral_mb": 513}, {"file_systems": FILES, "vpc": VPC}, {"tenancy": "PER_TENANT"}):
        assert refused_creation(snap_start="PublishedVersions", **members)


def test_snap_start_is_checked_against_the_runtime_of_the_same_update() -> None:
    stored = created(runtime="python3.11")
    with pytest.raises(InvalidParameterValue, match=r"python3\.11 is not supported"):
        updated(stored, Wanted(snap_start="PublishedVersions"))
    assert updated(stored, Wanted(snap_start="PublishedVersions", runtime="python3.12")).runtime == "python3.12"


def test_logging_levels_belong_to_json() -> None:
    text = (
        'LogLevel is not supported when LogFormat is set to "Text". '
        'Remove LogLevel from your request or change the LogFormat to "JSON" and try again.'
    )
    assert refused_creation(logging=WantedLogging(system_level="INFO")) == text
    assert refused_creation(logging=WantedLogging("Text", "INFO")) == text
    json = created(logging=WantedLogging("JSON", group="/mine", system_level="WARN"))
    assert json.logging == Logging("JSON", "INFO", "WARN", "/mine")
    finer = updated(json, Wanted(logging=WantedLogging(application_level="DEBUG")))
    assert finer.logging == Logging("JSON", "DEBUG", "WARN", "/mine")
    back = updated(finer, Wanted(logging=WantedLogging("Text")))
    assert back.logging == Logging("Text", None, None, "/mine")
    again = updated(back, Wanted(logging=WantedLogging("JSON")))
    assert again.logging == Logging("JSON", "INFO", "INFO", "/mine")


def test_vpc_lists_come_together_and_leave_empty_lists_behind() -> None:
    assert refused_creation(vpc=WantedVpc(("subnet-1",))) == (
        "SubnetIds and SecurityIds must coexist or be both empty list."
    )
    attached = created(vpc=VPC)
    assert attached.vpc == Vpc(("subnet-1",), ("sg-1",))
    assert updated(attached, Wanted(vpc=WantedVpc())).vpc == Vpc((), ())
    assert created(vpc=WantedVpc()).vpc is None
    assert updated(created(), Wanted(vpc=WantedVpc())).vpc is None
    assert refused_creation(file_systems=FILES)
    with_files = created(vpc=VPC, file_systems=FILES)
    with pytest.raises(InvalidParameterValue):
        updated(with_files, Wanted(vpc=WantedVpc()))
    assert updated(with_files, Wanted(file_systems=(), vpc=WantedVpc())).file_systems == ()


def test_dead_letters_go_to_queues_and_topics() -> None:
    queue = "arn:aws:sqs:us-east-1:123456789012:q"
    stored = created(dead_letter_arn=queue)
    assert stored.dead_letter_arn == queue
    assert updated(stored, Wanted()).dead_letter_arn == queue
    assert updated(stored, Wanted(dead_letter_arn="")).dead_letter_arn is None
    assert created(dead_letter_arn="").dead_letter_arn is None
    assert refused_creation(dead_letter_arn="arn:aws:s3:::bucket")


def test_durability_is_decided_at_creation() -> None:
    assert refused_creation(durable=WantedDurable(retention_days=3)) == (
        "You cannot create a function with a durable configuration without an executionTimeout"
    )
    durable = created(durable=WantedDurable(60, 3))
    assert durable.durable == Durable(60, 3)
    assert updated(durable, Wanted(durable=WantedDurable(retention_days=9))).durable == Durable(60, 9)
    with pytest.raises(InvalidParameterValue):
        updated(created(), Wanted(durable=WantedDurable(60)))


def test_an_update_changes_what_is_given_and_nothing_else() -> None:
    stored = created(
        description="d", environment={"A1": "1", "B1": "2"}, memory_mb=256, tracing_mode="Active", kms_key_arn="arn:k"
    )
    assert updated(stored, Wanted()) == stored
    assert updated(stored, Wanted(environment={"C1": "3"})).environment == {"C1": "3"}
    assert updated(stored, Wanted(environment={})).environment == {}
    assert updated(stored, Wanted(description="")).description == ""
    assert updated(stored, Wanted(kms_key_arn="")).kms_key_arn is None
    changed = updated(stored, Wanted(timeout_s=9, handler="a.b", role="arn:x", ephemeral_mb=600))
    assert (changed.timeout_s, changed.handler, changed.role, changed.ephemeral_mb) == (9, "a.b", "arn:x", 600)
    assert changed.memory_mb == 256
