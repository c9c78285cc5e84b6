"""What happens around the handler: wrappers, hooks, paths, output, descriptors, install. Real processes throughout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from clientrun import Event, Run, document, run, why_missing
from tests.support import PYTHON_RUNTIME

from lambent.runtimes.install import Installer, InstallError
from lambent.runtimes.service import Runtimes

pytestmark = pytest.mark.timeout(900)  # on a fresh machine the first test waits for all additions


def python(machine: Runtimes, task: Path, text: str, name: str = PYTHON_RUNTIME, **more: object) -> Run:
    runtime = machine.find(name, machine.architecture)
    if runtime is None:
        pytest.skip(why_missing(machine, name, "lambent"))
    (task / "app.py").write_text(text)
    return run(machine, runtime, task, "app.handler", [Event(b"{}")], **more)  # type: ignore[arg-type]


def wrapper(task: Path, text: str, mode: int = 0o755) -> dict[str, str]:
    file = task / "wrap"
    file.write_text(text)
    file.chmod(mode)
    return {"AWS_LAMBDA_EXEC_WRAPPER": str(file)}


RETURN_ENV = "import os\ndef handler(e, c): return [os.environ.get('WRAPPED'), os.environ.get('SITE')]\n"


def test_a_wrapper_starts_the_runtime(machine: Runtimes, tmp_path: Path) -> None:
    environment = wrapper(tmp_path, '#!/bin/bash\nexport WRAPPED=yes\nexec "$@"\n')
    result = python(machine, tmp_path, RETURN_ENV, environment=environment)
    assert document(result.replies[0].body) == ["yes", None]


def test_a_wrapper_may_bring_a_sitecustomize(machine: Runtimes, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("import os\nos.environ['SITE'] = 'here'\n")
    environment = wrapper(tmp_path, f'#!/bin/bash\nexport PYTHONPATH={tmp_path}/site:$PYTHONPATH\nexec "$@"\n')
    result = python(machine, tmp_path, RETURN_ENV, environment=environment)
    assert document(result.replies[0].body) == [None, "here"]


def test_a_wrapper_that_does_not_exist_ends_with_127(machine: Runtimes, tmp_path: Path) -> None:
    environment = {"AWS_LAMBDA_EXEC_WRAPPER": f"{tmp_path}/gone"}
    result = python(machine, tmp_path, RETURN_ENV, environment=environment)
    assert (result.status, result.init_log) == (127, [f"{tmp_path}/gone: does not exist"])


def test_a_wrapper_that_is_not_executable_ends_with_126(machine: Runtimes, tmp_path: Path) -> None:
    result = python(machine, tmp_path, RETURN_ENV, environment=wrapper(tmp_path, "#!/bin/sh\n", 0o644))
    assert (result.status, result.init_log) == (126, [f"{tmp_path}/wrap: is not an executable"])


HOOKS = """
from snapshot_restore_py import register_after_restore, register_before_snapshot
calls = []
@register_before_snapshot
def first(): calls.append("before 1")
register_before_snapshot(calls.append, "before 2")
@register_after_restore
def second(): calls.append("after 1")
register_after_restore(calls.append, "after 2")
def handler(event, context): return calls
"""


def test_snapshot_hooks_run_in_their_order(machine: Runtimes, tmp_path: Path) -> None:
    result = python(machine, tmp_path, HOOKS, initialization_type="snap-start")
    assert document(result.replies[0].body) == ["before 2", "before 1", "after 1", "after 2"]
    assert document(python(machine, tmp_path, HOOKS).replies[0].body) == []


@pytest.mark.parametrize(
    ("hook", "status", "kind"),
    [
        ("register_before_snapshot", 64, "Runtime.BeforeSnapshotError"),
        ("register_after_restore", 65, "Runtime.AfterRestoreError"),
    ],
)
def test_a_hook_that_fails_ends_the_runtime(
    machine: Runtimes, hook: str, status: int, kind: str, tmp_path: Path
) -> None:
    text = f"import snapshot_restore_py as s\ns.{hook}(lambda: 1 / 0)\ndef handler(e, c): return 1\n"
    result = python(machine, tmp_path, text, initialization_type="snap-start")
    assert result.init_error is not None
    assert (result.status, result.init_error[0]) == (status, kind)
    assert document(result.init_error[1])["errorType"] == "ZeroDivisionError"


def test_the_functions_world_is_its_own(machine: Runtimes, tmp_path: Path) -> None:
    text = """
import sys
def handler(event, context):
    main = sys.modules["__main__"]
    return [sorted(n for n in vars(main) if not n.startswith("__")), sys.path[:3], exit.__class__.__name__]
"""
    names, paths, kind = document(python(machine, tmp_path, text).replies[0].body)
    assert names == []
    assert paths == [str(tmp_path), f"/opt/python/lib/{PYTHON_RUNTIME}/site-packages", "/opt/python"]
    assert kind == "Quitter"


def test_the_clients_directory_stays_on_the_path_whatever_the_owner_sets(machine: Runtimes, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "mine.py").touch()
    text = "import mine, snapshot_restore_py, sys\ndef handler(e, c): return sys.path.index(sys.argv[0].rpartition('/')[0])\n"
    result = python(machine, tmp_path, text, environment={"PYTHONPATH": f"{tmp_path}/lib"})
    assert document(result.replies[0].body) == 3


def test_a_child_process_gets_neither_the_channel_nor_its_name(machine: Runtimes, tmp_path: Path) -> None:
    text = """
import os, subprocess
def handler(event, context):
    listing = "import os; print([os.readlink('/proc/self/fd/' + f) for f in os.listdir('/proc/self/fd') if int(f) > 2 and os.path.exists('/proc/self/fd/' + f)])"
    import sys
    said = subprocess.run([sys.executable, "-S", "-c", listing], stdout=subprocess.PIPE, close_fds=False).stdout.decode()
    return ["socket" in said, "_LAMBENT_CHANNEL" in os.environ]
"""
    assert document(python(machine, tmp_path, text).replies[0].body) == [False, False]


def test_what_was_written_is_in_the_log_before_the_answer(machine: Runtimes, tmp_path: Path) -> None:
    text = """
import sys, os
def handler(event, context):
    print("whole line"); print("part", end=""); sys.stderr.write("err\\n"); sys.stdout.buffer.write(b" raw\\n")
    sys.stdout = open(os.devnull, "w")
"""
    reply = python(machine, tmp_path, text).replies[0]
    assert sorted("".join(reply.log)) == sorted("whole line" + "part" + "err" + " raw")


def test_modules_named_like_the_clients_own_do_not_clash(machine: Runtimes, tmp_path: Path) -> None:
    for name in ("loop", "values", "context", "handler", "bootstrap", "faults"):
        (tmp_path / f"{name}.py").write_text(f"NAME = {name!r}\n")
    text = """
import loop, values, context, handler as h, bootstrap, faults
def handler(event, ctx): return [m.NAME for m in (loop, values, context, h, bootstrap, faults)]
"""
    names = document(python(machine, tmp_path, text).replies[0].body)
    assert names == ["loop", "values", "context", "handler", "bootstrap", "faults"]


def test_a_runtime_is_added_from_the_registry(machine: Runtimes, tmp_path: Path) -> None:
    said: list[str] = []
    installer = Installer(tmp_path, os.environ["PATH"], machine.architecture, said.append)
    try:
        added = installer.add(f"official-{PYTHON_RUNTIME}", machine.interpreters())
    except InstallError as error:
        pytest.skip(f"no package registry: {error}")
    assert (added / "awslambdaric" / "__main__.py").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["clients"]
    assert said == [f"Installing awslambdaric for Python {PYTHON_RUNTIME[6:]} with pip."]
