"""The launcher's bound of a processor quota: the most that is taken, and the first that is not."""

from __future__ import annotations

import errno
import os

import pytest
from tests.contracts.sandbox_world import LIMITS, leftovers, made_place, wait_until_gone
from tests.integration.sandbox.test_hostile_server import ANSWER_S_MAX, Door

from lambent.sandbox import wire
from lambent.sandbox.choose import stop_spawner
from lambent.sandbox.port import Image, SandboxError
from lambent.sandbox.spawner import launch_spawner

CORES_MAX = 1_024


def test_a_quota_of_more_than_1024_cores_is_refused() -> None:
    with made_place() as place:
        try:
            spawner = launch_spawner(
                "container",
                instance=f"quota-{os.getpid()}",
                packages_root=place / "packages",
                images=(Image("base", ()),),
                state_dir=place / "state",
                binary=place / "lambent-launcher",
            )
        except SandboxError as error:
            pytest.skip(f"the container tier does not work here: {error}")
        spawner.socket.settimeout(ANSWER_S_MAX)
        door = Door(spawner, place)
        for vcpus, expected in ((float(CORES_MAX), 0), (CORES_MAX + 0.001, errno.EINVAL)):
            answer = door.ask(wire.CREATE, limits=LIMITS, vcpus=vcpus, image="base")
            assert answer.error == expected
            if answer.error == 0:
                for fd in answer.fds:
                    os.close(fd)
                door.destroy(answer.sandbox)
        stop_spawner(spawner)
        assert not wait_until_gone(place, spawner.instance)
        assert not leftovers(place, spawner.instance)
