"""Which bootstrap an OS-only function starts with: looked for in its code and in its layers, in that order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lambent.assembly.blueprints import MachineBlueprints
from lambent.domain.clock import ManualClock
from lambent.domain.egress import Outside
from lambent.domain.names import FunctionRef
from lambent.environments.failures import NO_BOOTSTRAP
from lambent.environments.plan import RuntimeMissing, StartPlan
from lambent.functions.model import Code, Configuration, FunctionVersion, LayerReference, Logging
from lambent.identity.temporary import TemporaryCredentials
from lambent.packages.merge import tree_name
from lambent.runtimes.service import Runtimes
from lambent.telemetry.attempt import Origin

CODE, ONE, TWO = "c" * 64, "1" * 64, "2" * 64


class Machine:
    """One OS-only runtime, and packages that a test fills."""

    def __init__(self, place: Path) -> None:
        self.packages = place / "packages"
        runtimes = Runtimes([], place / "staged", place / "clients", "x86_64")
        self.temporary = TemporaryCredentials(b"s" * 32, ManualClock())
        self.blueprints = MachineBlueprints(runtimes, self.packages, "lambent", self.temporary, Outside())
        (self.packages / CODE / "tree").mkdir(parents=True)

    def file(self, digest: str | None, name: str = "bootstrap") -> None:
        assert digest is not None
        path = self.packages / digest / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def plan(self, *layers: str, environment: dict[str, str] | None = None) -> StartPlan:
        references = tuple(LayerReference(f"l{n}", 1, digest) for n, digest in enumerate(layers))
        configuration = Configuration("r", "provided.al2023", "h", Logging("Text", None, None, "g"), layers=references)
        configuration = replace(configuration, environment=environment)
        version = FunctionVersion(
            FunctionRef("123456789012", "us-east-1", "fn"), "$LATEST", configuration, Code(CODE, "s", 1), "r", "Active",
            None, None, 1, 1,
        )  # fmt: skip
        return self.blueprints.blueprint(version).start(ORIGIN, "127.0.0.1:9001")


ORIGIN = Origin("123456789012", "us-east-1", "fn", "$LATEST", "e1", "g", "s", 128)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_web_adapter_without_a_python_says_so(machine: Machine) -> None:
    with pytest.raises(RuntimeMissing, match=r"the server of a provided.al2023 function by a Python, and none is on"):
        machine.plan(environment={"LAMBENT_WEB_ADAPTER": "port"})


def test_extensions_are_the_files_of_their_directory_in_order(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.file(CODE)
    for name in ("extensions/b", "extensions/a", "extensions/deep/c", "other/d"):
        machine.file(ONE, name)
    plan = machine.plan(ONE)
    assert [(one.name, list(one.argv), one.cwd) for one in plan.extensions] == [
        ("a", ["/opt/extensions/a"], "/"),
        ("b", ["/opt/extensions/b"], "/"),
    ]
    names = set(plan.extensions[0].env)
    assert {"AWS_LAMBDA_RUNTIME_API", "AWS_REGION", "PATH"} <= names
    hidden = {"LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"}
    assert not names & (hidden | {"AWS_XRAY_CONTEXT_MISSING", "AWS_XRAY_DAEMON_ADDRESS", "AWS_EXECUTION_ENV"})
    assert not {name for name in names if name.startswith("_")}
    assert machine.plan().extensions == ()
    assert machine.plan(TWO).extensions == ()


def test_the_bootstrap_of_a_layer_is_used_where_the_code_has_none(machine: Machine) -> None:
    assert machine.plan().refusal == machine.plan(ONE).refusal == NO_BOOTSTRAP
    machine.file(ONE)
    assert machine.plan(ONE).argv == ("/opt/bootstrap",)
    assert machine.plan(ONE, TWO).refusal == NO_BOOTSTRAP
    machine.file(tree_name([ONE, TWO]))
    assert machine.plan(ONE, TWO).argv == ("/opt/bootstrap",)
    assert machine.plan().refusal == NO_BOOTSTRAP
    machine.file(CODE)
    assert machine.plan(ONE).argv == ("/var/task/bootstrap",)


def test_a_bootstrap_may_be_a_link_into_a_layer_but_not_onto_the_host(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "host").touch()
    link = machine.packages / CODE / "tree" / "bootstrap"
    link.symlink_to(tmp_path / "host")
    assert machine.plan().refusal == NO_BOOTSTRAP
    link.unlink()
    link.symlink_to("/opt/mine")
    assert machine.plan(ONE).refusal == NO_BOOTSTRAP
    machine.file(ONE, "mine")
    assert machine.plan(ONE).argv == ("/var/task/bootstrap",)


def test_the_keys_of_a_start_are_the_role_s_and_its_environment_s(machine: Machine) -> None:
    machine.file(CODE)
    env = machine.plan().env
    found = machine.temporary.find(env["AWS_ACCESS_KEY_ID"], env["AWS_SESSION_TOKEN"])
    assert found is not None
    assert found.secret == env["AWS_SECRET_ACCESS_KEY"]
    assert (found.arn, found.environment) == ("arn:aws:sts::123456789012:assumed-role/r/fn", "e1")
