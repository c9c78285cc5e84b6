"""Runtimes started ahead: whoever gets one can't tell, but by how soon it answers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.integration.environments.live_node import LIMITS, LiveNode, live_node, seen
from tests.machine import NODE_RUNTIME
from tests.support import PYTHON_RUNTIME, function, package

from lambent.environments.blanks import Blanks

pytestmark = pytest.mark.leaves_session_state  # blanks come and go beside the tests; the node's end takes them all

WAITING = replace(LIMITS, blanks=2, waiting_max=8)
PYTHON = """import json, logging, os, random, sys, time, uuid
print("loaded")
SEEN = {"argv": sys.argv[:1], "cwd": os.getcwd(), "path": sys.path[:4], "zone": time.tzname[0]}
def handler(event, context):
    logging.getLogger().warning("a line")
    hidden = sorted(name for name in os.environ if "LAMBENT" in name or "REHEARSAL" in name)
    return {**SEEN, "hidden": hidden, "environment": dict(os.environ), "random": random.random(), "uuid": str(uuid.uuid4()),
            "listens": context.function_name, "version": context.function_version, "open": sorted(os.listdir("/proc/self/fd"))}
"""
NODE = """console.log("loaded");
const seen = { argv: process.argv.slice(1), cwd: process.cwd(), zone: new Date(0).toString() };
export const handler = async (event, context) => ({
  ...seen, hidden: Object.keys(process.env).filter((name) => /LAMBENT|REHEARSAL/.test(name)), environment: { ...process.env },
  random: Math.random(), listens: context.functionName, version: context.functionVersion,
  extras: Object.keys(globalThis).filter((name) => name === "awslambda"), exits: process.listenerCount("beforeExit"),
});
"""


@pytest.fixture(scope="module", params=["copies", "programs"])
def node(request: pytest.FixtureRequest) -> Iterator[LiveNode]:
    """What waits for Python functions is a zygote's copies, or programs of their own."""
    limits = replace(WAITING, has_zygotes=request.param == "copies")
    with live_node(limits, tier="container" if os.geteuid() == 0 else None) as node:
        if not node.on_loop(lambda: blanks(node)._waiting_max):
            pytest.skip("this tier can't mount code under a running program: no memory control group")
        if limits.has_zygotes and not node.on_loop(lambda: blanks(node).zygotes is not None):
            pytest.skip("this tier has no zygotes")
        with function(node.lambda_, "def handler(event, context):\n    return event\n") as name:
            node.invoke(name, {})  # from then on there are some for whoever comes, also for a test that runs alone
        yield node


def blanks(node: LiveNode) -> Blanks:
    return node.node.environments.blanks


def waiting(node: LiveNode, image: str) -> int:
    def count() -> int:
        ready = blanks(node)._ready.get(image, ())
        return sum(one.runtime is not None and one.runtime.is_waiting() for one in ready)

    return node.on_loop(count)


def taken(node: LiveNode, call: Callable[[], Any]) -> tuple[int, int]:
    """Waiting runtimes used, and missed, while `call` ran."""
    before = node.on_loop(lambda: (blanks(node).hits, blanks(node).misses))
    call()
    after = node.on_loop(lambda: (blanks(node).hits, blanks(node).misses))
    return after[0] - before[0], after[1] - before[1]


def fresh(node: LiveNode, code: str, runtime: str, **options: Any) -> Any:
    """What a function sees whose interpreter was started for it."""
    variables = {"LAMBENT_PRELOAD": "off"}
    with function(node.lambda_, code, runtime=runtime, Environment={"Variables": variables}, **options) as name:
        answer: list[Any] = []
        assert taken(node, lambda: answer.append(node.invoke(name, {})[1])) == (0, 0)
        return answer[0]


@pytest.mark.parametrize(("runtime", "code"), [(PYTHON_RUNTIME, PYTHON), (NODE_RUNTIME, NODE)])
def test_a_waiting_runtime_becomes_the_functions(node: LiveNode, runtime: str, code: str) -> None:
    handler = {"Handler": "index.handler"} if "node" in runtime else {}
    expected = fresh(node, code, runtime, **{key.lower(): value for key, value in handler.items()})
    options = {key.lower(): value for key, value in handler.items()}
    with function(node.lambda_, code, runtime=runtime, **options) as name:
        seen(lambda: waiting(node, runtime) >= 1)
        found: list[tuple[str, Any]] = []
        assert taken(node, lambda: found.append(node.tail(name, {}))) == (1, 0)
        tail, answer = found[0]
        assert "Init Duration" in tail
        lines = node.log(name)
        assert [line.split("\t")[-1].strip() for line in lines if "loaded" in line] == ["loaded"]
    own = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_LOG_STREAM_NAME")
    own += ("AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_LOG_GROUP_NAME", "_X_AMZN_TRACE_ID", "LAMBENT_PRELOAD")
    for one in (expected, answer):
        one["environment"] = {key: value for key, value in one["environment"].items() if key not in own}
        for changing in ("random", "uuid", "listens", "hidden"):
            one.pop(changing, None)
    assert answer.pop("environment").items() ^ expected.pop("environment").items() == set()
    assert answer == expected


def test_two_that_waited_share_no_randomness(node: LiveNode) -> None:
    answers = []
    for _ in range(2):
        seen(lambda: waiting(node, PYTHON_RUNTIME) >= 1)
        with function(node.lambda_, PYTHON) as name:
            answers.append(node.invoke(name, {})[1])
    assert answers[0]["random"] != answers[1]["random"]
    assert answers[0]["uuid"] != answers[1]["uuid"]


def test_a_functions_own_modules_are_not_shadowed(node: LiveNode) -> None:
    code = {
        "app.py": "import base64, hmac\nfrom urllib import parse\n"
        "def handler(event, context):\n    return [base64.OWN, hmac.OWN, parse.__name__]\n",
        "base64.py": "OWN = 'mine'\n",
        "hmac/__init__.py": "OWN = 'mine too'\n",
    }
    with function(node.lambda_, code) as name:
        seen(lambda: waiting(node, PYTHON_RUNTIME) >= 1)
        answer: list[Any] = []
        assert taken(node, lambda: answer.append(node.invoke(name, {})[1])) == (1, 0)
        assert answer[0] == ["mine", "mine too", "urllib.parse"]


@pytest.mark.skipif(shutil.which("cc") is None, reason="a shared library has to be made: cc is not on this machine")
def test_shared_libraries_of_package_and_layer_are_found(node: LiveNode, tmp_path: Path) -> None:
    libraries = {}
    for name, value in (("mine", 1), ("layers", 2)):
        (tmp_path / "of.c").write_text(f"int of_{name}(void) {{ return {value}; }}\n")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "of.so", tmp_path / "of.c"], check=True)
        libraries[name] = (tmp_path / "of.so").read_bytes()
    code = "import ctypes\ndef handler(event, context):\n    return getattr(ctypes.CDLL(f'lib{event}.so'), f'of_{event}')()\n"
    published = node.lambda_.publish_layer_version(
        LayerName="libraries", Content={"ZipFile": package({"lib/liblayers.so": libraries["layers"]})}
    )
    files = {"app.py": code, "lib/libmine.so": libraries["mine"]}
    with function(node.lambda_, files, Layers=[published["LayerVersionArn"]]) as name:
        seen(lambda: waiting(node, PYTHON_RUNTIME) >= 1)
        answers: list[Any] = []
        assert taken(node, lambda: answers.append(node.invoke(name, "mine")[1])) == (1, 0)
        answers.append(node.invoke(name, "layers")[1])
    assert answers == [1, 2]
    node.lambda_.delete_layer_version(LayerName="libraries", VersionNumber=published["Version"])


@pytest.mark.parametrize("variables", [{"PYTHONHASHSEED": "1"}, {"LD_PRELOAD": ""}, {"LAMBENT_PRELOAD": "off"}])
def test_who_needs_a_start_of_its_own_gets_it(node: LiveNode, variables: dict[str, str]) -> None:
    code = "import os\ndef handler(event, context):\n    return hash('seeded')\n"
    with function(node.lambda_, code, Environment={"Variables": variables}) as name:
        seen(lambda: waiting(node, PYTHON_RUNTIME) >= 1)
        assert taken(node, lambda: node.invoke(name, {})) == (0, 0)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("raise RuntimeError('at import')\n", "RuntimeError"),
        ("def handler(event, context:\n", "Runtime.UserCodeSyntaxError"),
        ("import nothing_of_that_name\n", "Runtime.ImportModuleError"),
        ("import os\nos._exit(3)\n", "Runtime.ExitError"),
    ],
)
def test_a_failing_init_is_told_as_ever(node: LiveNode, code: str, error: str) -> None:
    with function(node.lambda_, code) as name:
        seen(lambda: waiting(node, PYTHON_RUNTIME) >= 1)
        answer, body = node.invoke(name, {})
        assert answer["FunctionError"] == "Unhandled"
        assert body["errorType"] == error


def test_limits_hold_for_a_runtime_that_was_there_before_them(node: LiveNode) -> None:
    code = "def handler(event, context):\n    return len(bytearray(event * 1048576))\n"
    with function(node.lambda_, code, MemorySize=256) as name:
        seen(lambda: waiting(node, PYTHON_RUNTIME) >= 1)
        assert node.invoke(name, 100)[1] == 100 * 1_048_576
        answer, body = node.invoke(name, 400)
        assert answer["FunctionError"] == "Unhandled"
        assert body["errorType"] == "Runtime.OutOfMemory"


def test_a_waiting_runtime_that_is_killed_is_replaced(node: LiveNode) -> None:
    with function(node.lambda_, PYTHON) as name:
        seen(lambda: waiting(node, PYTHON_RUNTIME) >= 2)
        ready = node.on_loop(lambda: [one for one in blanks(node)._ready[PYTHON_RUNTIME] if one.runtime is not None])
        inits: list[Any] = [one.sandbox for one in ready]
        for sandbox in inits:
            for task in os.listdir(f"/proc/{sandbox.init_pid}/task"):
                for child in Path(f"/proc/{sandbox.init_pid}/task/{task}/children").read_text().split():
                    os.kill(int(child), signal.SIGKILL)
        seen(lambda: all(one.runtime is not None and one.runtime.ended is not None for one in ready))
        assert node.invoke(name, {})[1]["listens"] == name
        seen(lambda: waiting(node, PYTHON_RUNTIME) >= 2)
