"""Choosing a tier: what is tried, what is said, what a forced tier does."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lambent.commands import doctor
from lambent.sandbox import choose, spawner, wire
from lambent.sandbox.port import Image, SandboxError
from lambent.sandbox.process import ProcessDriver
from lambent.sandbox.spawner import Words
from lambent.settings import NetworkSettings, Settings

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
    closed = SandboxError("let functions reach their files", 13, "/root can be passed by its owner alone")
    monkeypatch.setattr("lambent.sandbox.confined.launch_confined", refusing(closed))
    prepared = prepare(None, tmp_path)
    assert (prepared.kind, prepared.spawner) == ("process", None)
    container, rootless, confined = prepared.refused
    assert container == (
        'The container tier was tried and refused at "start the spawner" (Operation not permitted): '
        "run Lambent as root for the container tier."
    )
    assert "No space left on device" in rootless
    assert "user.max_user_namespaces" in rootless
    assert confined == (
        'The confined tier was tried and refused at "let functions reach their files" (Permission denied): '
        "name a data directory that everybody may pass, with --data-dir."
    )
    assert not prepared.is_boundary
    driver = prepared.open()
    assert isinstance(driver, ProcessDriver)
    assert driver.tier.missing[:3] == prepared.refused


def test_a_forced_tier_that_does_not_work_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "launch_spawner", refusing(SandboxError("unshare a user namespace", 1)))
    with pytest.raises(SandboxError, match="unshare a user namespace"):
        prepare("rootless", tmp_path)


def test_a_forced_process_tier_tries_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "launch_spawner", refusing())
    assert prepare("process", tmp_path).refused == ()


def test_an_unknown_tier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="container, rootless, confined, process"):
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


def heard(*answers: bytes) -> Words:
    """What is understood of a spawner that says this."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        for answer in answers:
            theirs.send(answer)
        return spawner._hello(ours, 0, 0, None)


def test_a_kernel_without_a_way_out_is_said_with_the_remedy() -> None:
    hello = wire._ANSWER.pack(wire.VERSION, wire.HELLO, 0, 0, 0, 1, 0, wire.TMP_DISK, b"")
    refused = wire._ANSWER.pack(wire.VERSION, wire.EGRESS, 0, 0, 2, 0, 0, 0, b"write the gate's rules")
    words = heard(refused, hello)
    assert words.hello.flags == wire.TMP_DISK
    assert words.egress is not None
    assert words.egress.status == 0
    sentence = spawner._egress_sentence(words.egress)
    assert '"write the gate\'s rules": No such file or directory' in sentence
    assert "modprobe nft_tproxy af_packet" in sentence
    opened = wire._ANSWER.pack(wire.VERSION, wire.EGRESS, 0, 0, 0, 1, 0, wire.IPV6, b"")
    assert heard(opened, hello).egress is not None
    assert heard(hello).egress is None, "none was asked for"


def test_the_process_tier_says_that_it_has_the_hosts_network(tmp_path: Path) -> None:
    missing = prepare("process", tmp_path).open().tier.missing
    assert any("network.egress and network.allow are not enforced" in sentence for sentence in missing)


@pytest.mark.parametrize(
    ("mode", "has_egress", "is_isolated", "state", "words"),
    [
        ("outbound", True, True, "ok", "nothing of this machine"),
        ("listed", True, True, "ok", "what network.allow lists"),
        ("none", False, True, "ok", "the platform alone, as network.egress says"),
        ("outbound", False, True, "limited", "the reason is above"),
        ("none", False, False, "limited", "not enforced"),
    ],
)
def test_what_doctor_says_of_the_network(
    mode: str, has_egress: bool, is_isolated: bool, state: str, words: str
) -> None:
    finding = doctor.network(Settings(network=NetworkSettings(egress=mode)), has_egress, is_isolated)
    assert finding.state == state
    assert words in finding.words
