"""The command line itself: help, completion, refusals, and what each command makes of an answer."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner

from lambent import __version__
from lambent.cli import COMMANDS, root
from lambent.commands import banner, deploy, invoke, logs, remote
from lambent.commands.failures import Failed
from lambent.runtimes.install import Installer

REPORT = (
    "START RequestId: 11111111-2222-4333-8444-555555555555 Version: $LATEST\nhello\n"
    "END RequestId: 11111111-2222-4333-8444-555555555555\n"
    "REPORT RequestId: 11111111-2222-4333-8444-555555555555\tDuration: 2.13 ms\tBilled Duration: {billed} ms\t"
    "Memory Size: 128 MB\tMax Memory Used: 36 MB\t{init}\n"
)


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> str:
    """An endpoint where nothing listens."""
    for variable in ("LAMBENT_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_LAMBDA"):
        monkeypatch.delenv(variable, raising=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_its_sentence(name: str) -> None:
    result = CliRunner().invoke(root, [name, "--help"], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: root {name}")


def test_help_lists_every_command() -> None:
    output = CliRunner().invoke(root, ["--help"]).output
    assert all(f"  {name} " in output for name in COMMANDS)


def test_a_typing_error_is_answered_with_the_nearest_command() -> None:
    result = CliRunner().invoke(root, ["invok"])
    assert result.exit_code == 2
    assert "Did you mean invoke?" in result.output


def test_version() -> None:
    assert CliRunner().invoke(root, ["--version"]).output == f"root {__version__}\n"
    assert json.loads(CliRunner().invoke(root, ["version", "--json"]).output)["version"] == __version__


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell: str) -> None:
    result = CliRunner().invoke(root, ["completion", shell])
    assert result.exit_code == 0
    assert f"_LAMBENT_COMPLETE={shell}_complete" in result.output.replace('"', "")


@pytest.mark.parametrize(
    "arguments",
    [("ls",), ("rm", "x"), ("invoke", "x"), ("logs", "x"), ("usage",)],
    ids=lambda arguments: arguments[0],
)
def test_without_a_server_there_is_one_sentence_and_a_status(nobody: str, arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(root, [*arguments, "--endpoint", nobody])
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert f"No answer from {nobody} (connection refused). Is the server running?" in result.output


def test_completion_of_a_name_is_silent_without_a_server(nobody: str) -> None:
    context = deploy.command.make_context("deploy", ["."], resilient_parsing=True)
    context.params["endpoint"] = nobody
    assert remote.function_names(context, deploy.command.params[0], "") == []


def completed(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    """What the shell is offered for the last word."""
    monkeypatch.setenv("COMP_WORDS", " ".join(("lambent", *words)))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    said = CliRunner().invoke(root, prog_name="lambent", env={"_LAMBENT_COMPLETE": "bash_complete"}).output
    return [line.partition(",")[2] for line in said.splitlines()]


def test_completion_offers_what_can_be_added_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = completed(monkeypatch, "runtimes", "add", "")
    assert {"nodejs22.x", "official-nodejs22.x", "official-python3.12", "sdk-python3.12"} <= set(offered)
    assert not [name for name in offered if "java" in name or "provided" in name or name.startswith("python")]
    assert "official-python2.7" not in offered


def test_completion_offers_the_runtimes_that_a_function_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = completed(monkeypatch, "deploy", "--runtime", "p")
    assert {"python3.13", "provided.al2023"} <= set(offered)
    assert "python2.7" not in offered


@pytest.mark.parametrize("is_after", [False, True], ids=["before-add", "after-add"])
def test_add_takes_the_data_directory_wherever_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_after: bool
) -> None:
    added: list[tuple[str, Path]] = []

    def add(self: Installer, name: str, interpreters: object) -> Path:
        added.append((name, self.data))
        return self.data

    monkeypatch.setattr(Installer, "add", add)
    option = ("--data-dir", str(tmp_path / "data"))
    words = ("add", "nodejs22.x", *option) if is_after else (*option, "add", "nodejs22.x")
    result = CliRunner().invoke(root, ["runtimes", *words], catch_exceptions=False)
    assert (result.exit_code, added) == (0, [("nodejs22.x", tmp_path / "data" / "runtimes")])


def test_a_region_that_is_none_is_refused_before_anybody_is_asked(nobody: str) -> None:
    result = CliRunner().invoke(root, ["ls", "--endpoint", nobody, "--region", "not a region"])
    assert (result.exit_code, result.output) == (
        1,
        "lambent: 'not a region' is not a region; it looks like us-east-1.\n",
    )
    for region in ("eu-west-1", "us-gov-west-1", "us-isob-east-1", "eusc-de-east-1", "cn-north-1"):
        assert remote._REGION.fullmatch(region)


def test_the_most_specific_endpoint_wins() -> None:
    assert remote.endpoint_of({}) == "http://127.0.0.1:4566"
    assert remote.endpoint_of({"AWS_ENDPOINT_URL": "a"}) == "a"
    assert remote.endpoint_of({"AWS_ENDPOINT_URL": "a", "AWS_ENDPOINT_URL_LAMBDA": "b"}) == "b"
    assert remote.endpoint_of({"AWS_ENDPOINT_URL": "a", "LAMBENT_ENDPOINT": "c"}) == "c"


def test_a_payload_is_text_a_file_or_standard_input(tmp_path: Path) -> None:
    (tmp_path / "event.json").write_bytes(b'{"a":1}')
    assert invoke.payload_of('{"b":2}') == b'{"b":2}'
    assert invoke.payload_of(f"@{tmp_path / 'event.json'}") == b'{"a":1}'
    with pytest.raises(Failed, match="cannot be read: No such file or directory"):
        invoke.payload_of(f"@{tmp_path / 'none'}")


def test_the_summary_says_cold_or_warm() -> None:
    cold = invoke.summary(REPORT.format(billed=88, init="Init Duration: 85.10 ms\t"))
    assert cold.startswith("cold start (init 85.10 ms) · 2.13 ms · billed 88 ms · 36 of 128 MB · 11111111-")
    assert invoke.summary(REPORT.format(billed=3, init="")).startswith("warm start · 2.13 ms · billed 3 ms")
    assert invoke.summary("cut off") == ""


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7_200), ("1d", 86_400)])
def test_durations_are_read(text: str, seconds: int) -> None:
    parameter = next(p for p in logs.command.params if p.name == "since_s")
    assert logs.ago(logs.command.make_context("logs", ["x"]), parameter, text) == seconds


def test_a_wrong_duration_is_refused() -> None:
    assert "'soon' is not a duration" in CliRunner().invoke(root, ["logs", "x", "--since", "soon"]).output


def event(identity: str, at_ms: int) -> dict[str, Any]:
    return {"eventId": identity, "timestamp": at_ms, "message": "x\n"}


def test_following_prints_each_event_once_and_late_ones_too() -> None:
    seen = logs.Seen(start_ms=1_000)
    assert [seen.is_new(event(*one)) for one in (("a", 5_000), ("b", 5_000), ("a", 5_000))] == [True, True, False]
    assert seen.start_ms < 5_000  # one that is stamped a little earlier and arrives later is asked for again
    assert seen.is_new(event("late", 4_900))
    assert not seen.is_new(event("b", 5_000))


def test_following_for_days_remembers_only_what_may_be_answered_again() -> None:
    seen = logs.Seen(start_ms=0)
    for index in range(10_000):
        assert seen.is_new(event(str(index), index * 1_000))
    assert len(seen._ids) < 10


FACTS = {
    "version": "0.1.0",
    "endpoint": "http://127.0.0.1:4566",
    "tier": "container",
    "tier_reasons": [],
    "runtimes": ["python3.11", "provided.al2023"],
    "missing": ["nodejs22.x: no Node.js 22 here; `lambent runtimes add nodejs22.x`"],
    "data_dir": "/var/lib/lambent",
    "started_ms": 123.4,
}


def test_the_banner_names_everything_and_is_plain_without_colour() -> None:
    text = banner.render(FACTS, colour=False)
    assert "\x1b" not in text
    for words in ("0.1.0", "123 ms", "http://127.0.0.1:4566", "container", "python3.11, provided.al2023"):
        assert words in text
    assert "`lambent runtimes add nodejs22.x`" in text
    assert "\x1b[" in banner.render(FACTS, colour=True)


def test_the_banner_says_that_the_disk_is_full_before_anything_is_refused() -> None:
    assert "are free" not in banner.render(FACTS, colour=False)
    text = banner.render({**FACTS, "data_note": "less than 512 MB are free"}, colour=False)
    assert "  data      /var/lib/lambent\n            less than 512 MB are free\n" in text


def test_the_line_to_copy_works_where_signatures_are_verified_too() -> None:
    """`test` is nobody there: the line names a key that is known, and not its secret."""
    open_line = banner.render(FACTS, colour=False).splitlines()[-2]
    assert open_line.endswith(
        " AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1"
    )
    facts = {**FACTS, "access_key": "AKIDADA", "region": "eu-west-1"}
    line = banner.render(facts, colour=False).splitlines()[-2]
    assert line.endswith(
        " AWS_ACCESS_KEY_ID=AKIDADA AWS_SECRET_ACCESS_KEY='the secret of AKIDADA' AWS_REGION=eu-west-1 "
        "AWS_DEFAULT_REGION=eu-west-1"
    )


def test_the_line_to_copy_is_all_that_boto3_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 does not read AWS_REGION, other SDKs do not read AWS_DEFAULT_REGION."""
    for variable in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    line = banner.render(FACTS, colour=False).splitlines()[-2].strip().removeprefix("export ")
    for assignment in line.split():
        monkeypatch.setenv(*assignment.split("=", 1))
    client = boto3.Session().client("lambda")
    assert (client.meta.endpoint_url, client.meta.region_name) == (FACTS["endpoint"], "us-east-1")
    client.close()


def test_the_banner_does_not_call_the_process_tier_a_sandbox() -> None:
    text = banner.render({**FACTS, "tier": "process", "tier_reasons": ["not root: no namespaces"]}, colour=False)
    assert "NOT isolated" in text
    assert "not root: no namespaces" in text


def test_settings_are_listed_with_their_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBENT_PORT", "1234")
    monkeypatch.setenv("LAMBENT_S3_SECRET_KEY", "hush")
    result = CliRunner().invoke(root, ["settings"], catch_exceptions=False)
    assert "port = 1234   # from LAMBENT_PORT" in result.output
    assert "hush" not in result.output
    rows = {row["name"]: row for row in json.loads(CliRunner().invoke(root, ["settings", "--json"]).output)}
    assert (rows["server.port"]["value"], rows["server.port"]["origin"]) == (1234, "LAMBENT_PORT")
    assert rows["s3.secret_key"]["value"] == "********"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set", "server.port"), "this is not SETTING=VALUE"),
        (("--set", "server.prot=1"), "there is no such setting"),
        (("--set", "server.port=x"), "server.port (from --set server.port=x): 'x' is not a number"),
        (("--config", "/nonexistent.toml"), "cannot be read"),
    ],
)
def test_up_refuses_wrong_settings_before_anything_starts(arguments: tuple[str, ...], words: str) -> None:
    result = CliRunner().invoke(root, ["up", *arguments])
    assert result.exit_code == 1
    assert words in result.output
