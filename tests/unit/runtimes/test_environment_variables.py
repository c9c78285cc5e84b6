"""The environment of a function: exact values, who wins, what is dropped."""

from __future__ import annotations

from dataclasses import replace

from lambent.domain.variables import RESERVED_VARIABLES
from lambent.runtimes.catalogue import IDENTIFIERS
from lambent.runtimes.environment import variables
from lambent.runtimes.model import VersionFacts

FACTS = VersionFacts(
    function_name="greet",
    version="$LATEST",
    handler="app.handler",
    memory_mb=128,
    region="us-east-1",
    log_group="/aws/lambda/greet",
    log_stream="2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef",
    api_address="127.0.0.1:9001",
)


def env(runtime: str, facts: VersionFacts = FACTS) -> dict[str, str]:
    return variables(IDENTIFIERS[runtime], facts, frames=True)


def test_the_whole_environment_of_a_python_function() -> None:
    assert env("python3.12") == {
        "_HANDLER": "app.handler",
        "_LAMBENT_CHANNEL": "3",
        "_AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1",
        "_AWS_XRAY_DAEMON_PORT": "2000",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9001",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_FUNCTION_NAME": "greet",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/greet",
        "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef",
        "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
        "AWS_REGION": "us-east-1",
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "LAMBDA_TASK_ROOT": "/var/task",
        "LANG": "en_US.UTF-8",
        "LC_CTYPE": "C.UTF-8",
        "LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "PWD": "/var/task",
        "PYTHONPATH": "/var/runtime",
        "SHLVL": "0",
        "TZ": ":UTC",
    }


def test_what_differs_between_runtimes() -> None:
    assert "LC_CTYPE" not in env("python3.11")
    node = env("nodejs22.x")
    assert node["NODE_PATH"] == (
        "/opt/nodejs/node22/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task"
    )
    assert "PYTHONPATH" not in node
    provided = env("provided.al2")
    assert not {"AWS_EXECUTION_ENV", "PWD", "SHLVL"} & provided.keys()
    assert provided["PATH"] == "/usr/local/bin:/usr/bin/:/bin:/opt/bin"
    assert provided["LD_LIBRARY_PATH"].startswith("/lib64:")


def test_an_owner_overrides_unreserved_names_and_no_others() -> None:
    mine = {
        "TZ": "Europe/Vienna",
        "PATH": "/x",
        "AWS_ENDPOINT_URL": "http://a",
        "AWS_REGION": "mars",
        "_X": "1",
        "A1": "b",
    }
    merged = env("python3.12", replace(FACTS, environment=mine))
    assert merged["TZ"] == "Europe/Vienna"
    assert merged["PATH"] == "/x"
    assert merged["AWS_ENDPOINT_URL"] == "http://a"
    assert merged["AWS_REGION"] == "us-east-1"
    assert "_X" not in merged
    assert merged["A1"] == "b"


def test_an_owner_cannot_bring_credentials_in_under_the_roles_names() -> None:
    merged = env("python3.12", replace(FACTS, environment={"AWS_ACCESS_KEY_ID": "mine"}))
    assert "AWS_ACCESS_KEY_ID" not in merged


def test_json_logging_sets_format_and_level_and_text_sets_nothing() -> None:
    assert not {"AWS_LAMBDA_LOG_FORMAT", "AWS_LAMBDA_LOG_LEVEL"} & env("python3.12").keys()
    json = env("python3.12", replace(FACTS, log_format="JSON", log_level="DEBUG"))
    assert (json["AWS_LAMBDA_LOG_FORMAT"], json["AWS_LAMBDA_LOG_LEVEL"]) == ("JSON", "DEBUG")
    assert env("python3.12", replace(FACTS, log_format="JSON"))["AWS_LAMBDA_LOG_LEVEL"] == "INFO"


def test_snap_start_functions_have_no_log_names() -> None:
    snapped = env("python3.12", replace(FACTS, initialization_type="snap-start"))
    assert snapped["AWS_LAMBDA_INITIALIZATION_TYPE"] == "snap-start"
    assert not {"AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"} & snapped.keys()


def test_no_owner_sets_a_reserved_name() -> None:
    seen = env("python3.12", replace(FACTS, environment=dict.fromkeys(sorted(RESERVED_VARIABLES), "mine")))
    assert "mine" not in seen.values()
