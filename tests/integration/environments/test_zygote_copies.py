"""Zygotes in the whole product: what copies share with whom, and that nothing of one function reaches another through them."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.integration.environments.live_node import LIMITS, LiveNode, live_node, seen
from tests.support import PYTHON_RUNTIME, function

from lambent.environments.blanks import STEPS, Blanks
from lambent.sandbox.container import ContainerZygote

pytestmark = pytest.mark.leaves_session_state  # blanks come and go beside the tests; the node's end takes them all

WAITING = replace(LIMITS, blanks=2, waiting_max=8, has_zygotes=True)
SEEN = """import ctypes, os, random, ssl, sys, tempfile, uuid
def handler(event, context):
    import secrets
    return {
        "layout": id(sys.modules), "hash": hash("a text"), "pid": os.getpid(), "parent": os.getppid(),
        "drawn": [os.urandom(8).hex(), random.random(), ssl.RAND_bytes(8).hex(), str(uuid.uuid1()), str(uuid.uuid4()),
                  secrets.token_hex(8), next(tempfile._get_candidate_names())],
        "open": sorted(os.listdir("/proc/self/fd"))[:4], "listens": context.function_name,
    }
"""


def add_sdk(runtimes: Path) -> None:
    """The SDK of the environment that runs the tests, but for the models of services."""
    import botocore

    packages = Path(botocore.__file__).parent.parent
    for name in ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3"):
        ignored = shutil.ignore_patterns("data", "__pycache__")
        shutil.copytree(packages / name, runtimes / "sdks" / PYTHON_RUNTIME / name, ignore=ignored)
    shutil.copy(packages / "six.py", runtimes / "sdks" / PYTHON_RUNTIME)


@pytest.fixture(scope="module")
def node() -> Iterator[LiveNode]:
    with live_node(WAITING, tier="container" if os.geteuid() == 0 else None, stock=add_sdk) as node:
        if not node.on_loop(lambda: blanks(node).zygotes is not None):
            pytest.skip("this tier has no zygotes")
        yield node


def blanks(node: LiveNode) -> Blanks:
    return node.node.environments.blanks


def steps(node: LiveNode, call: Callable[[], Any]) -> dict[str, int]:
    """How the cold starts got their runtime while `call` ran."""
    before = node.on_loop(lambda: dict(blanks(node).steps))
    call()
    after = node.on_loop(lambda: dict(blanks(node).steps))
    return {
        name: after.get(name, 0) - before.get(name, 0) for name in STEPS if after.get(name, 0) != before.get(name, 0)
    }


def copies(node: LiveNode, pool: str = f"000000000000/{PYTHON_RUNTIME}") -> int:
    """Copies that wait in one pool."""

    def count() -> int:
        every = [one.runtime for ready in blanks(node)._ready.values() for one in ready]
        ready = [one for one in every if one is not None]
        return sum(one.pool == pool and one.is_copy and one.is_waiting() for one in ready)

    return node.on_loop(count)


def pid_of(node: LiveNode) -> int | None:
    """Of the zygote that serves now, if one does."""

    def look() -> int | None:
        running = blanks(node).zygotes._running.get(f"000000000000/{PYTHON_RUNTIME}")  # type: ignore[union-attr]
        return None if running is None else running.zygote.pid  # type: ignore[attr-defined]

    return node.on_loop(look)


def zygote(node: LiveNode) -> ContainerZygote:
    one = node.on_loop(lambda: blanks(node).zygotes._running[f"000000000000/{PYTHON_RUNTIME}"])  # type: ignore[union-attr]
    assert isinstance(one.zygote, ContainerZygote)
    return one.zygote


def answers(node: LiveNode, number: int, code: str = SEEN, **options: Any) -> list[Any]:
    """Of so many functions, each in an environment of its own, by a copy that waited."""
    found: list[Any] = []
    for _ in range(number):
        with function(node.lambda_, code, **options) as name:
            seen(lambda: copies(node) >= 1)
            assert steps(node, lambda name=name: found.append(node.invoke(name, {})[1])) == {"waiting": 1}  # type: ignore[misc]
    return found


def test_copies_share_their_layout_and_nothing_they_draw(node: LiveNode) -> None:
    found = answers(node, 3)
    assert len({one["layout"] for one in found}) == len({one["hash"] for one in found}) == 1, "they are copies"
    for drawn in zip(*(one["drawn"] for one in found), strict=True):
        assert len(set(drawn)) == 3, drawn
    assert len({one["pid"] for one in found}) == 3
    assert {one["parent"] for one in found} == {1}
    assert all(one["open"] == ["0", "1", "2", "3"] for one in found)


def test_preload_off_has_a_layout_and_a_hash_seed_of_its_own(node: LiveNode) -> None:
    (copy,) = answers(node, 1)
    own: list[Any] = []
    for _ in range(2):
        variables = {"Variables": {"LAMBENT_PRELOAD": "off"}}
        with function(node.lambda_, SEEN, Environment=variables) as name:
            took = steps(node, lambda name=name: own.append(node.invoke(name, {})[1]))  # type: ignore[misc]
            assert set(took) <= {"started", "started_dry"}
    assert len({one["layout"] for one in (copy, *own)}) == 3
    assert len({one["hash"] for one in (copy, *own)}) == 3


def test_what_one_function_leaves_behind_the_next_does_not_find(node: LiveNode) -> None:
    leave = """import builtins, json, os, random, sys, tempfile
def handler(event, context):
    builtins.left = json.left = sys.left = event
    os.environ["LEFT"] = event
    random.seed(event)
    open("/tmp/left", "w").write(event)
    os.dup2(1, 77)
    sys.modules["left"] = os
    sys.path.append(event)
    return "left"
"""
    look = """import builtins, json, os, random, re, sys
def handler(event, context):
    found = [m.__name__ for m in (builtins, json, sys) if hasattr(m, "left")]
    found += [n for n in os.environ if n == "LEFT"] + [n for n in os.listdir("/tmp") if n == "left"]
    found += [n for n in os.listdir("/proc/self/fd") if n == "77"] + [n for n in sys.modules if n == "left"]
    found += [n for n in sys.path if n.startswith("mark")]
    hits = 0
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            start, end = (int(n, 16) for n in line.split()[0].split("-"))
            if line.split()[1][0] == "r" and "[v" not in line:
                memory.seek(start)
                hits += len(set(re.findall(b"mark[0-9a-f]{32}", memory.read(end - start))))
    return {"found": found, "hits": hits, "ids": [n for n in open("/proc/self/environ").read().split(chr(0)) if "KEY" in n]}
"""
    mark = f"mark{os.urandom(16).hex()}"
    with function(node.lambda_, leave) as name:
        seen(lambda: copies(node) >= 1)
        assert node.invoke(name, mark)[1] == "left"
    (second,) = answers(node, 1, look)
    assert second == {"found": [], "hits": 0, "ids": []}


def test_the_zygote_has_seen_no_function(node: LiveNode) -> None:
    """Its memory, read by root, holds no name, no variable and no key of a function that ran by its copies."""
    if os.geteuid() != 0:
        pytest.skip("only root reads a zygote's memory")
    mark = f"mark{os.urandom(16).hex()}"
    with function(node.lambda_, SEEN, Environment={"Variables": {"SECRET": mark}}) as name:
        seen(lambda: copies(node) >= 1)
        assert node.invoke(name, {"event": mark})[1]["listens"] == name
        held = bytearray()
        pid = zygote(node).pid
        with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
            for line in maps:
                start, end = (int(word, 16) for word in line.split()[0].split("-"))
                if line.split()[1][:2] == "rw":
                    memory.seek(start)
                    held += memory.read(end - start)
        assert b"_lambent_runtime" in held, "it was read"
        assert mark.encode() not in held
        assert name.encode() not in held
        assert b"AWS_SECRET_ACCESS_KEY=" not in held
        variables = Path(f"/proc/{pid}/environ").read_bytes()
        assert not any(word in variables for word in (b"KEY", b"SECRET", b"TOKEN", b"FUNCTION_NAME", b"_HANDLER"))


def test_a_zygote_that_is_killed_costs_nobody_anything(node: LiveNode) -> None:
    with function(node.lambda_, SEEN) as first, function(node.lambda_, SEEN) as second:
        seen(lambda: copies(node) >= 1)
        assert node.invoke(first, {})[1]["listens"] == first
        pid = zygote(node).pid
        os.kill(pid, signal.SIGKILL)
        assert node.invoke(first, {})[1]["listens"] == first, "its copies live on"
        assert node.invoke(second, {})[1]["listens"] == second
        seen(lambda: pid_of(node) not in (None, pid))


def test_accounts_have_zygotes_of_their_own(node: LiveNode) -> None:
    import boto3

    endpoint = node.lambda_.meta.endpoint_url
    layouts = []
    for account in ("111111111111", "222222222222"):
        client = boto3.client(
            "lambda",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=account,
            aws_secret_access_key="x",
        )
        with function(client, SEEN) as name:
            seen(lambda pool=f"{account}/{PYTHON_RUNTIME}": copies(node, pool) >= 1)  # type: ignore[misc]
            answer = json.loads(client.invoke(FunctionName=name)["Payload"].read())
            layouts.append((answer["layout"], answer["hash"]))
    (own_copy,) = answers(node, 1)
    layouts.append((own_copy["layout"], own_copy["hash"]))
    assert len({layout for layout, _ in layouts}) == len({seed for _, seed in layouts}) == 3


def test_a_dry_pool_is_said_step_by_step(node: LiveNode) -> None:
    """As the door tells it: waiting, forked, started, with and without a ready sandbox."""
    import urllib.request

    url = f"{node.lambda_.meta.endpoint_url}/_lambent/pools"
    with urllib.request.urlopen(url) as answer:
        told = json.loads(answer.read())
    assert set(told["steps"]) == set(STEPS)
    assert told["steps"]["waiting"] > 0
    assert told["zygotes"] >= 1
    assert told["copies"] >= told["steps"]["waiting"]
    assert told["heldBytes"] > 1 << 20
    assert set(told) == {"steps", "ready", "waiting", "heldBytes", "zygotes", "zygotesStarted", "copies"}


WHOLE = """import asyncio, os, subprocess, sys, threading
async def later():
    await asyncio.sleep(0)
    return "later"
def handler(event, context):
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(threading.current_thread() is not threading.main_thread()))
    thread.start()
    thread.join()
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    return [list(sys.version_info[:2]), elsewhere, subprocess.run(["sh", "-c", "exit 4"]).returncode,
            os.waitpid(pid, 0)[1] >> 8, asyncio.run(later()), threading.active_count(),
            threading.get_native_id() == os.getpid()]
"""


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
def test_a_copy_is_a_whole_process_in_every_python(node: LiveNode, version: str) -> None:
    """One build of the fork object for all: threads, children, event loops and the ids that libraries keep are right."""
    runtime = f"python{version}"
    with function(node.lambda_, WHOLE, runtime=runtime) as name:
        seen(lambda: copies(node, f"000000000000/{runtime}") >= 1)
        answer = node.invoke(name, {})[1]
    assert answer == [[int(word) for word in version.split(".")], [True], 4, 7, "later", 1, True]


CALLBACKS = """import sys
LOADED = "ctypes" in sys.modules
kept = open("/tmp/first", "w+")  # with the lowest number that is free
import ctypes
def handler(event, context):
    made = [ctypes.CFUNCTYPE(ctypes.c_int)(lambda number=number: number) for number in range(event)]
    return [LOADED, sum(one() for one in made)]
"""


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
def test_a_copy_makes_callbacks_without_end(node: LiveNode, version: str) -> None:
    """libffi (3.4 and later, as some systems build it) maps code of its own file for each hundred, by a descriptor that it
    opened when ctypes was imported. A copy that inherited the import without the descriptor had MemoryError, or mapped
    whatever file had the number."""
    runtime = f"python{version}"
    with function(node.lambda_, CALLBACKS, runtime=runtime) as name:
        seen(lambda: copies(node, f"000000000000/{runtime}") >= 1)
        found: list[Any] = []
        assert steps(node, lambda: found.append(node.invoke(name, 500)[1])) == {"waiting": 1}
    assert found == [[False, sum(range(500))]]


USES_SDK = """import sys
LOADED = sorted(name for name in ("boto3", "botocore.client", "urllib3") if name in sys.modules)
import boto3, urllib3
def handler(event, context):
    return {"loaded": LOADED, "file": boto3.__file__, "urllib3": urllib3.__file__, "hash": hash("a text")}
"""
SDK_POOL = f"000000000000/{PYTHON_RUNTIME}/sdk"


def test_a_function_that_uses_the_sdk_gets_a_copy_that_has_it_loaded(node: LiveNode) -> None:
    with function(node.lambda_, USES_SDK) as name:
        seen(lambda: copies(node, SDK_POOL) >= 1)
        took: list[Any] = []
        assert steps(node, lambda: took.append(node.invoke(name, {})[1])) == {"waiting": 1}
    assert took[0]["loaded"] == ["boto3", "botocore.client", "urllib3"]
    assert took[0]["file"] == "/var/sdk/boto3/__init__.py"
    (plain,) = answers(node, 1)
    assert plain["hash"] != took[0]["hash"], "another flavour, another zygote"


def test_an_sdk_that_the_package_brings_is_its_own(node: LiveNode) -> None:
    """Whole, and in parts: a preloaded boto3 would go on using the urllib3 it was loaded with."""
    brought = {"app.py": USES_SDK, "boto3/__init__.py": "", "urllib3/__init__.py": ""}
    with function(node.lambda_, brought) as name:
        assert node.invoke(name, {})[1]["file"] == "/var/task/boto3/__init__.py"
    parts = "import sys, urllib3\nLOADED = 'boto3' in sys.modules\ndef handler(event, context):\n    return [LOADED, urllib3.__file__]  # boto3\n"
    with function(node.lambda_, {"app.py": parts, "urllib3/__init__.py": ""}) as name:
        seen(lambda: copies(node, SDK_POOL) >= 1)
        took: list[Any] = []
        assert steps(node, lambda: took.append(node.invoke(name, {})[1])) == {"waiting": 1}
    assert took[0] == [False, "/var/task/urllib3/__init__.py"]
