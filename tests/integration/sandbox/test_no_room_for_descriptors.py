"""A server without room for one more descriptor gets an error with a name, and leaves no sandbox behind."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator

import pytest
from tests.contracts.sandbox_world import World, made_world

from lambent.sandbox.port import SandboxError


@pytest.fixture
def world() -> Iterator[World]:
    with made_world("container") as made:
        yield made


def test_no_room_for_a_descriptor_is_an_error_and_leaves_nothing(world: World) -> None:
    """`made_world` checks at its end that no sandbox, mount or group is left."""

    async def body() -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        fillers = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        try:
            while True:
                try:
                    fillers.append(os.open("/dev/null", os.O_RDONLY))
                except OSError:
                    break
            with pytest.raises(SandboxError) as refused:
                await world.blank()
            assert refused.value.errno == errno.EMFILE
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for filler in fillers:
                os.close(filler)
        sandbox = await world.bound()  # and with room again all is well
        await sandbox.destroy()

    world.run(body())
