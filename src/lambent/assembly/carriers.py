"""How a sandbox reaches us: `runtime_api` behind the seam of `environments`, with the public door behind it."""

from __future__ import annotations

import socket
from typing import cast

from lambent.domain.clock import Clock
from lambent.environments.channel import RuntimeChannel, RuntimeSink
from lambent.environments.plan import Door
from lambent.http import Application, Reaper
from lambent.identity.model import SandboxOrigin
from lambent.runtime_api.frame_channel import open_frame_channel
from lambent.runtime_api.http_door import SandboxDoor
from lambent.sandbox.port import Sandbox
from lambent.telemetry.attempt import Origin


class SandboxCarriers:
    """`platform` is set once the public door exists; what calls before that is told that nobody is there."""

    def __init__(self, clock: Clock, reaper: Reaper) -> None:
        self.platform: Application | None = None
        self._clock = clock
        self._reaper = reaper

    def open_frames(self, sink: RuntimeSink) -> tuple[RuntimeChannel, socket.socket]:
        return open_frame_channel(sink)

    def open_door(self, sandbox: Sandbox, origin: Origin) -> Door:
        identity = SandboxOrigin(environment=origin.environment, account=origin.account, region=origin.region)
        door = SandboxDoor(self.platform, identity)
        door.start(sandbox.listener, self._clock, self._reaper)
        return door

    def open_http(self, sink: RuntimeSink, sandbox: Sandbox, door: Door) -> RuntimeChannel:
        return cast(SandboxDoor, door).open_channel(sink)
