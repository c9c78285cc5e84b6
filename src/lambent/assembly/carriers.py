"""How a sandbox reaches us: `runtime_api` behind the seam of `environments`, with the public door behind it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hmac import compare_digest
from typing import TYPE_CHECKING, cast

import orjson

from lambent.domain.clock import Clock
from lambent.environments.channel import (
    ExtensionFacts,
    ExtensionsChannel,
    ExtensionsSink,
    RuntimeChannel,
    RuntimeSink,
)
from lambent.environments.plan import Door
from lambent.functions.model import FunctionVersion
from lambent.http import Application, Reaper
from lambent.identity.model import SandboxOrigin
from lambent.identity.temporary import TemporaryCredentials, function_arn
from lambent.sandbox.port import Sandbox
from lambent.telemetry.attempt import SNAP_START, Origin
from lambent.telemetry.platform_lines import iso_ms

CREDENTIALS_S = 3_600
"""How long credentials from the endpoint are said to be good; they are as long as the environment lives."""
TEMPLATE_CREDENTIALS_S = 60
"""In a template: shorter than the ten minutes before the end in which SDKs ask anew, so that no copy uses its template's."""

if TYPE_CHECKING:
    from lambent.runtime_api.http_door import SandboxDoor


class SandboxCarriers:
    """`platform` is set once the public door exists; what calls before that is told that nobody is there."""

    def __init__(self, clock: Clock, reaper: Reaper, temporary: TemporaryCredentials) -> None:
        """temporary: an environment's credentials are in force for as long as its door is open."""
        self.platform: Application | None = None
        self._temporary = temporary
        self._clock = clock
        self._reaper = reaper

    def open_frames(self, sink: RuntimeSink) -> tuple[RuntimeChannel, socket.socket]:
        from lambent.runtime_api.frame_channel import open_frame_channel  # needed by the first sandbox, not to listen

        return open_frame_channel(sink)

    def assignment(self, env: Mapping[str, str], cwd: str) -> bytes:
        from lambent.runtime_api.frames import encode_assign

        return encode_assign(env, cwd)

    def adopt_frames(self, sink: RuntimeSink, ours: socket.socket, assignment: bytes) -> RuntimeChannel:
        from lambent.runtime_api.frame_channel import FrameChannel

        channel = FrameChannel(ours, sink)
        channel.assign(assignment)
        return channel

    def restore_frames(self, sink: RuntimeSink, ours: socket.socket) -> RuntimeChannel:
        from lambent.runtime_api.frame_channel import FrameChannel

        channel = FrameChannel(ours, sink)
        channel.restore()
        return channel

    def open_door(
        self, sandbox: Sandbox, origin: Origin, version: FunctionVersion, *, is_template: bool = False
    ) -> Door:
        from lambent.runtime_api.http_door import SandboxDoor

        identity = SandboxOrigin(
            environment=origin.environment,
            account=origin.account,
            region=origin.region,
            arn=function_arn(version.ref, version.configuration.role),
        )
        credentials = None
        if origin.initialization == SNAP_START:
            valid_s = TEMPLATE_CREDENTIALS_S if is_template else CREDENTIALS_S
            credentials = partial(self._credentials, origin.environment, version, valid_s)
        door = SandboxDoor(self.platform, identity, credentials=credentials)
        door.start(sandbox.listener, self._clock, self._reaper)
        self._temporary.hold(origin.environment)
        return _HeldDoor(door, origin.environment, self._temporary)

    def _credentials(self, environment: str, version: FunctionVersion, valid_s: int, token: str) -> bytes | None:
        """What the container credentials endpoint answers. The token is one for a template and its copies, which have it
        from the same variable; whose credentials they are, the listener knows."""
        if not compare_digest(
            token.encode(), self._temporary.container_token(version.arn, version.generation).encode()
        ):
            return None
        issued = self._temporary.issue_to(environment, version.ref, version.configuration.role)
        return orjson.dumps(
            {
                "AccessKeyId": issued.access_key,
                "SecretAccessKey": issued.secret,
                "Token": issued.token,
                "Expiration": iso_ms(self._clock.wall_ms() + valid_s * 1_000),
            }
        )

    def open_http(self, sink: RuntimeSink, sandbox: Sandbox, door: Door) -> RuntimeChannel:
        return cast(_HeldDoor, door).door.open_channel(sink)

    def open_extensions(
        self, sink: ExtensionsSink, door: Door, facts: ExtensionFacts, external: Sequence[str]
    ) -> ExtensionsChannel:
        return cast(_HeldDoor, door).door.open_extensions(sink, facts, external)


class _HeldDoor:
    """A sandbox's door, with whose end the environment's credentials end."""

    def __init__(self, door: SandboxDoor, environment: str, temporary: TemporaryCredentials) -> None:
        self.door = door
        self._environment = environment
        self._temporary = temporary

    @property
    def on_runtime(self) -> Callable[[], None] | None:
        return self.door.on_runtime

    @on_runtime.setter
    def on_runtime(self, call: Callable[[], None] | None) -> None:
        self.door.on_runtime = call

    def close(self) -> None:
        self._temporary.release(self._environment)
        self.door.close()
