"""The commands against a real server, as a user meets them: deploy, invoke, logs, usage, update, delete."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"
FOLLOW_LIMIT_S = 30.0

Lambent = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def hello(lambent: Lambent, request: pytest.FixtureRequest) -> Iterator[str]:
    """A deployed function with a name of its own."""
    name = re.sub(r"\W+", "-", f"cli-{request.node.name}")[:64]
    done = lambent("deploy", str(EXAMPLES / "python-hello"), "--name", name, "--timeout", "10")
    assert done.returncode == 0, done.stderr
    yield name
    lambent("rm", name)


def test_deploy_says_what_it_guessed_and_what_it_did(lambent: Lambent) -> None:
    done = lambent("deploy", str(EXAMPLES / "bash-hello"), "--name", "cli-bash")
    assert done.returncode == 0, done.stderr
    assert "Guessed runtime provided.al2023 and handler bootstrap." in done.stderr
    assert done.stdout.startswith("cli-bash is created: provided.al2023, bootstrap, 128 MB, 3 s, ")
    again = lambent("deploy", str(EXAMPLES / "bash-hello"), "--name", "cli-bash")
    assert again.stdout.startswith("cli-bash is unchanged")
    changed = lambent(
        "deploy", str(EXAMPLES / "bash-hello"), "--name", "cli-bash", "--memory", "256", "--env", "AB=b=c"
    )
    assert changed.stdout.startswith("cli-bash is updated: provided.al2023, bootstrap, 256 MB")
    shown = json.loads(lambent("deploy", str(EXAMPLES / "bash-hello"), "--name", "cli-bash", "--json").stdout)
    assert (shown["Environment"]["Variables"], shown["Timeout"]) == ({"AB": "b=c"}, 3)
    assert lambent("rm", "cli-bash").returncode == 0


def test_a_custom_runtime_in_bash_answers(lambent: Lambent) -> None:
    lambent("deploy", str(EXAMPLES / "bash-hello"), "--name", "cli-bash-run", "--timeout", "10")
    done = lambent("invoke", "cli-bash-run", "--payload", '{"a": "ü"}')
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["event"] == {"a": "ü"}
    lambent("rm", "cli-bash-run")


def test_invoking_what_could_not_be_prepared_says_why_and_what_to_do(lambent: Lambent) -> None:
    """The server's refusal has the published words and no more."""
    name, runtime = "cli-not-prepared", ("--runtime", "ruby3.3", "--handler", "a.b")
    deployed = lambent("deploy", str(EXAMPLES / "python-hello"), "--name", name, *runtime)
    refused = lambent("invoke", name)
    lambent("rm", name)
    for done in (deployed, refused):
        assert done.returncode != 0
        assert f"{name} could not be prepared: " in done.stderr
        assert "run Ruby from provided.al2023" in done.stderr


def test_invoke_keeps_the_answer_apart_from_how_it_went(lambent: Lambent, hello: str) -> None:
    cold = lambent("invoke", hello, "--payload", '{"name": "Ada"}')
    assert cold.returncode == 0, cold.stderr
    assert json.loads(cold.stdout)["hello"] == "Ada"
    assert re.match(r"cold start \(init [\d.]+ ms\) · [\d.]+ ms · billed \d+ ms · \d+ of 128 MB · ", cold.stderr)
    warm = lambent("invoke", hello, "--payload", "-", "--tail", stdin='{"name": "Bo"}')
    assert json.loads(warm.stdout)["hello"] == "Bo"
    assert "warm start" in warm.stderr
    assert f"Bo calls {hello}" in warm.stderr
    assert "REPORT RequestId:" in warm.stderr


def test_a_failing_function_fails_the_command_and_shows_its_log(lambent: Lambent, hello: str) -> None:
    done = lambent("invoke", hello, "--payload", '{"fail": true}')
    assert done.returncode == 1
    assert json.loads(done.stdout)["errorType"] == "ZeroDivisionError"
    assert "failed (Unhandled)" in done.stderr
    assert "Traceback" in done.stderr


def test_invoke_as_json_is_one_document(lambent: Lambent, hello: str) -> None:
    shown = json.loads(lambent("invoke", hello, "--payload", '{"name": "Cy"}', "--json").stdout)
    assert (shown["StatusCode"], shown["Payload"]["hello"], shown["ExecutedVersion"]) == (200, "Cy", "$LATEST")
    assert "REPORT" in shown["LogResult"]


def test_logs_hold_what_was_printed(lambent: Lambent, hello: str) -> None:
    lambent("invoke", hello, "--payload", '{"name": "Dora"}')
    text = lambent("logs", hello).stdout
    assert f"Dora calls {hello}" in text
    assert re.search(r"^\d{4}-\d\d-\d\dT[\d:.]+Z START RequestId: ", text, re.MULTILINE)
    events = [json.loads(line) for line in lambent("logs", hello, "--json").stdout.splitlines()]
    assert any(event["message"] == f"Dora calls {hello}\n" for event in events)
    filtered = lambent("logs", hello, "--filter", "Dora").stdout
    assert filtered.count("\n") == 1


def test_following_a_log_shows_what_comes_later(
    lambent: Lambent, hello: str, command_environment: dict[str, str]
) -> None:
    lambent("invoke", hello, "--payload", '{"name": "early"}')
    follower = subprocess.Popen(
        [sys.executable, "-m", "lambent", "logs", hello, "-f"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=command_environment,
        text=True,
    )
    watchdog = threading.Timer(FOLLOW_LIMIT_S, follower.kill)
    watchdog.start()
    assert follower.stdout is not None
    try:
        assert any("early calls" in line for line in follower.stdout)
        lambent("invoke", hello, "--payload", '{"name": "later"}')
        assert any("later calls" in line for line in follower.stdout)
    finally:
        follower.terminate()
        follower.stdout.close()
        follower.wait()
        watchdog.cancel()


def test_an_async_event_is_accepted_and_runs(lambent: Lambent, hello: str) -> None:
    done = lambent("invoke", hello, "--payload", '{"name": "queue"}', "--async")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("accepted · ")


def test_usage_counts_every_attempt(lambent: Lambent, hello: str) -> None:
    for _ in range(3):
        lambent("invoke", hello, "--payload", "{}")
    lambent("invoke", hello, "--payload", '{"fail": true}')
    found = json.loads(lambent("usage", "--json").stdout)
    line = next(one for one in found["functions"] if one["function"] == hello)
    assert (line["requests"], line["errors"]) == (4, 1)
    assert line["billed_ms"] >= 4
    assert line["mb_ms"] == line["billed_ms"] * 128
    table = lambent("usage").stdout
    assert re.search(rf"^{hello} .* 4 .* USD$", table, re.MULTILINE)
    assert "all of " in table


def test_ls_and_rm(lambent: Lambent, hello: str) -> None:
    assert hello in lambent("ls").stdout
    assert any(function["FunctionName"] == hello for function in json.loads(lambent("ls", "--json").stdout))
    assert lambent("rm", hello).stderr == f"{hello} is deleted.\n"
    gone = lambent("rm", hello)
    assert gone.returncode == 1
    assert gone.stderr.startswith("lambent: Function not found: arn:aws:lambda:us-east-1:000000000000:function:")
    assert gone.stderr.endswith("(ResourceNotFoundException)\n")


def test_ls_tells_each_functions_state(lambent: Lambent, hello: str) -> None:
    """The service's own list leaves states out."""
    failed = f"{hello[:50]}-failed"
    lambent("deploy", str(EXAMPLES / "python-hello"), "--name", failed, "--runtime", "ruby3.3", "--handler", "a.b")
    rows = {row.split()[0]: row.split()[-1] for row in lambent("ls").stdout.splitlines()}
    listed = {function["FunctionName"]: function for function in json.loads(lambent("ls", "--json").stdout)}
    lambent("rm", failed)
    assert (rows[hello], rows[failed]) == ("Active", "Failed")
    assert "run Ruby from provided.al2023" in listed[failed]["StateReason"]


def test_a_payload_that_is_no_json_is_one_sentence(lambent: Lambent, hello: str) -> None:
    """The service's words, which have two lines."""
    done = lambent("invoke", hello, "--payload", "{bad")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "Could not parse payload into json" in done.stderr


def test_an_unknown_function_is_one_sentence(lambent: Lambent) -> None:
    for command in ("invoke", "logs"):
        done = lambent(command, "cli-nobody")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert "Function not found" in done.stderr


def test_a_shell_completes_names_from_the_server(lambent: Lambent, hello: str) -> None:
    words = f"lambent invoke {hello[:-2]}"
    done = lambent(_LAMBENT_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD="2")
    assert f"plain,{hello}" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give /tmp's folders to a server of another user")
def test_doctor_builds_a_sandbox_and_leaves_nothing(lambent: Lambent, tmp_path: Path) -> None:
    done = lambent("doctor", "--data-dir", str(tmp_path / "none"), "--json")
    findings = {one["what"]: one for one in json.loads(done.stdout)["findings"]}
    assert set(findings) == {"launcher", "isolation", "network", "runtimes", "data", "snapstart"}
    assert findings["isolation"]["words"].partition(":")[0] in ("container", "rootless", "process")
    assert not (tmp_path / "none").exists()
