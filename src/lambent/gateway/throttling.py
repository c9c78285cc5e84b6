"""How often: token buckets. Pure: the time comes in, whether a request may pass goes out."""

from __future__ import annotations

from dataclasses import dataclass

from .limits import BURST_DEFAULT, RATE_PER_S_DEFAULT


@dataclass(slots=True)
class Bucket:
    """`burst` tokens at most, `rate` more a second; each request takes one. Full at the beginning."""

    rate: float
    burst: int
    tokens: float = 0.0
    at_ns: int = -1

    def take(self, now_ns: int) -> bool:
        """One token, if there is one."""
        if self.at_ns < 0:
            self.tokens = float(self.burst)
        else:
            self.tokens = min(float(self.burst), self.tokens + max(0, now_ns - self.at_ns) * self.rate / 1e9)
        self.at_ns = max(now_ns, self.at_ns)
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


def account_bucket() -> Bucket:
    """What all APIs of an account in a region share."""
    return Bucket(RATE_PER_S_DEFAULT, BURST_DEFAULT)


def route_bucket(rate: float | None, burst: int | None) -> Bucket | None:
    """Of one route in one stage; None where nothing is set. What one of the two leaves open is the account's."""
    if rate is None and burst is None:
        return None
    return Bucket(RATE_PER_S_DEFAULT if rate is None else rate, BURST_DEFAULT if burst is None else burst)
