"""Route matching of an HTTP API with 300 routes, each kind of match by itself; Werkzeug's map beside it, where installed.

The routes: 120 static paths, 120 with two variables, 59 greedy ones, and $default. Decisions only: no request, no event.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from statistics import quantiles
from typing import Any

from .harness import Comparison, Measurement, compare

ROUTES = 300
N = 20_000
BLOCK = 20
"""Matches between two readings of the clock: reading it costs a twentieth of a match."""

KEYS = [
    *(f"GET /v1/area{n}/things" for n in range(120)),
    *(f"GET /v1/area{n}/things/{{thing}}/parts/{{part}}" for n in range(120)),
    *(f"ANY /v1/area{n}/files/{{proxy+}}" for n in range(59)),
    "$default",
]
REQUESTS = {
    "static": [f"/v1/area{n}/things" for n in range(0, 120, 7)],
    "variables": [f"/v1/area{n}/things/{n}/parts/a{n}" for n in range(0, 120, 7)],
    "variables, encoded": [f"/v1/area{n}/things/a%20{n}/parts/%C3%A9" for n in range(0, 120, 7)],
    "greedy": [f"/v1/area{n}/files/a/b/c/{n}" for n in range(0, 59, 3)],
    "$default": [f"/v2/nothing/{n}" for n in range(20)],
}


def _arm(match: Callable[[str], Any], paths: list[str]) -> Callable[[], Measurement]:
    def take() -> Measurement:
        assert all(match(path) is not None for path in paths)
        samples: list[float] = []
        spent_ns = time.process_time_ns()
        for at in range(0, N, BLOCK):
            block = [paths[(at + i) % len(paths)] for i in range(BLOCK)]
            start_ns = time.perf_counter_ns()
            for path in block:
                match(path)
            samples.append((time.perf_counter_ns() - start_ns) / 1_000 / BLOCK)
        spent_ns = time.process_time_ns() - spent_ns
        cuts = quantiles(samples, n=100)
        return Measurement({"p50_us": cuts[49], "p99_us": cuts[98], "cpu_us": spent_ns / 1_000 / N})

    return take


def _werkzeug() -> Callable[[str], Any]:
    from werkzeug.routing import Map, Rule

    rules = []
    for key in KEYS[:-1]:
        method, _, path = key.partition(" ")
        path = path.replace("{proxy+}", "<path:proxy>").replace("{", "<").replace("}", ">")
        rules.append(Rule(path, endpoint=key, methods=None if method == "ANY" else [method]))
    rules.append(Rule("/<path:rest>", endpoint="$default"))
    adapter = Map(rules).bind("localhost")
    return lambda path: adapter.match(path, method="GET")


def run(rounds: int) -> list[Comparison]:
    """Microseconds a match, by what is matched."""
    from lambent.gateway.matching import Routes

    assert len(KEYS) == ROUTES
    table = Routes([(key, key) for key in KEYS])
    arms = {kind: _arm(lambda path: table.match("GET", path), paths) for kind, paths in REQUESTS.items()}
    with suppress(ImportError):
        arms["werkzeug: variables"] = _arm(_werkzeug(), REQUESTS["variables"])
    return [compare("routes", f"one match among {ROUTES} routes", arms, reference="static", rounds=rounds)]
