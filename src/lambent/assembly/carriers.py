"""How a sandbox reaches us: `runtime_api` behind the seam of `environments`, with the public door behind it."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import cast

from lambent.domain.clock import Clock
from lambent.environments.channel import RuntimeChannel, RuntimeSink
from lambent.environments.plan import Door
from lambent.functions.model import FunctionVersion
from lambent.http import Application, Reaper
from lambent.identity.model import SandboxOrigin
from lambent.identity.temporary import TemporaryCredentials, function_arn
from lambent.runtime_api.frame_channel import FrameChannel, open_frame_channel
from lambent.runtime_api.http_door import SandboxDoor
from lambent.sandbox.port import Sandbox
from lambent.telemetry.attempt import Origin


class SandboxCarriers:
    """`platform` is set once the public door exists; what calls before that is told that nobody is there."""

    def __init__(self, clock: Clock, reaper: Reaper, temporary: TemporaryCredentials) -> None:
        """temporary: an environment's credentials are in force for as long as its door is open."""
        self.platform: Application | None = None
        self._temporary = temporary
        self._clock = clock
        self._reaper = reaper

    def open_frames(self, sink: RuntimeSink) -> tuple[RuntimeChannel, socket.socket]:
        return open_frame_channel(sink)

    def adopt_frames(self, sink: RuntimeSink, ours: socket.socket, env: Mapping[str, str], cwd: str) -> RuntimeChannel:
        channel = FrameChannel(ours, sink)
        channel.assign(env, cwd)
        return channel

    def open_door(self, sandbox: Sandbox, origin: Origin, version: FunctionVersion) -> Door:
        identity = SandboxOrigin(
            environment=origin.environment,
            account=origin.account,
            region=origin.region,
            arn=function_arn(version.ref, version.configuration.role),
        )
        door = SandboxDoor(self.platform, identity)
        door.start(sandbox.listener, self._clock, self._reaper)
        self._temporary.hold(origin.environment)
        return _HeldDoor(door, origin.environment, self._temporary)

    def open_http(self, sink: RuntimeSink, sandbox: Sandbox, door: Door) -> RuntimeChannel:
        return cast(_HeldDoor, door).door.open_channel(sink)


class _HeldDoor:
    """A sandbox's door, with whose end the environment's credentials end."""

    def __init__(self, door: SandboxDoor, environment: str, temporary: TemporaryCredentials) -> None:
        self.door = door
        self._environment = environment
        self._temporary = temporary

    def close(self) -> None:
        self._temporary.release(self._environment)
        self.door.close()
