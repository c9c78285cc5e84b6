"""The seams in ARCHITECTURE.md have the signatures of the code: names of parameters, their order, their defaults, fields."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from lambent.runtime_api import frames

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "ARCHITECTURE.md").read_text()

HOMES = {
    "Request": "http/message.py", "Exchange": "http/exchange.py", "BodySink": "http/message.py",
    "Buffered": "http/message.py", "Streamed": "http/message.py", "Application": "http/message.py",
    "listen": "http/server.py", "serve": "http/server.py", "Server": "http/server.py",
    "Caller": "identity/model.py", "SandboxOrigin": "identity/model.py", "Authenticator": "api/ports.py",
    "Answer": "api/ports.py", "Functions": "functions/service.py", "FunctionVersion": "functions/model.py",
    "Collection": "domain/documents.py", "ResponseSink": "environments/channel.py", "Flow": "environments/channel.py",
    "Layers": "layers/service.py", "HttpApis": "gateway/http_apis/service.py",
}  # fmt: skip


def blocks() -> list[ast.stmt]:
    """Classes and functions of the document's Python examples."""
    found: list[ast.stmt] = []
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.S):
        found += [node for node in ast.parse(block).body if hasattr(node, "name")]
    return found


@functools.cache
def real(name: str) -> ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef:
    for node in ast.parse((ROOT / "src" / "lambent" / HOMES[name]).read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return node
    raise AssertionError(f"{HOMES[name]} has no {name}")


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    returns = ast.unparse(node.returns) if node.returns is not None else "None"
    return f"{type(node).__name__} {node.name}({ast.unparse(node.args)}) -> {returns}"


def methods(node: ast.ClassDef) -> dict[str, str]:
    return {
        one.name: signature(one)
        for one in node.body
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name != "__init__"
    }


def fields(node: ast.ClassDef) -> list[str]:
    """Attributes that are declared in a class, or set in its __init__."""
    declared = [
        one.target.id for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
    ]
    for one in node.body:
        if isinstance(one, ast.FunctionDef) and one.name == "__init__":
            declared += re.findall(r"self\.(\w+)(?:: [^=\n]+)? = ", ast.unparse(one))
    return declared


@pytest.mark.parametrize("shown", blocks(), ids=lambda node: getattr(node, "name", ""))
def test_a_seam_is_what_the_code_has(shown: ast.stmt) -> None:
    if isinstance(shown, ast.FunctionDef | ast.AsyncFunctionDef):
        there = real(shown.name)
        assert not isinstance(there, ast.ClassDef)
        assert signature(shown) == signature(there)
        return
    assert isinstance(shown, ast.ClassDef)
    home = real(shown.name)
    assert isinstance(home, ast.ClassDef)
    theirs = methods(home)
    for name, text in methods(shown).items():
        assert text == theirs.get(name)
    assert set(fields(shown)) <= set(fields(home))


def test_every_home_is_shown() -> None:
    assert {getattr(node, "name", "") for node in blocks()} == set(HOMES)


def test_frames_are_those_of_the_code() -> None:
    shown = {name: int(number) for number, name in re.findall(r"(?m)^\| (\d+) ([A-Z_]+) \|", TEXT)}
    assert shown == {name: getattr(frames, name) for name in shown}
    assert set(frames._NAMES_OF) | {
        frames.INVOKE,
        frames.CHUNK,
        frames.ASSIGN,
        frames.WAITING,
        frames.RESTORE,
        frames.REHEARSE,
    } == set(shown.values())
