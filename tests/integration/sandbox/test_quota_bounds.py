"""The launcher's bound of a processor quota: the most that is taken, and the first that is not."""

from __future__ import annotations

import errno
import os

from tests.contracts.sandbox_world import LIMITS
from tests.integration.sandbox.test_hostile_server import Door, door, launcher

from lambent.sandbox import wire

__all__ = ["door", "launcher"]  # fixtures

CORES_MAX = 1_024


def test_a_quota_of_more_than_1024_cores_is_refused(door: Door) -> None:
    for vcpus, expected in ((float(CORES_MAX), 0), (CORES_MAX + 0.001, errno.EINVAL)):
        answer = door.ask(wire.CREATE, limits=LIMITS, vcpus=vcpus, image="base")
        assert answer.error == expected
        if answer.error == 0:
            for fd in answer.fds:
                os.close(fd)
            door.destroy(answer.sandbox)
