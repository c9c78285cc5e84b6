"""What large uploads leave of memory: the server before any, after two dozen of 20 MB, eight at a time, and when it is quiet again.

The archives are none, so that what is measured is the way of a body: taken, decoded, looked at, refused.
"""

from __future__ import annotations

import base64
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection

from lambent.api.bodies import QUIET_S

from .harness import Comparison, Measurement, compare, rss_kb
from .product import Lambent, lambent

UPLOADS, AT_ONCE, BYTES = 24, 8, 20_000_000
PATH = "/2015-03-31/functions"
BODY = json.dumps(
    {
        "FunctionName": "broken",
        "Runtime": "python3.11",
        "Handler": "app.handler",
        "Role": "arn:aws:iam::000000000000:role/bench",
        "Code": {"ZipFile": base64.b64encode(random.Random(20).randbytes(BYTES)).decode()},
    }
).encode()


def _upload(server: Lambent) -> float:
    """Milliseconds that one took."""
    connection = HTTPConnection(server.host, server.port, timeout=60)
    began = time.perf_counter()
    connection.request("POST", PATH, BODY)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != 400:
        raise AssertionError(f"a broken archive was answered with {answer.status}")
    return (time.perf_counter() - began) * 1_000


def run(rounds: int) -> list[Comparison]:
    """Megabytes of the server's process; each round has one of its own."""
    with ExitStack() as stack:
        servers: list[Lambent] = []

        def memory() -> Measurement:
            return Measurement({"memory_mb": rss_kb([servers[-1].pid]) / 1_024})

        def before() -> Measurement:
            stack.close()
            servers.append(stack.enter_context(lambent()))
            time.sleep(1.0)  # what follows listening is over
            return memory()

        def uploads() -> Measurement:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                took = sorted(pool.map(lambda _: _upload(servers[-1]), range(UPLOADS)))
            return Measurement({**memory().values, "p50_ms": took[len(took) // 2]})

        def quiet() -> Measurement:
            time.sleep(3 * QUIET_S)
            return memory()

        return [
            compare(
                "large uploads",
                f"memory of the server, and {UPLOADS} uploads of {BYTES // 1_000_000} MB, {AT_ONCE} at a time",
                {"before": before, "after the last": uploads, "quiet again": quiet},
                reference="before",
                rounds=rounds,
            )
        ]
