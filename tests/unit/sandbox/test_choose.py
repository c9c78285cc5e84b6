"""Choosing a tier: what is tried, what is said, what a forced tier does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lambent.sandbox import choose
from lambent.sandbox.port import Image, SandboxError
from lambent.sandbox.process import ProcessDriver

IMAGES = (Image("base", ()),)


def prepare(kind: str | None, place: Path, **options: Any) -> choose.Prepared:
    return choose.prepare(
        kind, instance="unit", packages_root=place, images=IMAGES, state_dir=place / "state", **options
    )


def refusing(*errors: SandboxError) -> Callable[..., Any]:
    left = list(errors)

    def launch(*_: Any, **__: Any) -> Any:
        raise left.pop(0)

    return launch


def test_the_process_tier_is_the_last_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launch = refusing(SandboxError("start the spawner", 1), SandboxError("unshare a user namespace", 28))
    monkeypatch.setattr(choose, "launch_spawner", launch)
    prepared = prepare(None, tmp_path)
    assert (prepared.kind, prepared.spawner) == ("process", None)
    container, rootless = prepared.refused
    assert container == (
        'The container tier was tried and refused at "start the spawner" (Operation not permitted): '
        "run Lambent as root for the container tier."
    )
    assert "No space left on device" in rootless
    assert "user.max_user_namespaces" in rootless
    driver = prepared.open()
    assert isinstance(driver, ProcessDriver)
    assert driver.tier.missing[:2] == prepared.refused


def test_a_forced_tier_that_does_not_work_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "launch_spawner", refusing(SandboxError("unshare a user namespace", 1)))
    with pytest.raises(SandboxError, match="unshare a user namespace"):
        prepare("rootless", tmp_path)


def test_a_forced_process_tier_tries_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "launch_spawner", refusing())
    assert prepare("process", tmp_path).refused == ()


def test_an_unknown_tier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="container, rootless, process"):
        prepare("docker", tmp_path)


def test_a_launcher_that_is_not_built_is_named(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"build\.py"):
        prepare("container", tmp_path, binary=tmp_path / "nothing")


def test_a_launcher_that_does_not_speak_is_refused(tmp_path: Path) -> None:
    mute = tmp_path / "mute"
    mute.write_text("#!/bin/sh\nexit 0\n")
    mute.chmod(0o755)
    kind = "container" if choose.os.geteuid() == 0 else "rootless"
    with pytest.raises(SandboxError, match="without a word"):
        prepare(kind, tmp_path, binary=mute)
