"""`lambent doctor`: what works on this machine, found by doing it, and what would make more work."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lambent import __version__

from .configured import configured, loaded
from .failures import FAILED, Failed
from .machine import found_runtimes
from .output import is_terminal, print_json, working

if TYPE_CHECKING:
    from lambent.runtimes.service import Runtimes
    from lambent.settings import Settings

GOOD, POOR, BAD = "ok", "limited", "missing"
MARKS = {GOOD: ("✓", "green"), POOR: ("!", "yellow"), BAD: ("✗", "red")}
COMFORTS = ("zygotes", "network", "snapstart")
"""Findings without which functions are isolated and run all the same."""
WEAK_TIER = "process"
TMP_POOL = 1
"""The probe needs one private /tmp, not a server's supply of them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: str
    """ok, limited or missing."""
    words: str
    notes: tuple[str, ...] = ()
    """What is missing, a sentence each, with the command that would change it where there is one."""


def launcher() -> Finding:
    """Whether the launcher is there, and if not, what building it said."""
    from lambent.sandbox.spawner import BINARY

    if BINARY.is_file() and os.access(BINARY, os.X_OK):
        return Finding("launcher", GOOD, str(BINARY))
    reason = BINARY.with_name("not-built.txt")
    said = reason.read_text().strip().splitlines() if reason.is_file() else []
    notes = (
        *said[:3],
        "Install gcc and libc6-dev, or reach a package registry for ziglang, and install Lambent again.",
    )
    return Finding("launcher", BAD, "not built: functions cannot be isolated", notes)


def fork_object() -> Finding | None:
    """Whether what zygotes load is there, where the launcher is."""
    from lambent.sandbox.spawner import BINARY

    fork, reason = BINARY.with_name("lambent-fork"), BINARY.with_name("fork-not-built.txt")
    if fork.is_file() or not BINARY.is_file():
        return None
    said = reason.read_text().strip().splitlines() if reason.is_file() else []
    words = "the fork object is not built: runtimes that wait for a function are started one by one"
    return Finding("zygotes", POOR, words, tuple(said[:3]))


def preparation(kind: str, binds_running: bool) -> Finding | None:
    """What a tier cannot start before its function is known; None where it can do all of it."""
    if kind == "container" and binds_running:
        return None
    if binds_running:
        words = "interpreters wait for a function each by itself, without a zygote: 8 to 15 MB each instead of 2 to 4"
        return Finding("cold starts", POOR, words, (f"The {kind} tier has no zygotes: sudo lambent up",))
    words = "an interpreter is started for each new environment, and nothing waits but its sandbox"
    if kind == "process":
        note = "The process tier prepares nothing: sudo lambent up"
    elif kind == "confined":
        note = "What a confined program may read is said when it starts: docker run --privileged …"
    else:
        note = "Without a control group limits are set when a program starts: systemd-run --user --scope -p Delegate=yes lambent up"
    return Finding("cold starts", POOR, words, (note,))


NETWORK_WORDS = {
    "none": "none: functions reach the platform alone, as network.egress says",
    "outbound": "outbound: functions reach the outside, and nothing of this machine",
    "listed": "listed: functions reach what network.allow lists",
}


def network(settings: Settings, has_egress: bool, is_isolated: bool) -> Finding:
    """What functions would reach."""
    mode = settings.network.egress
    if not is_isolated:
        return Finding("network", POOR, "this machine's own, with its loopback: network.egress is not enforced")
    if mode == "none" or has_egress:
        return Finding("network", GOOD, NETWORK_WORDS[mode])
    return Finding("network", POOR, "functions reach the platform alone; the reason is above")


def isolation(settings: Settings, runtimes: Runtimes) -> list[Finding]:
    """The tier that a server would take, found by building one sandbox and destroying it, and what that may reach."""
    from lambent.assembly.outside import outside
    from lambent.sandbox.choose import prepare
    from lambent.sandbox.port import SandboxError, no_copies
    from lambent.settings import SettingsError

    try:
        beyond = outside(settings)
    except SettingsError as error:
        raise Failed(f"{error}.") from None
    forced = None if settings.sandbox.tier == "auto" else settings.sandbox.tier
    with tempfile.TemporaryDirectory(prefix="lambent-doctor-") as folder:
        packages, state = Path(folder, "packages"), Path(folder, "state")
        packages.mkdir()
        state.mkdir()
        try:
            prepared = prepare(
                forced,
                instance=os.urandom(16).hex(),
                packages_root=packages,
                images=runtimes.images(),
                state_dir=state,
                tmp_pool=TMP_POOL,
                outside=beyond,
            )
        except SandboxError as error:
            return [Finding("isolation", BAD, f"{forced} is insisted on and does not work: {error}")]
        try:
            missing = prepared.spawner.missing if prepared.spawner is not None else ()
            has_egress = prepared.spawner is not None and prepared.spawner.has_egress
            copies = prepared.spawner.copies if prepared.spawner is not None else no_copies(prepared.kind)
            has_groups = prepared.spawner is not None and prepared.spawner.groups.directory("memory") is not None
        finally:
            prepared.abandon()
    notes = (*prepared.refused, *missing)
    if prepared.kind == WEAK_TIER:
        words = "process: a process group with limits, NOT a boundary"
        found = Finding("isolation", POOR, words, notes)
    elif not prepared.is_boundary:
        words = f"{prepared.kind}: users and limits without landlock, NOT a boundary"
        found = Finding("isolation", POOR, words, notes)
    else:
        found = Finding("isolation", GOOD, f"{prepared.kind}: a sandbox was built and destroyed", notes)
    prepares = preparation(prepared.kind, has_groups and prepared.kind != "confined")
    said = [found, network(settings, has_egress, prepared.closes_network), snapstart(copies)]
    return said if prepares is None else [*said, prepares]


def snapstart(refusal: str | None) -> Finding:
    """Whether versions with SnapStart get a template here."""
    if refusal is None:
        return Finding(
            "snapstart", GOOD, "a process was held as a template is: Python versions with SnapStart are copied"
        )
    return Finding("snapstart", POOR, "versions with SnapStart start with an init of their own", (refusal,))


def interpreters(runtimes: Runtimes) -> Finding:
    """Which runtimes can run here."""
    names = runtimes.names()
    languages = [name for name in names if not name.startswith("provided")]
    if not languages:
        note = "`lambent runtimes` says how to get one."
        return Finding("runtimes", POOR, f"{', '.join(names)}; no Python and no Node.js was found", (note,))
    return Finding("runtimes", GOOD, ", ".join(names))


def data_directory(settings: Settings) -> Finding:
    """Whether the data directory can be used and has room; it is neither made nor locked."""
    path = settings.server.data_dir
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    disk = os.statvfs(existing)
    free_mb = disk.f_bavail * disk.f_frsize // 1_048_576
    words = f"{path}, {free_mb:,} MB free"
    if not os.access(existing, os.W_OK | os.X_OK):
        note = f"Start Lambent as the user of {existing}, or name another directory with --data-dir."
        return Finding("data", BAD, f"{words}; this user may not write there", (note,))
    if free_mb < settings.storage.disk_low_water_mb:
        note = (
            f"New code and events are refused below storage.disk_low_water_mb = {settings.storage.disk_low_water_mb}."
        )
        return Finding("data", POOR, words, (note,))
    return Finding("data", GOOD, words)


@click.command()
@click.option("--data-dir", metavar="DIR", help="The server's data directory.")
@click.option("--tier", metavar="NAME", help="Try one isolation tier: container, rootless, confined or process.")
@configured
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
def command(
    data_dir: str | None, tier: str | None, config: Path | None, assignments: tuple[str, ...], as_json: bool
) -> int:
    """Say what this machine can isolate and run, what is missing, and which command would change that.

    Run it as the user that runs the server. The status is 0 when functions are isolated and there is a runtime.
    """
    options = {"server.data_dir": ("--data-dir", data_dir), "sandbox.tier": ("--tier", tier)}
    settings = loaded(config, assignments, options).settings
    with working("Looking at this machine") as words, found_runtimes(settings) as runtimes:
        words("Building a sandbox")
        found = [launcher(), fork_object(), *isolation(settings, runtimes), interpreters(runtimes)]
        findings = [finding for finding in (*found, data_directory(settings)) if finding is not None]
    if as_json:
        print_json({"version": __version__, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            _print(finding)
    return 0 if is_fit(findings) else FAILED


def is_fit(findings: Sequence[Finding]) -> bool:
    """Whether functions run here, isolated; what only makes them start or reach less is told, and no reason to fail."""
    return all(finding.state == GOOD for finding in findings if finding.what not in COMFORTS)


def _print(finding: Finding) -> None:
    mark, colour = MARKS[finding.state]
    shown = click.style(mark, fg=colour) if is_terminal() else mark
    click.echo(f"{shown} {finding.what:<10} {finding.words}")
    for note in finding.notes:
        click.echo(f"             {note}")
