"""What a function finds around it in the container tier: variables, wrapper, endpoint, files, limits, its share."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from product_world import CACHE, FAILED, NODES, Function, deployed
from tests.support import PYTHON_RUNTIME, ROLE, client, package, unique

pytestmark = pytest.mark.timeout(600)

RESERVED = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_MAX_CONCURRENCY",
    "AWS_LAMBDA_METADATA_API",
    "AWS_LAMBDA_METADATA_TOKEN",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
]


def evaluated(expressions: str) -> dict[str, str]:
    """A function that evaluates Python and answers the value."""
    return {"app.py": f"import os, json, time\n{expressions}\ndef handler(event, context): return eval(event)\n"}


@pytest.fixture(scope="module")
def container(stocked: Any) -> None:
    if stocked.tier != "container":
        pytest.skip(f"this machine gives the {stocked.tier} tier")


@pytest.fixture(scope="module")
def asked(container: None, lambda_: Any) -> Iterator[Function]:
    """One function of 128 MB for the questions below."""
    with deployed(lambda_, evaluated(""), PYTHON_RUNTIME, MemorySize=128, Timeout=20) as function:
        yield function


# --- variables -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RESERVED)
def test_a_reserved_name_is_refused_in_the_services_words(lambda_: Any, name: str) -> None:
    with pytest.raises(ClientError) as error:
        lambda_.create_function(
            FunctionName=unique("reserved"),
            Runtime=PYTHON_RUNTIME,
            Handler="app.handler",
            Role=ROLE,
            Code={"ZipFile": package({"app.py": ""})},
            Environment={"Variables": {name: "mine"}},
        )
    answer = error.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert name in answer["Error"]["Message"]


def test_an_owner_sets_what_is_not_reserved(lambda_: Any) -> None:
    mine = {"TZ": "Asia/Tokyo", "LANG": "C", "PATH": "/bin", "LD_LIBRARY_PATH": "/x", "PYTHONPATH": "/var/task/lib"}
    mine |= {"AWS_XRAY_CONTEXT_MISSING": "IGNORE", "AWS_LAMBDA_LOG_LEVEL": "TRACE"}
    files = {**evaluated(""), "lib/extra.py": "VALUE = 5\n"}
    with deployed(lambda_, files, PYTHON_RUNTIME, variables=mine) as function:
        seen = function.invoke("dict(os.environ)").body
        assert {name: seen[name] for name in mine} == mine
        assert function.invoke("__import__('extra').VALUE").body == 5
        assert function.invoke("time.tzname[0]").body == "JST"


@pytest.mark.parametrize("client_name", ["lambent", "official"])
def test_a_wrapper_starts_the_runtime(lambda_: Any, client_name: str) -> None:
    name = package({**evaluated(""), "wrap": '#!/bin/bash\nexport WRAPPED="$1"\nexec "$@"\n'}, executable=("wrap",))
    function = Function(lambda_, unique("wrapped"))
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrap", "LAMBENT_RUNTIME_CLIENT": client_name}
    lambda_.create_function(
        FunctionName=function.name,
        Runtime=PYTHON_RUNTIME,
        Handler="app.handler",
        Role=ROLE,
        Code={"ZipFile": name},
        Environment={"Variables": variables},
        Timeout=10,
    )
    try:
        if FAILED.get(f"official-{PYTHON_RUNTIME}") and client_name == "official":
            pytest.skip(FAILED[f"official-{PYTHON_RUNTIME}"])
        assert function.invoke("os.environ['WRAPPED']").body == f"/var/lang/bin/{PYTHON_RUNTIME}"
        variables["AWS_LAMBDA_EXEC_WRAPPER"] = "/var/task/gone"
        lambda_.update_function_configuration(FunctionName=function.name, Environment={"Variables": variables})
        answer = function.invoke("1")
        assert answer.body == {
            "errorType": "Runtime.ExitError",
            "errorMessage": f"RequestId: {answer.request_id} Error: Runtime exited with error: exit status 127",
        }
        assert "/var/task/gone: does not exist" in answer.log
    finally:
        lambda_.delete_function(FunctionName=function.name)


# --- the platform's endpoint ---------------------------------------------------------------------------------------


def test_a_function_invokes_another_with_the_sdk(lambda_: Any, stocked: Any) -> None:
    if not (CACHE / "runtimes" / "sdks" / PYTHON_RUNTIME).is_dir():
        pytest.skip(FAILED.get(f"sdk-{PYTHON_RUNTIME}", "there is no SDK"))
    caller = """
import boto3
CLIENT = boto3.client("lambda")
def handler(event, context):
    answer = CLIENT.invoke(FunctionName=event["name"], Payload=b'"6 * 7"')
    return [answer["StatusCode"], answer["Payload"].read().decode()]
"""
    with (
        deployed(lambda_, evaluated(""), PYTHON_RUNTIME) as other,
        deployed(lambda_, {"app.py": caller}, PYTHON_RUNTIME, MemorySize=512, Timeout=30) as function,
    ):
        answer = function.invoke({"name": other.name})
    assert answer.body == [200, "42"], answer


def test_a_node_function_invokes_another_of_its_account_alone(stocked: Any) -> None:
    mine, theirs = client("lambda", stocked.url, account="111122223333"), client("lambda", stocked.url)
    caller = """
export const handler = async (event) => {
  const url = `${process.env.AWS_ENDPOINT_URL}/2015-03-31/functions/${event.name}/invocations`;
  const answer = await fetch(url, { method: "POST", body: '"6 * 7"' });
  return [answer.status, await answer.text()];
};
"""
    with (
        deployed(mine, evaluated(""), PYTHON_RUNTIME) as other,
        deployed(theirs, evaluated(""), PYTHON_RUNTIME) as foreign,
        deployed(mine, {"app.mjs": caller}, NODES[0], MemorySize=512) as function,
    ):
        assert function.invoke({"name": other.name}).body == [200, "42"]
        assert function.invoke({"name": foreign.name}).body[0] == 404
        assert function.invoke({"name": foreign.facts()["FunctionArn"]}).body[0] in (403, 404)
    mine.close()
    theirs.close()


# --- files ---------------------------------------------------------------------------------------------------------


def test_the_package_is_read_only_and_everything_but_tmp(asked: Function) -> None:
    code = """
import errno, os
def handler(event, context):
    seen = {}
    for place in event:
        try:
            open(os.path.join(place, "x"), "w").close()
            seen[place] = "written"
        except OSError as error:
            seen[place] = errno.errorcode[error.errno]
    return [seen, os.getuid(), os.getgid(), os.getcwd(), os.stat("/tmp").st_mode & 0o7777, os.access("/var/task/app.py", os.W_OK)]
"""
    places = ["/tmp", "/var/task", "/opt", "/var/runtime", "/var/lang", "/etc", "/", "/usr"]
    with deployed(asked.lambda_, {"app.py": code}, PYTHON_RUNTIME) as function:
        seen, uid, gid, cwd, mode, writable = function.invoke(places).body
    assert seen.pop("/tmp") == "written"
    assert set(seen.values()) <= {"EROFS", "EACCES"}
    assert (cwd, mode, writable) == ("/var/task", 0o1777, False)
    assert 0 not in (uid, gid)


def test_nothing_of_the_host_is_in_the_environment(lambda_: Any, asked: Function) -> None:
    os.environ["LAMBENT_TEST_MARK"] = "host"
    try:
        seen = asked.invoke("dict(os.environ)").body
        assert "LAMBENT_TEST_MARK" not in seen
        assert not {"HOME", "USER", "LOGNAME", "SHELL", "HOSTNAME", "VIRTUAL_ENV"} & seen.keys()
        assert asked.invoke("os.path.exists('/root') and os.listdir('/root')").body in (False, [])
        assert asked.invoke("os.path.exists('/etc/shadow')").body is False
        assert int(asked.invoke("len([p for p in os.listdir('/proc') if p.isdigit()])").body) < 5
    finally:
        del os.environ["LAMBENT_TEST_MARK"]


def test_tmp_is_private_and_stays_with_its_environment(lambda_: Any, asked: Function) -> None:
    asked.invoke("open('/tmp/mark', 'w').write('mine')")
    assert asked.invoke("open('/tmp/mark').read()").body == "mine"
    with deployed(lambda_, evaluated(""), PYTHON_RUNTIME) as other:
        assert other.invoke("os.listdir('/tmp')").body == []


FILL = """
import errno, os
def handler(event, context):
    done = 0
    with open("/tmp/big", "wb") as file:
        try:
            for _ in range(event):
                file.write(b"x" * 1048576); file.flush(); done += 1
        except OSError as error:
            return [done, errno.errorcode[error.errno]]
    size = os.statvfs("/tmp")
    return [done, size.f_blocks * size.f_frsize // 1048576]
"""


@pytest.fixture(scope="module")
def tmp_disk(container: None, stocked: Any) -> None:
    said = " ".join(stocked.log.read_text().split())
    if "/tmp is a tmpfs" in said:
        pytest.skip(said[said.index("/tmp is a tmpfs") : said.index(" runtimes ")])


def test_tmp_has_its_size_and_is_not_charged_to_memory(tmp_disk: None, lambda_: Any) -> None:
    options: dict[str, Any] = {"MemorySize": 128, "EphemeralStorage": {"Size": 512}, "Timeout": 60}
    with deployed(lambda_, {"app.py": FILL}, PYTHON_RUNTIME, **options) as function:
        done, size_mb = function.invoke(300).body
        assert done == 300  # in a function of 128 MB
        assert 480 <= size_mb <= 540
        done, word = function.invoke(600).body
        assert (word, 480 <= done <= 540) == ("ENOSPC", True)
        assert function.invoke(1).body[0] == 1


def test_a_larger_tmp_is_larger(tmp_disk: None, lambda_: Any) -> None:
    with deployed(lambda_, {"app.py": FILL}, PYTHON_RUNTIME, EphemeralStorage={"Size": 1_024}) as function:
        done, size_mb = function.invoke(1).body
    assert done == 1
    assert 980 <= size_mb <= 1_070


# --- limits --------------------------------------------------------------------------------------------------------


def test_descriptors_and_processes_end_at_1024(asked: Function) -> None:
    assert asked.invoke("list(__import__('resource').getrlimit(7))").body == [1_024, 1_024]
    code = """
import os, threading, time
def handler(event, context):
    files = []
    try:
        while len(files) < 5000: files.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        opened = [len(files), error.errno]
    for file in files: os.close(file)
    stop, threads = threading.Event(), []
    try:
        while len(threads) < 2000:
            thread = threading.Thread(target=stop.wait); thread.start(); threads.append(thread)
        started = [len(threads), None]
    except RuntimeError as error:
        started = [len(threads), str(error)]
    stop.set()
    return [opened, started]
"""
    with deployed(asked.lambda_, {"app.py": code}, PYTHON_RUNTIME, MemorySize=512, Timeout=60) as function:
        opened, started = function.invoke({}).body
    assert opened[1] == 24  # EMFILE
    assert 1_000 <= opened[0] < 1_024
    assert started[1] == "can't start new thread"
    assert 900 <= started[0] <= 1_024


def test_memory_is_limited_and_its_peak_is_reported(container: None, lambda_: Any) -> None:
    """The peak is its environment's so far, as on the service; one invocation's kill is not the next one's."""

    def peak(answer: Any) -> int:
        found = re.search(r"Max Memory Used: (\d+) MB", "\n".join(answer.log))
        assert found is not None, answer.log
        return int(found[1])

    with deployed(lambda_, evaluated(""), PYTHON_RUNTIME, MemorySize=256, Timeout=20) as function:
        assert peak(function.invoke("1")) < 100
        fits = function.invoke("len(bytearray(150 * 1048576))")
        assert fits.body == 150 * 1_048_576
        assert 150 <= peak(fits) < 256
        assert peak(function.invoke("1")) == peak(fits), "it was that of the environment"
        over = function.invoke("len(bytearray(400 * 1048576))")
        assert over.body["errorType"] == "Runtime.OutOfMemory"
        assert peak(over) == 256
        after = function.invoke("1")
        assert after.body == 1
        if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):  # version 2 can't begin a peak anew
            assert peak(after) < 100, "all that held it has ended"


SPIN = """
import time
def share():
    wall, used = time.monotonic(), time.process_time()
    while time.monotonic() - wall < 1.5:
        pass
    return (time.process_time() - used) / (time.monotonic() - wall)
INIT = share() if %r else None
def handler(event, context):
    return INIT if event == "init" else share()
"""


def test_the_share_of_the_processor_is_that_of_the_memory(container: None, lambda_: Any) -> None:
    """1,769 MB are one whole processor; the bound is above what one period of 100 ms more would give."""
    shares = {}
    for memory_mb in (128, 512):
        with deployed(lambda_, {"app.py": SPIN % False}, PYTHON_RUNTIME, MemorySize=memory_mb) as function:
            shares[memory_mb] = function.invoke({}).body
    for memory_mb, share in shares.items():
        fair = memory_mb / 1_769
        assert fair * 0.4 <= share <= fair * 1.5, shares


def test_init_has_full_speed_whatever_the_memory(container: None, lambda_: Any) -> None:
    """The bound leaves room for a machine that is busy otherwise."""
    with deployed(lambda_, {"app.py": SPIN % True}, PYTHON_RUNTIME, MemorySize=128, Timeout=20) as function:
        in_init, in_handler = function.invoke("init").body, function.invoke({}).body
    assert in_init > 2 * in_handler, (in_init, in_handler)
