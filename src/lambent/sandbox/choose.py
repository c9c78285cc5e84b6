"""Which driver this machine gets: the best that works when tried, or the one that was asked for.

Nothing reads versions. A tier is taken when its spawner has started and has built, and destroyed again, one blank. Every
tier that was tried and refused leaves a sentence in `Tier.missing`, so that `lambent doctor` can say why.

    prepared = prepare(None, ...)        # synchronous, while the server still has its privilege
    ...                                  # the server becomes an ordinary user
    driver = prepared.open()             # on the event loop
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..domain.egress import Outside
from . import wire
from .groups import Groups
from .port import Image, Limits, SandboxDriver, SandboxError
from .spawner import BINARY, SANDBOXES_MAX, TMP_MB_DEFAULT, TMP_POOL_DEFAULT, Spawner, launch_spawner

if TYPE_CHECKING:
    from .confined import ConfinedSpawner

KINDS = ("container", "rootless", "confined", "process")
PROBE_S_MAX = 15.0
_PROBE_LIMITS = Limits(memory_mb=128, cpu_vcpus=1.0, processes_max=64, descriptors_max=64, tmp_mb=TMP_MB_DEFAULT)

_REMEDIES = {
    "start the spawner": "run Lambent as root for the container tier",
    "let functions reach their files": "name a data directory that everybody may pass, with --data-dir",
    "empty the bounding set": "run the surrounding container with its default capabilities (no --cap-drop)",
    "keep six capabilities": "run the surrounding container with its default capabilities (no --cap-drop)",
    "find the launcher": "python src/lambent/launcher/build.py",
    "unshare a user namespace": (
        "sysctl -w kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0 "
        "user.max_user_namespaces=65536"
    ),
    "make mounts private": "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    "mount /proc": "run the surrounding container with an unmasked /proc (--security-opt systempaths=unconfined)",
    "unshare the mounts": "run the surrounding container with --privileged, or with the rights that the guide names",
    "narrow the capabilities": "run the surrounding container with --privileged, or with the rights that the guide names",
}


@dataclass(slots=True)
class Prepared:
    """A tier that works, started as far as it needs privilege."""

    kind: str
    refused: tuple[str, ...]
    spawner: Spawner | None
    packages_root: Path
    images: Sequence[Image]
    state_dir: Path

    def open(self) -> SandboxDriver:
        """The driver, on the running event loop."""
        if self.spawner is not None:
            self.spawner.missing = self.refused + self.spawner.missing
            if (confined := self._confined) is not None:
                from .confined import ConfinedDriver

                return ConfinedDriver(confined, self.packages_root, self.images)
            from .container import ContainerDriver

            return ContainerDriver(self.spawner)
        from .process import ProcessDriver

        driver = ProcessDriver(self.packages_root, self.images, self.state_dir)
        driver.tier = replace(driver.tier, missing=self.refused + driver.tier.missing)
        return driver

    @property
    def _confined(self) -> ConfinedSpawner | None:
        """The spawner, where it is one of this kind: no tier's module is imported to be told that it is not in use."""
        return cast("ConfinedSpawner", self.spawner) if self.kind == "confined" else None

    @property
    def is_boundary(self) -> bool:
        """Functions are kept from the machine."""
        if (confined := self._confined) is not None:
            return confined.is_boundary
        return self.spawner is not None

    @property
    def closes_network(self) -> bool:
        """Functions have no way past what the tier gives them; else they use this machine's own network."""
        if (confined := self._confined) is not None:
            return confined.closes_network
        return self.spawner is not None

    def function_user(self, uid: int, gid: int) -> tuple[int, int] | None:
        """As whom a function reaches its interpreter where nothing is mounted; None: everything is mounted.

        uid, gid: whom the server becomes.
        """
        if (confined := self._confined) is not None:
            return confined.user(1), confined.user(1)
        return (uid, gid) if self.spawner is None else None

    def abandon(self) -> None:
        """End what was started, when the server does not get as far as opening it."""
        if self.spawner is not None:
            stop_spawner(self.spawner)


def prepare(
    kind: str | None,
    *,
    instance: str,
    packages_root: Path,
    images: Sequence[Image],
    state_dir: Path,
    run_as: tuple[int, int] | None = None,
    binary: Path = BINARY,
    sandboxes_max: int = SANDBOXES_MAX,
    tmp_pool: int = TMP_POOL_DEFAULT,
    disk_tmp: bool = True,
    groups: Groups | None = None,
    outside: Outside | None = None,
) -> Prepared:
    """Find the best tier by trying, or make sure that the forced one works.

    kind: one of KINDS, or None for the best. run_as: the user that the server becomes (a rootless spawner started by
    root runs as it). outside: what all sandboxes may reach at most (default: what is not this machine). disk_tmp, groups: instead of what would be found. Raises SandboxError when a forced tier does not work, ValueError for an unknown one.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"unknown sandbox tier {kind!r}: one of {', '.join(KINDS)}")
    if not images:
        raise ValueError("at least one root image is needed: a tier is tried with it")

    def launch(candidate: str) -> Spawner:
        if candidate == "confined":
            from .confined import launch_confined

            return launch_confined(
                instance=instance,
                packages_root=packages_root,
                images=images,
                state_dir=state_dir,
                run_as=run_as,
                binary=binary,
                sandboxes_max=sandboxes_max,
                groups=groups,
            )
        return launch_spawner(
            candidate,
            instance=instance,
            packages_root=packages_root,
            images=images,
            state_dir=state_dir,
            run_as=run_as,
            binary=binary,
            sandboxes_max=sandboxes_max,
            tmp_pool=tmp_pool,
            disk_tmp=disk_tmp,
            groups=groups,
            outside=outside,
        )

    refused: list[str] = []
    for candidate in KINDS if kind is None else (kind,):
        if candidate == "process":
            return Prepared(candidate, tuple(refused), None, packages_root, images, state_dir)
        try:
            spawner = launch(candidate)
            probe(spawner, images[0].name)
        except SandboxError as error:
            if kind is not None:
                raise
            refused.append(refusal(candidate, error))
        else:
            return Prepared(candidate, tuple(refused), spawner, packages_root, images, state_dir)
    raise AssertionError("the process tier needs nothing")


def refusal(kind: str, error: SandboxError) -> str:
    """One sentence: which tier, which step, what the kernel said, what would help."""
    said = os.strerror(error.errno) if error.errno else "no answer"
    remedy = _REMEDIES.get(error.step)
    return f'The {kind} tier was tried and refused at "{error.step}" ({said})' + (f": {remedy}." if remedy else ".")


def probe(spawner: Spawner, image: str) -> None:
    """Build one blank and destroy it, synchronously. Raises SandboxError, the spawner is ended then."""
    spawner.socket.settimeout(PROBE_S_MAX)
    try:
        wire.send(spawner.socket, wire.request(wire.CREATE, 1, limits=_PROBE_LIMITS, image=image))
        created = _answer(spawner)
        for fd in created.fds:
            os.close(fd)
        wire.send(spawner.socket, wire.request(wire.DESTROY, 2, created.sandbox))
        _answer(spawner)
        spawner.socket.setblocking(False)
    except OSError as error:
        stop_spawner(spawner)
        raise SandboxError("try one blank", error.errno or 110, str(error)) from error
    except SandboxError:
        stop_spawner(spawner)
        raise


def _answer(spawner: Spawner) -> wire.Answer:
    answer = wire.receive(spawner.socket)
    if answer is None:
        raise SandboxError("try one blank", 32, "the spawner ended")
    if answer.error:
        raise SandboxError(answer.step, answer.error, os.strerror(answer.error))
    return answer


def stop_spawner(spawner: Spawner) -> None:
    """End a spawner that no driver holds; it clears everything up by itself."""
    spawner.socket.close()
    spawner.process.wait(PROBE_S_MAX)


def open_driver(
    kind: str | None,
    *,
    instance: str,
    packages_root: Path,
    images: Sequence[Image],
    state_dir: Path,
    run_as: tuple[int, int] | None = None,
) -> SandboxDriver:
    """`prepare` and `open` in one, for callers who keep their user. Blocks while it tries."""
    return prepare(
        kind,
        instance=instance,
        packages_root=packages_root,
        images=images,
        state_dir=state_dir,
        run_as=run_as,
    ).open()


__all__ = ["KINDS", "Prepared", "open_driver", "prepare", "probe", "refusal", "stop_spawner"]
