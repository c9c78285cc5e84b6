"""An event and its function agree about tenants when it runs, or it does not run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.functions.house import House, code, ref, wanted

from lambent.assembly.events import EventAttempts
from lambent.invocations.queue import Event
from lambent.invocations.retry import NotFound, Outcome, Success
from lambent.invocations.service import Invocation


class Invocations:
    def __init__(self) -> None:
        self.tenants: list[str] = []

    async def run(self, invocation: Invocation) -> Any:
        self.tenants.append(invocation.tenant_id)
        return SimpleNamespace(function_error=False, body=b"1")


@pytest.mark.parametrize(
    ("tenancy", "tenant_id", "outcome"),
    [
        (None, "", Success(b"1", "$LATEST")),
        ("PER_TENANT", "red", Success(b"1", "$LATEST")),
        ("PER_TENANT", "", NotFound("the function isolates tenants, and the event names none")),
        (None, "red", NotFound("the event names a tenant, and the function of this name has none")),
    ],
)
def test_an_event_runs_for_its_tenant_or_not_at_all(tenancy: str | None, tenant_id: str, outcome: Outcome) -> None:
    house, invocations = House(), Invocations()

    async def body() -> Outcome:
        anything: Any = invocations
        await house.functions.create(ref(), wanted(tenancy=tenancy), code())
        attempts = EventAttempts(house.functions, anything, house.clock, lambda _: None)
        return await attempts.attempt(Event(1, ref(), None, "r", "", b"{}", 0, 0, tenant_id=tenant_id))

    assert house.run(body()) == outcome
    assert invocations.tenants == ([tenant_id] if isinstance(outcome, Success) else [])
