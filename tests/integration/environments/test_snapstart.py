"""SnapStart: a published version keeps one initialised template, and its environments are copies of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.integration.environments.live_node import LIMITS, LiveNode, live_node, seen
from tests.machine import SNAPSTART_RUNTIME
from tests.support import ROLE, function, package

from lambent.domain.limits import RESTORE_LIMIT_S
from lambent.environments import birth, runtime
from lambent.environments.lifecycle import State as EnvironmentState
from lambent.environments.templates import Holder, State

pytestmark = pytest.mark.leaves_session_state  # copies come and go beside the tests; the node's end takes them all

SNAP = {"ApplyOn": "PublishedVersions"}
CODE = """
import json, os, random, ssl, time, uuid
import snapshot_restore_py as hooks
%s
SEEN = []
BUILT = random.random()
hooks.register_before_snapshot(lambda text: SEEN.append(text), "before 1")
hooks.register_before_snapshot(lambda text: SEEN.append(text), "before 2")
hooks.register_after_restore(lambda text: (SEEN.append(text), print(text)), "after 1")
hooks.register_after_restore(lambda text: SEEN.append(text), "after 2")
print("module loaded")
def handler(event, context):
    if event and "run" in event:
        return eval(event["run"])
    time.sleep((event or {}).get("sleep", 0))
    return {
        "seen": SEEN, "built": BUILT, "pid": os.getpid(), "environment": dict(os.environ),
        "random": [os.urandom(8).hex(), random.random(), ssl.RAND_bytes(8).hex(), str(uuid.uuid4()), str(uuid.uuid1())],
        "stream": context.log_stream_name, "cwd": os.getcwd(), "files": os.listdir("/tmp"),
        "open": sorted(map(int, os.listdir("/proc/self/fd"))),
    }
"""


@pytest.fixture(scope="module")
def node() -> Iterator[LiveNode]:
    with live_node(replace(LIMITS, blanks=1, waiting_max=2), tier="container" if os.geteuid() == 0 else None) as node:
        if (refusal := node.on_loop(lambda: node.node.environments._templates._driver.copies)) is not None:  # type: ignore[union-attr]
            pytest.skip(refusal)
        yield node


def version_of(node: LiveNode, name: str, number: str = "1") -> dict[str, Any]:
    return node.lambda_.get_function_configuration(FunctionName=name, Qualifier=number)  # type: ignore[no-any-return]


@contextmanager
def published(
    node: LiveNode, extra: str = "", code: str = CODE, **options: Any
) -> Iterator[tuple[str, dict[str, Any]]]:
    """A function whose version 1 has been initialised, and what the API says of it then."""
    text = code % extra if "%s" in code else code
    options = {"runtime": SNAPSTART_RUNTIME, "SnapStart": SNAP} | options
    with function(node.lambda_, text, **options) as name:
        node.lambda_.publish_version(FunctionName=name)
        yield name, seen(lambda: (v := version_of(node, name))["State"] != "Pending" and v)


def holder(node: LiveNode, name: str) -> Holder | None:
    def find() -> Holder | None:
        templates = node.node.environments.templates
        assert templates is not None
        return next((one for one in templates._holders.values() if one.version.ref.name == name), None)

    return node.on_loop(find)


def refused(node: LiveNode, name: str, payload: Any = None) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as told:
        node.invoke(name, payload, Qualifier="1")
    answer = told.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def test_a_version_is_initialised_once_and_its_environments_are_copies(node: LiveNode) -> None:
    with published(node, "time.sleep(6)") as (name, version):
        assert (version["State"], version["LastUpdateStatus"]) == ("Active", "Successful")
        assert version["SnapStart"] == SNAP | {"OptimizationStatus": "On"}
        with ThreadPoolExecutor(3) as pool:
            started = time.monotonic()
            answers = list(pool.map(lambda _: node.invoke(name, {"sleep": 0.5}, Qualifier="1")[1], range(3)))
            took_s = time.monotonic() - started
        assert took_s < 6, "the init is in none of them"
        assert len({one["stream"] for one in answers}) == 1, "the log stream's name is no variable under SnapStart"
        assert [one["seen"] for one in answers] == [["before 2", "before 1", "after 1", "after 2"]] * 3
        assert len({one["built"] for one in answers}) == 1, "what init computed is shared"
        assert len({one["pid"] for one in answers}) == 3
        for values in zip(*(one["random"] for one in answers), strict=True):
            assert len(set(values)) == 3, values
        for one in answers:
            assert (one["cwd"], one["files"], one["open"][:4]) == ("/var/task", [], [0, 1, 2, 3])
            env = one["environment"]
            assert env["AWS_LAMBDA_INITIALIZATION_TYPE"] == "snap-start"
            assert not [key for key in env if "LAMBENT" in key or "ACCESS_KEY" in key or "LOG_STREAM" in key]
        log = node.log(name)
        assert log.count("module loaded\n") == 1
        assert log.count("after 1\n") == 3
        # $LATEST has no snapshot: an environment of its own, with an init of its own.
        assert "Init Duration" in node.tail(name)[0]
        assert node.invoke(name)[1]["environment"]["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"


def test_the_log_tells_of_init_and_restore(node: LiveNode) -> None:
    with published(node) as (name, _):
        tail, _ = node.tail(name, Qualifier="1")
        report = re.search(
            r"Duration: ([\d.]+) ms\tBilled Duration: (\d+) ms\tMemory Size: 128 MB\tMax Memory Used: (\d+) MB\t"
            r"Restore Duration: ([\d.]+) ms\tBilled Restore Duration: (\d+) ms\t\n",
            tail,
        )
        assert report is not None, tail
        duration, billed, memory, restore, billed_restore = map(float, report.groups())
        assert billed == -(-(duration + billed_restore) // 1)
        assert restore <= 10_000
        assert memory > 5, "what it has in common with its template counts"
        words = [line.split(" ")[0].strip() for line in node.log(name)]
        assert words[:3] == ["INIT_START", "module", "INIT_REPORT"]
        assert words[3:8] == ["RESTORE_START", "after", "RESTORE_REPORT", "START", "END"]
        assert "Restore" not in node.tail(name, Qualifier="1")[0], "restored once"


def test_copies_see_nothing_of_each_other(node: LiveNode) -> None:
    """While one runs another is asked; on a slow machine the first has ended by then, and it sleeps longer."""
    write = "(open('/tmp/mine', 'w').write('x'), SEEN.append('mine'), os.environ.update(MINE='1'), time.sleep(%s), os.getpid())"
    with published(node, Timeout=60) as (name, _):
        for sleep_s in (0.6, 3, 15):
            with ThreadPoolExecutor(1) as pool:
                first = pool.submit(node.invoke, name, {"run": write % sleep_s}, Qualifier="1")
                time.sleep(0.2)
                second = node.invoke(name, {}, Qualifier="1")[1]
                first_pid = first.result()[1][-1]
            if first_pid != second["pid"]:
                break
        assert first_pid != second["pid"]
        assert (second["files"], second["seen"][-1], "MINE" in second["environment"]) == ([], "after 2", False)


def test_credentials_come_from_an_endpoint_and_are_each_environments_own(node: LiveNode) -> None:
    ask = (
        "[json.loads(__import__('urllib.request').request.urlopen(__import__('urllib.request').request.Request("
        "os.environ['AWS_CONTAINER_CREDENTIALS_FULL_URI'], headers={'Authorization': "
        "os.environ['AWS_CONTAINER_AUTHORIZATION_TOKEN']})).read()), time.sleep(2)][0]"
    )
    wrong = (
        "(lambda c: (c.request('GET', '/2021-04-23/credentials', headers={'Authorization': 'x'}), c.getresponse().status)[1])"
        "(__import__('http.client').client.HTTPConnection('127.0.0.1', 9001))"
    )
    with published(node) as (name, _):
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda _: node.invoke(name, {"run": ask}, Qualifier="1")[1], range(2)))
        assert len({one["Token"] for one in found}) == 2
        assert all(set(one) == {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"} for one in found)
        assert node.invoke(name, {"run": wrong}, Qualifier="1")[1] == 404


ASKED = """
import http.client
kept = http.client.HTTPConnection("127.0.0.1", 9001)
def ask():
    kept.request("GET", "/2021-04-23/credentials", headers={"Authorization": os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]})
    return json.loads(kept.getresponse().read())
ASKED = ask()
"""


def test_an_sdk_that_is_set_up_in_init_does_not_keep_it_from_being_copied(node: LiveNode) -> None:
    """It asks for credentials there, and again in each copy: what it got is said to end within its time of renewal."""
    with published(node, ASKED) as (name, version):
        assert version["SnapStart"]["OptimizationStatus"] == "On"
        first, again = node.invoke(name, {"run": "[ASKED, ask()]"}, Qualifier="1")[1]
        assert first["Token"] != again["Token"]
        assert first["Expiration"] < again["Expiration"]


@pytest.mark.parametrize(
    ("extra", "code", "words"),
    [
        ("raise ValueError('broken')", "FunctionError.RuntimeInitError", "ValueError: broken"),
        ("import nothing_such", "FunctionError.RuntimeInitError", "No module named 'nothing_such'"),
        ("hooks.register_before_snapshot(lambda: 1 / 0)", "FunctionError.RuntimeInitError", "division by zero"),
        ("os._exit(3)", "FunctionError.RuntimeInitError", "exit status 3"),
        ("bytearray(300 * 2**20)", "FunctionError.InitResourceExhausted", "Runtime.OutOfMemory"),
    ],
)
def test_an_init_that_fails_makes_the_version_fail(node: LiveNode, extra: str, code: str, words: str) -> None:
    with published(node, extra) as (name, version):
        assert (version["State"], version["StateReasonCode"]) == ("Failed", code)
        assert words in version["StateReason"]
        assert version["SnapStart"]["OptimizationStatus"] == "Off"
        assert refused(node, name) == (
            409,
            "ResourceConflictException",
            "The operation cannot be performed at this time. The function is currently in the following state: Failed",
        )
        assert any(line.startswith("INIT_REPORT") and "Status: error" in line for line in node.log(name))


def test_an_init_that_takes_too_long_makes_the_version_fail(node: LiveNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(birth, "PROVISIONED_INIT_LIMIT_S", 0.5)
    with published(node, "time.sleep(30)", Timeout=1) as (_, version):
        assert (version["State"], version["StateReasonCode"]) == ("Failed", "FunctionError.InitTimeout")


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("import threading\nthreading.Thread(target=time.sleep, args=(60,), name='ticker', daemon=True).start()", "a thread named ticker"),
        ("import subprocess\nkept = subprocess.Popen(['sleep', '60'])\nwhile open(f'/proc/{kept.pid}/comm').read() != 'sleep\\n': pass", "a child process, sleep"),
        ("import socket\nkept = socket.create_connection(('127.0.0.1', 9001))", "a TCP socket, connected to 127.0.0.1:9001"),
        ("kept = open('/tmp/data', 'w')", "an open file, /tmp/data, files in /tmp, data among them"),
        ("import mmap\nkept = mmap.mmap(-1, 4096)", "memory that is shared, /dev/zero (deleted)"),
    ],
)  # fmt: skip
def test_what_cannot_be_copied_starts_with_an_init_of_its_own_and_says_why(
    node: LiveNode, extra: str, words: str
) -> None:
    with published(node, extra) as (name, version):
        assert (version["State"], version["SnapStart"]["OptimizationStatus"]) == ("Active", "Off")
        tail, answer = node.tail(name, Qualifier="1")
        assert "Init Duration" in tail
        assert "Restore Duration" not in tail
        assert answer["seen"] == ["before 2", "before 1", "after 1", "after 2"]
        assert answer["environment"]["AWS_LAMBDA_INITIALIZATION_TYPE"] == "snap-start"
        (said,) = [line for line in node.log(name) if line.startswith("SNAPSTART")]
        assert f"Reason: it has {words}. Environments of version 1" in said


def test_a_hook_that_fails_after_the_restore(node: LiveNode) -> None:
    with published(node, "hooks.register_after_restore(lambda: 1 / 0)") as (name, version):
        assert version["State"] == "Active"
        assert refused(node, name) == (
            400,
            "SnapStartException",
            "The afterRestore() runtime hook encountered an error. For more information, check the Amazon CloudWatch logs.",
        )
        log = "".join(node.log(name))
        assert "[ERROR] ZeroDivisionError: division by zero" in log
        assert re.search(
            r"RESTORE_REPORT Restore Duration: [\d.]+ ms\tStatus: error\tError Type: Runtime.AfterRestoreError", log
        )


def test_a_restore_has_ten_seconds(node: LiveNode, monkeypatch: pytest.MonkeyPatch) -> None:
    assert RESTORE_LIMIT_S == 10.0
    monkeypatch.setattr(runtime, "RESTORE_LIMIT_S", 0.4)
    with published(node, "hooks.register_after_restore(time.sleep, 5)") as (name, _):
        assert refused(node, name)[:2] == (408, "SnapStartTimeoutException")
        assert any("RESTORE_REPORT" in line and "Status: timeout" in line for line in node.log(name))


def test_an_invocation_of_a_version_that_is_pending_is_refused(node: LiveNode) -> None:
    with function(node.lambda_, CODE % "time.sleep(2)", runtime=SNAPSTART_RUNTIME, SnapStart=SNAP) as name:
        made = node.lambda_.publish_version(FunctionName=name)
        assert (made["State"], made["StateReasonCode"]) == ("Pending", "Creating")
        assert refused(node, name)[:2] == (409, "ResourceConflictException")
        # $LATEST is another version: it can be changed meanwhile.
        node.lambda_.update_function_configuration(FunctionName=name, Description="changed meanwhile")
        seen(lambda: version_of(node, name)["State"] == "Active")
        assert node.invoke(name, {"run": "1"}, Qualifier="1")[1] == 1


def test_a_crash_is_followed_by_an_init_in_the_same_environment(node: LiveNode) -> None:
    with published(node) as (name, _):
        node.invoke(name, {"run": "open('/tmp/kept', 'w').write('x')"}, Qualifier="1")
        answer, body = node.invoke(name, {"run": "os._exit(7)"}, Qualifier="1")
        assert answer["FunctionError"] == "Unhandled"
        assert "exit status 7" in body["errorMessage"]
        after = node.invoke(name, {}, Qualifier="1")[1]
        assert after["files"] == ["kept"]
        assert after["seen"] == ["before 2", "before 1", "after 1", "after 2"]


def test_a_lost_template_is_made_anew_when_it_is_needed(node: LiveNode) -> None:
    with published(node) as (name, _):
        first = node.invoke(name, {}, Qualifier="1")[1]
        one = holder(node, name)
        assert one is not None
        assert one.shell is not None
        init = one.shell.sandbox.init_pid  # type: ignore[attr-defined]
        pid, *_ = map(int, Path(f"/proc/{init}/task/{init}/children").read_text().split())  # a copy may be on its way
        os.kill(pid, signal.SIGKILL)
        seen(lambda: one.state is State.ABSENT)
        assert node.invoke(name, {}, Qualifier="1")[1]["pid"] == first["pid"], "what was copied lives on"
        with ThreadPoolExecutor(2) as pool:
            busy = pool.submit(node.invoke, name, {"sleep": 2.5}, Qualifier="1")
            seen(lambda: node.environments()[0].state is not EnvironmentState.IDLE)
            both = [node.invoke(name, {}, Qualifier="1")[1]["built"], busy.result()[1]["built"]]
        assert len(set(both)) == 2, "one of the old template, one of the new"
        assert first["built"] in both
        assert version_of(node, name)["SnapStart"]["OptimizationStatus"] == "On"


def test_a_template_that_cannot_be_made_anew(node: LiveNode) -> None:
    """Its init succeeded when the version was published, and fails when the template is needed again."""
    flag = "if hasattr(time, 'never') or os.path.exists('/tmp/never'): raise ValueError\nprint('init')"
    with published(node, flag) as (name, _):
        one = holder(node, name)
        assert one is not None
        original = one.blueprint

        def broken(origin: Any, address: str) -> Any:
            plan = original.start(origin, address)
            return replace(plan, env={**plan.env, "_HANDLER": "nothing.such"})

        def lose() -> None:
            templates = node.node.environments.templates
            assert templates is not None
            assert one is not None
            assert one.shell is not None
            templates.lost(one.shell.environment)
            one.blueprint = replace(original, start=broken)
            node.node.environments.entry(one.version).blueprint = one.blueprint

        node.on_loop(lose)
        status, code, message = refused(node, name)
        assert (status, code) == (409, "SnapStartRegenerationFailureException")
        assert "No module named 'nothing'" in message


def test_nothing_is_left_of_a_version_that_is_deleted(node: LiveNode) -> None:
    with published(node) as (name, _):
        node.invoke(name, {}, Qualifier="1")
        assert holder(node, name) is not None
        node.lambda_.delete_function(FunctionName=name, Qualifier="1")
        assert holder(node, name) is None
        seen(lambda: node.on_loop(lambda: not node.node.environments._templates._fading))  # type: ignore[union-attr]
    seen(lambda: node.count() == 0)


def test_many_at_once_are_all_restored(node: LiveNode) -> None:
    with published(node) as (name, _), ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: node.invoke(name, {"sleep": 0.5}, Qualifier="1")[1], range(8)))
        assert all(one["seen"][-1] == "after 2" for one in answers)
        restored = [line for line in node.log(name) if line.startswith("RESTORE_START")]
        assert len({one["pid"] for one in answers}) == len(restored) > 1  # one that came late may find one that is free


def test_copies_are_made_ahead_while_a_version_is_in_use() -> None:
    with live_node(replace(LIMITS, copies_ahead=2), tier="container" if os.geteuid() == 0 else None) as node:
        if (refusal := node.on_loop(lambda: node.node.environments._templates._driver.copies)) is not None:  # type: ignore[union-attr]
            pytest.skip(refusal)
        with published(node) as (name, _):
            one = holder(node, name)
            assert one is not None

            def ahead() -> bool:
                assert one is not None
                assert one.shell is not None
                return len([c for c in one.shell.ready if c.runtime is not None]) == 2

            seen(ahead)
            answer = node.invoke(name, {}, Qualifier="1")[1]
            assert answer["seen"] == ["before 2", "before 1", "after 1", "after 2"], "hooks run when it is needed"
            seen(ahead)
            assert node.log(name).count("after 1\n") == 1


def test_json_logs_tell_of_the_restore(node: LiveNode) -> None:
    logging = {"LogFormat": "JSON"}
    with published(node, LoggingConfig=logging) as (name, _):
        node.invoke(name, {}, Qualifier="1")
        events = {}
        for line in node.log(name):
            event = json.loads(line) if line.startswith("{") else {}
            if "type" in event:
                events[event["type"]] = event["record"]
        assert events["platform.initReport"]["initializationType"] == "snap-start"
        assert events["platform.restoreStart"]["functionVersion"] == "1"
        assert events["platform.restoreReport"]["status"] == "success"
        metrics = events["platform.report"]["metrics"]
        assert metrics["billedDurationMs"] == -(-(metrics["durationMs"] + metrics["billedRestoreDurationMs"]) // 1)
        assert metrics["restoreDurationMs"] >= 0


def test_threads_of_copies_have_ids_of_their_own(node: LiveNode) -> None:
    run = (
        "[__import__('threading').main_thread().native_id == os.getpid(), "
        "[t.start() or t.join() for t in [__import__('threading').Thread(target=len, args=('x',))]]][0]"
    )
    with published(node, "import threading") as (name, _):
        assert node.invoke(name, {"run": run}, Qualifier="1")[1] is True


@pytest.fixture
def place() -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="lambent-node-"))
    yield base
    shutil.rmtree(base)


def test_a_server_that_starts_again_makes_a_template_when_it_is_needed(place: Path) -> None:
    tier = "container" if os.geteuid() == 0 else None
    with live_node(tier=tier, again=place) as node:
        if (refusal := node.on_loop(lambda: node.node.environments._templates._driver.copies)) is not None:  # type: ignore[union-attr]
            pytest.skip(refusal)
        for name, extra in (("kept", ""), ("refused", "kept = os.pipe()"), ("slow", "time.sleep(1.5)")):
            node.lambda_.create_function(
                FunctionName=name,
                Runtime=SNAPSTART_RUNTIME,
                Handler="app.handler",
                Role=ROLE,
                Timeout=20,
                Code={"ZipFile": package({"app.py": CODE % extra})},
                SnapStart=SNAP,
            )
        for name in ("kept", "refused"):
            seen(lambda name=name: version_of(node, name, "$LATEST")["State"] == "Active")  # type: ignore[misc]
            node.lambda_.publish_version(FunctionName=name)
            seen(lambda name=name: version_of(node, name)["State"] == "Active")  # type: ignore[misc]
        built = node.invoke("kept", {}, Qualifier="1")[1]["built"]
        node.lambda_.publish_version(FunctionName="slow")
    with live_node(tier=tier, again=place) as node:
        # What was pending is initialised by the start, what was not, when it is asked for.
        assert seen(lambda: version_of(node, "slow")["State"] == "Active")
        assert holder(node, "kept") is None
        shown = {name: version_of(node, name)["SnapStart"]["OptimizationStatus"] for name in ("kept", "refused")}
        assert shown == {"kept": "On", "refused": "Off"}
        tail, answer = node.tail("kept", {}, Qualifier="1")
        assert "Restore Duration" in tail
        assert answer["built"] != built, "another init"
        tail, _ = node.tail("refused", {}, Qualifier="1")
        assert "Init Duration" in tail
        assert not [line for line in node.log("refused") if "INIT_REPORT" in line][1:], "it is not tried once more"
