"""The rooms: what each may import is what ARCHITECTURE.md says in its third column, read from there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "lambent"
CONCEPTS = frozenset(
    {
        "functions",
        "layers",
        "mappings",
        "signing",
        "packages",
        "runtimes",
        "concurrency",
        "environments",
        "invocations",
        "telemetry",
        "metering",
    }
)
PORT = "sandbox.port"
EVERYTHING = "everything"


def table() -> dict[str, frozenset[str]]:
    """Room → rooms it may import, from the table under "Rooms"; `sandbox.port` stands for "sandbox (port)"."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.partition("## Rooms")[2].partition("## Seams")[0].splitlines()
        if line.startswith("| `")
    ]
    named = {room: row[2] for row in rows for room in re.findall(r"`([a-z_]+)(?:/|\.py)`", row[0])}
    return {room: _allowed(words, frozenset(named)) for room, words in named.items()}


def _allowed(words: str, rooms: frozenset[str]) -> frozenset[str]:
    if words.startswith(EVERYTHING):
        return rooms
    if words.startswith("nothing") or words == "–":
        return frozenset()
    allowed = {room for room in rooms if re.search(rf"\b{room}\b", words)}
    if re.search(r"\bconcepts\b", words):
        allowed |= CONCEPTS
    if "sandbox (port)" in words:
        allowed = allowed - {"sandbox"} | {PORT}
    return frozenset(allowed)


def room_of(module: str) -> str:
    """`lambent.http.core` is in `http`, `lambent.settings` in `settings`, `lambent` in none."""
    return ".".join(module.split(".")[1:2])


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, absolute module) for every import of ours in a file, wherever it stands in it, resolved."""
    package = ["lambent", *path.relative_to(SOURCE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = (
                ".".join([*package[: len(package) - node.level + 1], node.module or ""]) if node.level else node.module
            )
            base = (base or "").rstrip(".")
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "lambent")


def modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def test_every_folder_and_module_is_a_room_of_the_architecture() -> None:
    known = table()
    # "domain" stands for the table's own reading: a table that could not be parsed would allow everything or nothing
    assert known["domain"] == frozenset()
    assert known["identity"] == {"domain", "http"}
    assert known["app"] >= CONCEPTS
    found = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in modules()} - {"__main__"}
    assert found <= set(known), f"not in ARCHITECTURE.md: {sorted(found - set(known))}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_imports_only_what_its_room_may(path: Path) -> None:
    room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if room == "__main__":
        room = "cli"
    allowed = table()[room]
    wrong = []
    for line, name in imports(path):
        other = room_of(name)
        is_port = PORT in allowed and (name == f"lambent.{PORT}" or name.startswith(f"lambent.{PORT}."))
        if other in ("", "__version__", room) or other in allowed or is_port:
            continue
        wrong.append(f"{path.relative_to(ROOT)}:{line}: {room} may not import {name}")
    assert not wrong, "\n".join(wrong)


def test_test_files_have_unique_names() -> None:
    """pytest imports a test file by its base name: two of one name can't be collected together."""
    names: dict[str, list[str]] = {}
    for path in (SOURCE.parent.parent / "tests").rglob("test_*.py"):
        names.setdefault(path.name, []).append(str(path))
    assert {name: paths for name, paths in names.items() if len(paths) > 1} == {}
