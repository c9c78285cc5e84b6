"""The trace header: what comes in is kept, what is missing is made. Source: AWS X-Ray, "Tracing header"."""

from __future__ import annotations

import hashlib
import re

from ..domain.ids import random_hex

HEADER_CHARS_MAX = 2_048
LOOP_INVOCATIONS_MAX = 16
"""How often one function may stand in a chain of invocations before that counts as a loop."""
_ROOT = re.compile(r"1-[0-9a-f]{8}-[0-9a-f]{24}")
_COUNT = re.compile(r"[0-9]{1,5}")


def trace_header(incoming: str | None, wall_ms: int, *, is_active: bool) -> str:
    """`Root=…;Parent=…;Sampled=0|1[;Lineage=…]` for one invocation.

    A given Root (and whatever else the header carries, such as Lineage) is kept and the Parent is new. Without one,
    PassThrough functions get an unsampled trace, functions with active tracing a sampled one.
    """
    if incoming and len(incoming) <= HEADER_CHARS_MAX:
        fields = dict(part.split("=", 1) for part in incoming.strip().split(";") if "=" in part)
        root = fields.pop("Root", "")
        if _ROOT.fullmatch(root):
            fields.pop("Parent", None)
            sampled = fields.pop("Sampled", "1" if is_active else "0")
            rest = "".join(f";{name}={value}" for name, value in fields.items() if name != "Self")
            return f"Root={root};Parent={random_hex(16)};Sampled={'1' if sampled == '1' else '0'}{rest}"
    random = random_hex(40)
    sampled = "1" if is_active else "0"
    return f"Root=1-{wall_ms // 1_000:08x}-{random[:24]};Parent={random[24:]};Sampled={sampled}"


def descend(header: str, arn: str) -> tuple[str, int]:
    """The header with one more invocation of the function in its Lineage, and how many that makes.

    `Lineage=HASH:COUNT|HASH:COUNT`, a function's hash being eight digits of its ARN's; parts in other forms are passed on
    untouched. Source: Developer guide, "Use Lambda recursive loop detection".
    """
    own = hashlib.sha256(arn.encode()).hexdigest()[:8]
    fields = [field for field in header.split(";") if field]
    given = next((field for field in fields if field.startswith("Lineage=")), "Lineage=").removeprefix("Lineage=")
    parts = [part for part in given.split("|") if part]
    counts = [int(part[9:]) for part in parts if part.startswith(f"{own}:") and _COUNT.fullmatch(part[9:])]
    count = max(counts, default=0) + 1
    others = [part for part in parts if not part.startswith(f"{own}:")]
    lineage = "|".join([*others, f"{own}:{count}"])
    return ";".join([*(one for one in fields if not one.startswith("Lineage=")), f"Lineage={lineage}"]), count


def is_sampled(header: str) -> bool:
    """Whether a trace header asks for recording."""
    return "Sampled=1" in header
