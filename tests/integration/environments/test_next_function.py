"""What one function leaves is seen by no other through any pool: discs, namespaces, groups, user ids, waiting runtimes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.environments.live_node import LIMITS, LiveNode, live_node, seen
from tests.support import function

MARK = bytes(byte ^ 0x5A for byte in b"the first function's secret, 4711").hex()
"""Written down like this, so that whoever looks for it does not find its own code."""

LEAVES = f"""
import ctypes, os, random, socket, subprocess, sys, tempfile, threading
MARK = bytes(b ^ 0x5A for b in bytes.fromhex("{MARK}"))
kept = [MARK * 1000 for _ in range(1000)]
def handler(event, context):
    libc = ctypes.CDLL(None)
    os.environ["LEFT_BY_THE_FIRST"] = MARK.decode()
    home = tempfile.gettempdir()
    with open(home + "/secret", "wb") as file:
        file.write(MARK * 100_000)
    random.seed(1)
    kept.append(socket.socket(socket.AF_UNIX))
    kept[-1].bind("\\0left-by-the-first")
    kept[-1].listen()
    kept.append(os.memfd_create("left"))
    os.write(kept[-1], MARK * 1000)
    if event.get("isolated"):
        assert libc.shmget(4711, 4096, 0o1666) >= 0
    kept.append(subprocess.Popen(["/bin/sleep", "600"], start_new_session=True))
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return {{"id": os.environ["AWS_ACCESS_KEY_ID"], "token": os.environ["AWS_SESSION_TOKEN"], "sleeper": kept[-1].pid}}
"""

LOOKS = f"""
import os, random, re, socket, ssl, tempfile, uuid
MARK = bytes(b ^ 0x5A for b in bytes.fromhex("{MARK}"))
def in_memory():
    found = 0
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            first, last = (int(word, 16) for word in line.split()[0].split("-"))
            if "rw" in line.split()[1] and "[v" not in line and last - first < 1 << 28:
                memory.seek(first)
                try:
                    found += memory.read(last - first).count(MARK)
                except OSError:
                    continue
    return found
def sleeps(pid):
    try:
        return b"sleep" in open("/proc/" + pid + "/cmdline", "rb").read()
    except OSError:
        return False
def reached(address):
    try:
        socket.socket(socket.AF_UNIX).connect(address)
    except OSError:
        return False
    return True
def handler(event, context):
    return {{
        "memory": in_memory(),
        "tmp": os.listdir(tempfile.gettempdir()),
        "variables": [name for name in os.environ if "LEFT_BY" in name],
        "id": os.environ["AWS_ACCESS_KEY_ID"],
        "token": os.environ["AWS_SESSION_TOKEN"],
        "reached": reached("\\0left-by-the-first"),
        "shared": open("/proc/sysvipc/shm").read().splitlines()[1:],
        "sent": [line.split()[1:] for line in open("/proc/net/dev") if "lo:" in line][0],
        "unix": len(open("/proc/net/unix").read().splitlines()),
        "sleepers": [p for p in os.listdir("/proc") if p.isdigit() and sleeps(p)],
        "drawn": [random.random(), uuid.uuid4().hex, ssl.RAND_bytes(8).hex()],
    }}
"""


@pytest.fixture(params=["container", "rootless", "confined"])
def tiered(request: pytest.FixtureRequest) -> Iterator[LiveNode]:
    with live_node(LIMITS, tier=request.param) as made:
        yield made


def test_the_next_functions_find_nothing_of_the_first(tiered: LiveNode) -> None:
    """More of them than sandboxes were kept ready, so that what the first had comes to be used again, where it may be."""
    isolated = tiered.tier != "confined"
    with function(tiered.lambda_, LEAVES) as first:
        left = tiered.invoke(first, {"isolated": isolated})[1]
        assert "id" in left, left
    seen(lambda: tiered.count() == 0)
    drawn = []
    for _ in range(8):
        with function(tiered.lambda_, LOOKS) as name:
            _, found = tiered.invoke(name, {})
            assert "drawn" in found, found
            assert 1 <= found["memory"] < 10, found  # the bytes that it looks for are its own
            assert found["tmp"] == []
            assert found["variables"] == []
            assert not found["reached"]
            assert {found["id"], found["token"]}.isdisjoint({left["id"], left["token"]})
            if isolated:
                assert found["shared"] == []
                assert set(found["sent"]) == {"0"}
                assert found["unix"] == 1
                assert found["sleepers"] == []
            drawn += found["drawn"]
        seen(lambda: tiered.count() == 0)
    assert len(set(drawn)) == len(drawn)
