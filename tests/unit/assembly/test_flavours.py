"""Which zygote a function version may be forked from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.runtimes.test_runtimes_service import PYENV

from lambent.assembly.blueprints import SOURCE_BYTES_MAX, MachineBlueprints
from lambent.domain.clock import ManualClock
from lambent.domain.egress import Outside
from lambent.domain.names import FunctionRef
from lambent.functions.model import Code, Configuration, FunctionVersion, Logging
from lambent.identity.temporary import TemporaryCredentials
from lambent.runtimes.service import Runtimes
from lambent.runtimes.staging import FORK_INSIDE

DIGEST = "ab" * 32


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "packages" / DIGEST / "tree").mkdir(parents=True)
    (tmp_path / "sdks" / "python3.12").mkdir(parents=True)
    fork = tmp_path / "staged" / FORK_INSIDE
    fork.parent.mkdir(parents=True)
    fork.write_bytes(b"")
    return tmp_path


def zygote_of(
    place: Path, files: dict[str, str], *, zygotes: str = "account", account: str = "111111111111", **changes: Any
) -> str | None:
    """The name of the zygote; None: nothing waits for such a function."""
    tree = place / "packages" / DIGEST / "tree"
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    runtimes = Runtimes([PYENV], place / "staged", place / "clients", "x86_64", place / "sdks")
    temporary = TemporaryCredentials(b"secret", ManualClock())
    blueprints = MachineBlueprints(runtimes, place / "packages", "lambent", temporary, Outside(), zygotes)
    configuration = replace(
        Configuration("r", "python3.12", "app.handler", Logging("Text", None, None, "g")), **changes
    )
    ref = FunctionRef(account, "us-east-1", "f")
    code = Code(DIGEST, "", 0)
    version = FunctionVersion(ref, "1", configuration, code, "r", "Active", None, None, 1, 0)
    waiting = blueprints.blueprint(version).waiting
    return None if waiting is None else waiting.zygote


def test_one_for_each_account_or_one_for_all_or_none(place: Path) -> None:
    plain = {"app.py": "def handler(event, context): ..."}
    assert zygote_of(place, plain) == "111111111111/python3.12"
    assert zygote_of(place, plain, account="222222222222") == "222222222222/python3.12"
    assert zygote_of(place, plain, zygotes="shared") == "shared/python3.12"
    assert zygote_of(place, plain, zygotes="off") == ""


def test_the_sdks_flavour_is_for_who_speaks_of_it_and_does_not_bring_it(place: Path) -> None:
    assert zygote_of(place, {"app.py": "from botocore import client"}) == "111111111111/python3.12/sdk"
    assert zygote_of(place, {"lib/app.py": "import boto3"}, handler="lib/app.handler").endswith("/sdk")  # type: ignore[union-attr]
    assert zygote_of(place, {}, handler="nowhere.handler") == "111111111111/python3.12"
    assert zygote_of(place, {}, handler="nul\0.handler") == "111111111111/python3.12"
    late = "#" * SOURCE_BYTES_MAX + "\nimport boto3"
    assert zygote_of(place, {"late.py": late}, handler="late.handler") == "111111111111/python3.12"
    assert zygote_of(place, {"boto3/__init__.py": ""}) == "111111111111/python3.12"


def test_whoever_needs_a_start_of_its_own_has_no_zygote(place: Path) -> None:
    for variables in ({"LAMBENT_PRELOAD": "off"}, {"PYTHONHASHSEED": "0"}, {"LD_PRELOAD": "x"}):
        assert zygote_of(place, {"app.py": ""}, environment=variables) is None
