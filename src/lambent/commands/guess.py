"""Guessing a runtime and a handler from a package's files, the way a person would: by looking at them.

A guess is said aloud by the command and given up when two answers are equally good; then the user is told which option
settles it.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .failures import Failed
from .package import Package

PYTHON_MINORS = range(8, 15)
PYTHON_DEFAULT = "python3.13"
NODE_MAJORS = (18, 20, 22, 24)
NODE_DEFAULT = "nodejs22.x"
RUBY_DEFAULT = "ruby3.4"
PROVIDED = "provided.al2023"
NODE_ANSWER_LIMIT_S = 5.0

HANDLER_NAMES = ("lambda_handler", "handler", "main")
FILE_NAMES = ("lambda_function", "index", "handler", "app", "main", "function")
NODE_SUFFIXES = (".mjs", ".js", ".cjs")
_NODE_EXPORT = re.compile(
    r"(?:export\s+(?:async\s+)?(?:const|let|var|function\*?|class)\s+|(?:module\.)?exports\.)(?P<name>[A-Za-z_$][\w$]*)"
)
_NODE_EXPORT_LIST = re.compile(r"(?:export|module\.exports\s*=)\s*\{(?P<names>[^}]*)\}")
_RUBY_METHOD = re.compile(r"^def\s+(?:self\.)?(?P<name>\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Guess:
    runtime: str
    handler: str


def guess(package: Package, *, runtime: str | None, handler: str | None) -> Guess:
    """Complete what the user left out. Raises Failed with the option to give when nothing or too much fits."""
    if runtime is None:
        runtime = _runtime(package, handler)
    return Guess(runtime, handler if handler is not None else _handler(package, runtime))


def function_name(source: Path) -> str:
    """A name for the function: the directory's or the file's, with what names may not hold replaced by hyphens."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", source.resolve().name if source.is_dir() else source.stem).strip("-")
    if not name:
        raise Failed(f"{source} gives no function name; say it with --name.")
    return name[:64]


def _runtime(package: Package, handler: str | None) -> str:
    top = [name for name in package.names if "/" not in name]
    named = [handler.partition(".")[0], handler.rpartition(".")[0].replace(".", "/")] if handler else []
    if "bootstrap" in top and handler in (None, "bootstrap"):
        return PROVIDED
    found = [
        (suffixes, answer)
        for suffixes, answer in (((".py",), _python), (NODE_SUFFIXES, _node), ((".rb",), lambda: RUBY_DEFAULT))
        if any(name.endswith(suffixes) for name in top)
    ]
    if len(found) > 1 and named:
        found = [f for f in found if any(f"{stem}{suffix}" in package.names for stem in named for suffix in f[0])]
    if len(found) == 1:
        return found[0][1]()
    if any(name.endswith((".class", ".jar")) for name in package.names):
        return "java21"
    if "package.json" in top:
        return _node()
    what = "are files of several languages" if found else "is no source file of a known language"
    raise Failed(f"At the package's top there {what}; say --runtime, such as python3.13, nodejs22.x or {PROVIDED}.")


def _python() -> str:
    minor = sys.version_info.minor
    return f"python3.{minor}" if minor in PYTHON_MINORS else PYTHON_DEFAULT


def _node() -> str:
    """The line of Node that this machine has, if the service knows it."""
    node = shutil.which("node")
    if node is None:
        return NODE_DEFAULT
    try:
        answer = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=NODE_ANSWER_LIMIT_S)
        major = int(answer.stdout.strip().removeprefix("v").partition(".")[0])
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return NODE_DEFAULT
    return f"nodejs{major}.x" if major in NODE_MAJORS else NODE_DEFAULT


def _handler(package: Package, runtime: str) -> str:
    if runtime.startswith("provided"):
        return "bootstrap"
    if runtime.startswith("python"):
        found = _handlers(package, (".py",), _python_functions)
    elif runtime.startswith("nodejs"):
        found = _handlers(package, NODE_SUFFIXES, _node_exports)
    elif runtime.startswith("ruby"):
        found = _handlers(package, (".rb",), _ruby_methods)
    else:
        raise Failed(
            f"A handler of {runtime} cannot be guessed; say --handler, such as example.Handler::handleRequest."
        )
    if not found:
        raise Failed("No handler was found at the top of the package; say --handler, such as app.handler.")
    best = [one for one in found if _rank(one) == _rank(found[0])]
    if len(best) > 1:
        raise Failed(f"Several handlers fit: {', '.join(best)}. Say which with --handler.")
    return best[0]


def _rank(handler: str) -> tuple[int, int]:
    """How usual a handler's function and file names are; lower is more usual."""
    stem, _, function = handler.rpartition(".")
    return (
        HANDLER_NAMES.index(function),
        FILE_NAMES.index(stem) if stem in FILE_NAMES else len(FILE_NAMES),
    )


def _handlers(package: Package, suffixes: tuple[str, ...], functions: object) -> list[str]:
    """`file.function` for every function of a usual name in a file at the top, the most usual first."""
    assert callable(functions)
    found = [
        f"{name.rpartition('.')[0]}.{function}"
        for name in package.names
        if "/" not in name and name.endswith(suffixes)
        for function in functions(package.text(name))
        if function in HANDLER_NAMES
    ]
    return sorted(set(found), key=lambda one: (_rank(one), one))


def _python_functions(text: str) -> Sequence[str]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return ()  # the server will report it in the words of the runtime
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return names


def _node_exports(text: str) -> Sequence[str]:
    names = [match["name"] for match in _NODE_EXPORT.finditer(text)]
    for match in _NODE_EXPORT_LIST.finditer(text):
        # `handler`, `handler: run` and `run as handler` all export `handler`
        names += [re.split(r"\s+as\s+", one.strip())[-1].partition(":")[0].strip() for one in match["names"].split(",")]
    return names


def _ruby_methods(text: str) -> Sequence[str]:
    return [match["name"] for match in _RUBY_METHOD.finditer(text)]


def environment(pairs: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE` texts as a mapping. Raises Failed for one without an equals sign."""
    values: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise Failed(f"{pair!r} is not KEY=VALUE.")
        values[key] = value
    return values
