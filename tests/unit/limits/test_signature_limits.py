"""How long a signature counts, at the second."""

from __future__ import annotations

import datetime

import pytest
from botocore.auth import SigV4QueryAuth
from tests.unit.identity.test_sigv4 import NOW, NOW_MS, check, refusal, signed, verifier

from lambent.domain.clock import ManualClock
from lambent.identity.sigv4 import PRESIGNED_S_MAX, SKEW_S


@pytest.mark.parametrize("side", [-1, 1])
def test_a_request_may_be_five_minutes_off(side: int) -> None:
    check(signed(at=NOW + datetime.timedelta(seconds=side * SKEW_S)))
    code, _ = refusal(signed(at=NOW + datetime.timedelta(seconds=side * (SKEW_S + 1))))
    assert code == "InvalidSignatureException"


class Week(SigV4QueryAuth):  # type: ignore[misc]
    """Presigns for as long as is allowed, and with `over` for a second more."""

    over = 0

    def __init__(self, credentials: object, service: str, region: str) -> None:
        super().__init__(credentials, service, region, expires=PRESIGNED_S_MAX + self.over)


class Longer(Week):
    over = 1


def test_an_address_is_presigned_for_seven_days_at_most() -> None:
    url = "http://127.0.0.1:9000/2015-03-31/functions"
    presigned = signed("GET", url, b"", signer=Week)
    clock = ManualClock(NOW_MS)
    clock.advance(PRESIGNED_S_MAX)
    check(presigned, verifier(clock))
    clock.advance(1)
    assert refusal(presigned, verifier(clock))[0] == "InvalidSignatureException"
    refused = refusal(signed("GET", url, b"", signer=Longer))
    assert refused[0] == "InvalidSignatureException"
    assert "between 1 and 604800 seconds" in str(refused[1])
