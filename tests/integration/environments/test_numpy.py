"""NumPy from a layer: copies of a zygote, and of a template that has it loaded, draw nothing twice."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.integration.environments.live_node import LIMITS, LiveNode, live_node, seen
from tests.integration.web.web_world import fetched, tree
from tests.machine import SNAPSTART_RUNTIME
from tests.support import function, package, unique

pytestmark = pytest.mark.leaves_session_state  # copies come and go beside the tests; the node's end takes them all

CACHE = Path(__file__).parents[3] / ".cache" / "product" / "numpy"
NUMPY = "numpy==2.3.5"
RUNTIME = SNAPSTART_RUNTIME
"""The wheel is for it."""
CODE = """
import sys
import time
import numpy
LOADED = numpy.__file__
OWN = numpy.random.default_rng()
def handler(event, context):
    time.sleep(event["sleep"])
    fresh = numpy.random.default_rng()
    return {
        "file": LOADED,
        "drawn": [numpy.random.random(), int(numpy.random.randint(1 << 62)), fresh.random()],
        "own": OWN.random(),
        "sum": int(numpy.arange(10).sum()),
    }
"""


def numpy_files() -> dict[str, bytes]:
    """A layer's files. Skips aloud where the registry does not give them."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--only-binary=:all:", "--implementation", "cp"]
    pip += ["--python-version", RUNTIME.removeprefix("python"), "--target", "site", NUMPY]
    folder = fetched(CACHE, [RUNTIME, NUMPY], ["rm", "-rf", "site"], pip)
    return tree(folder / "site", "python/", frozenset(("__pycache__", "tests", "bin")))


@pytest.fixture(scope="module")
def node() -> Iterator[LiveNode]:
    limits = replace(LIMITS, blanks=2, waiting_max=4, has_zygotes=True)
    with live_node(limits, tier="container" if os.geteuid() == 0 else None) as running:
        yield running


@pytest.fixture(scope="module")
def layer(node: LiveNode) -> str:
    """The layer's ARN, on the node that ends with the module."""
    published = node.lambda_.publish_layer_version(LayerName=unique("np"), Content={"ZipFile": package(numpy_files())})
    return str(published["LayerVersionArn"])


def at_once(node: LiveNode, name: str, **options: Any) -> list[dict[str, Any]]:
    """Three answers of three environments: each sleeps until the others are there."""
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: node.invoke(name, {"sleep": 1.0}, **options)[1], range(3)))
    assert all(one.get("sum") == 45 and one["file"].startswith("/opt/python/numpy") for one in answers), answers
    return answers


def test_copies_of_a_zygote_draw_nothing_twice(node: LiveNode, layer: str) -> None:
    if node.on_loop(lambda: node.node.environments.blanks.zygotes is None):
        pytest.skip("this tier has no zygotes")
    with function(node.lambda_, CODE, runtime=RUNTIME, Layers=[layer], MemorySize=512, Timeout=30) as name:
        seen(lambda: node.on_loop(lambda: bool(node.node.environments.blanks.zygotes._running)))  # type: ignore[union-attr]
        steps = node.node.environments.blanks.steps
        before = node.on_loop(lambda: dict(steps))
        answers = at_once(node, name)
        taken = {way for way, count in node.on_loop(lambda: dict(steps)).items() if count != before.get(way, 0)}
    assert taken <= {"waiting", "forked", "forked_dry"}, "each is a copy"
    for values in zip(*([*one["drawn"], one["own"]] for one in answers), strict=True):
        assert len(set(values)) == 3, values


def test_copies_of_a_template_draw_nothing_twice(node: LiveNode, layer: str) -> None:
    """The global generator, and those made after the restore. A generator that init made is init's, in every copy, as on the
    real service: its owner makes it anew in a hook."""
    refusal = node.on_loop(lambda: node.node.environments._templates._driver.copies)  # type: ignore[union-attr]
    if refusal is not None:
        pytest.skip(refusal)
    options: dict[str, Any] = {"Layers": [layer], "MemorySize": 512, "Timeout": 30}
    options["Environment"] = {"Variables": {"OPENBLAS_NUM_THREADS": "1"}}
    with function(node.lambda_, CODE, runtime=RUNTIME, SnapStart={"ApplyOn": "PublishedVersions"}, **options) as name:
        node.lambda_.publish_version(FunctionName=name)
        told = lambda: node.lambda_.get_function_configuration(FunctionName=name, Qualifier="1")  # noqa: E731
        version = seen(lambda: (one := told())["State"] != "Pending" and one)
        assert version["SnapStart"]["OptimizationStatus"] == "On", node.log(name)
        answers = at_once(node, name, Qualifier="1")
    for values in zip(*(one["drawn"] for one in answers), strict=True):
        assert len(set(values)) == 3, values
    assert len({one["own"] for one in answers}) == 1, "they are copies"
