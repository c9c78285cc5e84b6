"""SPECIFICATION.md against the code: limits exist with their values, tests exist, and no limit is left out."""

from __future__ import annotations

import ast
import functools
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.limits.test_sandbox_limits import defined

from lambent.api.table import load_table
from lambent.settings import described

ROOT = Path(__file__).resolve().parents[3]
SOURCE = ROOT / "src" / "lambent"
TEXT = (ROOT / "SPECIFICATION.md").read_text()
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")

BOUND = re.compile(r"[A-Z].*(_MAX|_MIN|_S|_MS|_NS|_BYTES|_MB)$")
"""Names of constants that bound something; the exceptions are below."""

NO_BOUNDS = {
    "telemetry/index.py:DAY_MS": "a unit",
    "telemetry/index.py:EPHEMERAL_FREE_MB": "a price",
    "metering/prices.py:MB_MS_PER_GB_S": "a unit",
    "commands/sign.py:DAY_MS": "a unit",
    "sandbox/wire.py:ANSWER_BYTES": "the size of a message",
}


def rows(heading: str) -> Iterator[list[str]]:
    """Cells of the tables of a chapter, without their heads."""
    chapter = TEXT.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    for line in chapter.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("|") and not set(line) <= set("|- ") and cells[-1] not in ("test", "benchmark"):
            yield cells


LIMITS = {(owner.strip("`"), name.strip("`")): value for name, value, owner, *_ in rows("Limits")}


def numbers(text: str) -> list[float]:
    return [float(found.replace(",", "")) for found in NUMBER.findall(text)]


def of_module(owner: str, name: str) -> list[float]:
    module = importlib.import_module("lambent." + owner.removesuffix(".py").replace("/", "."))
    where, _, attribute = name.rpartition(".")
    value = getattr(module, where).__dataclass_fields__[attribute].default if where else getattr(module, name)
    return [float(one) for one in (value if isinstance(value, tuple) else (value,))]


def of_setting(name: str) -> list[float]:
    (setting,) = (one for one in described() if one.name == name)
    assert setting.least is not None
    assert setting.most is not None
    return [float(setting.default), float(setting.least), float(setting.most)]


def of_text(owner: str, name: str) -> list[float]:
    """For sources that run elsewhere: the bootstrap's constants, read and not imported."""
    for node in ast.parse((SOURCE / owner).read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return [float(eval(ast.unparse(node.value), {}))]
    raise AssertionError(f"{owner} has no {name}")


macros = functools.cache(defined)


@pytest.mark.parametrize(("owner", "name"), LIMITS)
def test_limits_have_the_values_of_the_code(owner: str, name: str) -> None:
    assert (SOURCE / owner).is_file()
    if owner == "settings.py":
        value = of_setting(name)
    elif owner.startswith("launcher/"):
        assert re.search(rf"^#define {name}\b", (SOURCE / owner).read_text(), re.M)
        value = [float(macros()[name])]
    elif owner.startswith("bootstraps/"):
        value = of_text(owner, name)
    else:
        value = of_module(owner, name)
    assert numbers(LIMITS[owner, name])[: len(value)] == value


def test_no_limit_is_left_out() -> None:
    missing = []
    for path in sorted(SOURCE.rglob("*.py")):
        owner = str(path.relative_to(SOURCE))
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.Assign):
                continue
            for target in node.targets:
                for name in re.findall(r"\b[A-Z][A-Z0-9_]*\b", ast.unparse(target)):
                    if BOUND.match(name) and (owner, name) not in LIMITS and f"{owner}:{name}" not in NO_BOUNDS:
                        missing.append(f"{owner}:{name}")
    numbered = [one.name for one in described() if one.kind in (int, float) and one.name != "server.port"]
    missing += [name for name in numbered if ("settings.py", name) not in LIMITS]
    assert not missing


def named_tests() -> list[str]:
    return sorted(set(re.findall(r"`(tests/[^`]+::[^`]+)`", TEXT)))


@functools.cache
def definitions(file: str) -> list[ast.stmt]:
    return ast.parse((ROOT / file).read_text()).body


@pytest.mark.parametrize("node", named_tests())
def test_every_test_that_is_named_exists(node: str) -> None:
    file, *names = node.split("::")
    body = definitions(file)
    for name in names:
        found = [one for one in body if getattr(one, "name", None) == name]
        assert found, f"{file} has no {name}"
        body = getattr(found[0], "body", [])


def test_every_row_names_a_test() -> None:
    for chapter in ("What it promises", "Limits"):
        for cells in rows(chapter):
            if cells[-1] != "–":
                assert re.fullmatch(r"(`tests/[^`]+::[^`]+`(, )?)+", cells[-1]), cells
            else:
                assert cells[2].strip("`").startswith("launcher/"), cells  # a kernel that does not obey


def test_every_operation_that_is_served_has_its_row() -> None:
    promised = " ".join(cells[0] for cells in rows("What it promises"))
    resources = SOURCE / "api" / "resources"
    served = set(re.findall(r'register\("(\w+)"', "".join(path.read_text() for path in resources.glob("*.py"))))
    served |= set(re.findall(r'^    "(\w+)": _\w+,$', (resources / "logs.py").read_text(), re.M))
    assert len(served) > 25
    assert {name for name in served if not re.search(rf"\b{name}\b", promised)} == set()


def operations(section: str) -> list[str]:
    """The first cells of one section's table."""
    chapter = TEXT.split(f"\n### {section}\n", 1)[1].split("\n### ", 1)[0]
    found = re.findall(r"^\| ([^|]+) \| [^|]+ \| `tests/[^|]+ \|$", chapter, re.M)
    assert len(found) == len([line for line in chapter.splitlines() if line.startswith("|")]) - 2
    return found


def test_each_operation_of_the_model_has_exactly_one_row() -> None:
    """Served or not: what is registered stands among the served ones, everything else says that it is not."""
    served, unserved = operations("Operations served"), operations("Operations not served")
    assert sorted(served + unserved) == sorted(load_table().operations)
    resources = "".join(path.read_text() for path in (SOURCE / "api" / "resources").glob("*.py"))
    registered = {name for name in re.findall(r'register\("(\w+)"', resources) if name in load_table().operations}
    assert registered <= set(served)
    assert len(registered) > 60
