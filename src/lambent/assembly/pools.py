"""`GET /_lambent/pools`: what is kept ready for cold starts, and how those so far got their runtime.

`steps` says it step by step, from `waiting` (a runtime waited) over `forked` (a zygote made a copy) to `started` (an
interpreter was started); `_dry` is the same in a sandbox that had to be made first. Numbers of the node, of no account.
"""

from __future__ import annotations

import orjson

from lambent.api.ports import Authenticator
from lambent.api.wire import render
from lambent.domain.errors import AccessDenied
from lambent.domain.ids import new_uuid
from lambent.environments.blanks import STEPS, Blanks
from lambent.http import Buffered, Exchange

_JSON = (b"content-type", b"application/json")


class PoolsDoor:
    """An application for the door's path mount."""

    def __init__(self, blanks: Blanks, authenticator: Authenticator) -> None:
        self._blanks = blanks
        self._authenticator = authenticator

    def head(self, exchange: Exchange) -> Buffered | None:
        request_id = new_uuid()
        try:
            request = exchange.request
            if request.method != "GET":
                exchange.respond(405, [(b"allow", b"GET"), _JSON], b'{"message":"Pools are read with GET."}')
                return None
            caller = self._authenticator.identify(request)
            checking = self._authenticator.verify(request, caller)
            assert checking is None  # an empty body is never hashed in a thread
            if caller.sandbox is not None:
                raise AccessDenied("Functions are not told of the node they run on.")
            exchange.respond(200, [_JSON], orjson.dumps(document(self._blanks)))
        except Exception as error:
            answer = render(error, request_id)
            exchange.respond(answer.status, [_JSON, *answer.headers], answer.body)
        return None

    def handle(self, exchange: Exchange) -> None:
        """Never called: `head` answers everything."""
        raise AssertionError("pools have no body")

    def too_large(self, exchange: Exchange, limit: int, declared: int | None) -> None:
        """Never called: `head` wants no body."""
        raise AssertionError("pools have no body")


def document(blanks: Blanks) -> dict[str, object]:
    """What is answered."""
    zygotes = blanks.zygotes
    return {
        "steps": {step: blanks.steps[step] for step in STEPS},
        "ready": blanks.count,
        "waiting": blanks.waiting,
        "heldBytes": blanks.held_bytes(),
        "zygotes": 0 if zygotes is None else zygotes.count,
        "zygotesStarted": 0 if zygotes is None else zygotes.started,
        "copies": 0 if zygotes is None else zygotes.copies,
    }
