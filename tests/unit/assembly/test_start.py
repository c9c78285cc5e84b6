"""What a start imports: what listening needs, and no more."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lambent.app import HASTY_S, NODE, _imported_meanwhile

LATER = (
    "lambent.api.resources.functions",
    "lambent.layers.service",
    "lambent.packages.store",
    "lambent.runtime_api.http_door",
    "lambent.signing.service",
)
"""Not imported before the server listens, but soon after."""
ASKED_FOR = (
    "lambent.api.query",
    "lambent.api.resources.iam",
    "lambent.api.resources.layers",
    "lambent.api.resources.mappings",
    "lambent.api.rest",
    "lambent.assembly.http_apis",
    "lambent.assembly.usage",
    "lambent.gateway.execution",
    "lambent.gateway.jwt",
    "lambent.gateway.urls",
    "lambent.identity.service",
    "lambent.mappings.service",
    "lambent.sandbox.confined",
    "lambent.telemetry.logs",
    "cryptography",
    "jwt",
    "yaml",
)
"""Imported by the first request that needs it."""
PREPARED = "from importlib import import_module; from lambent.assembly.control import AHEAD; [import_module(part) for part in AHEAD]"
FOREIGN = frozenset({"click", "httptools", "orjson", "uvloop", "_cffi_backend", "typing_extensions"})


def imported(statement: str) -> set[str]:
    code = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split())


def test_listening_does_not_wait_for_what_only_requests_need() -> None:
    found = imported("import lambent.app, lambent.assembly.node")
    assert "lambent.api.door" in found
    assert not found & {*LATER, *ASKED_FOR}


def test_listening_imports_few_libraries() -> None:
    found = {name.partition(".")[0] for name in imported("import lambent.app, lambent.assembly.node, uvloop")}
    assert {name for name in found if "cython" not in name} - sys.stdlib_module_names - {
        "lambent"
    } <= FOREIGN  # uvloop's own


def test_what_the_first_function_needs_is_imported_soon_after_listening_and_nothing_else() -> None:
    found = imported(f"import lambent.app, lambent.assembly.node; {PREPARED}")
    assert set(LATER) <= found
    assert not found & set(ASKED_FOR)


def test_what_http_apis_need_waits_for_itself() -> None:
    served = imported("import lambent.assembly.http_apis")
    assert not {"jwt", "yaml", "cryptography"} & served, "tokens and YAML wait for themselves"


def test_while_the_program_is_imported_other_threads_are_not_kept_waiting() -> None:
    usual_s = sys.getswitchinterval()
    with _imported_meanwhile() as is_imported:
        assert sys.getswitchinterval() == pytest.approx(HASTY_S)
        is_imported()
        assert NODE in sys.modules
    assert sys.getswitchinterval() == usual_s
    with pytest.raises(MemoryError), _imported_meanwhile():
        raise MemoryError
    assert sys.getswitchinterval() == usual_s
