"""AWS's own runtime interface clients, unmodified, over the HTTP Runtime API."""

from __future__ import annotations

from pathlib import Path

from .model import LANGUAGE_DIR, LAYERS_ROOT, RUNTIME_DIR, TASK_ROOT, Interpreter

NODE_ENTRIES = ("node_modules/aws-lambda-ric/index.mjs", "node_modules/aws-lambda-ric/bin/index.mjs")
"""Where the client's versions 4 and 3 keep their entry."""


def _python_start(version: str) -> str:
    """What `-m awslambdaric` does, with the layers on the path, as the service's own start script has them."""
    paths = [TASK_ROOT, f"{LAYERS_ROOT}/python/lib/python{version}/site-packages", f"{LAYERS_ROOT}/python"]
    return (
        f"import runpy, sys; sys.path[:1] = {paths}; "
        "runpy.run_module('awslambdaric', run_name='__main__', alter_sys=True)"
    )


def node_client(interpreter: Interpreter) -> str:
    """Major version of the Node.js client: 4 knows no callbacks, as the service from Node.js 24 on."""
    return "4" if int(interpreter.version) >= 24 else "3"


def directory(clients: Path, interpreter: Interpreter) -> Path:
    """Where the client for an interpreter is installed: one for each Python (native code), two for all of Node.js."""
    if interpreter.family == "python":
        return clients / f"python{interpreter.version}"
    return clients / f"nodejs-client-{node_client(interpreter)}"


def is_installed(clients: Path, interpreter: Interpreter) -> bool:
    """Whether the client's entry is there."""
    base = directory(clients, interpreter)
    if interpreter.family == "python":
        return (base / "awslambdaric" / "__main__.py").is_file()
    return any((base / entry).is_file() for entry in NODE_ENTRIES)


def entry(clients: Path, interpreter: Interpreter) -> tuple[str, ...]:
    """The command inside the sandbox, where an installed client's directory is /var/runtime; the handler follows."""
    if interpreter.family == "python":
        return (f"{LANGUAGE_DIR}/bin/python{interpreter.version}", "-c", _python_start(interpreter.version))
    base = directory(clients, interpreter)
    script = next(script for script in NODE_ENTRIES if (base / script).is_file())
    return (f"{LANGUAGE_DIR}/bin/node", f"{RUNTIME_DIR}/{script}")
