"""Interleaved comparisons: A B C, A B C, …; the result is the ratio of arms within a round, with median, min and max.

Absolute times on a shared machine drift by a third within minutes; ratios of neighbours do not, and CPU milliseconds
from the kernel's own accounting drift least. So every figure is taken side by side with its reference, and CPU time
stands beside wall time.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Measurement:
    """What one arm gave in one round: named numbers, each with its unit in the name (p50_us, per_s, cpu_us)."""

    values: dict[str, float]


@dataclass(slots=True)
class Spread:
    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


@dataclass(slots=True)
class Comparison:
    """All rounds of all arms of one question."""

    name: str
    question: str
    reference: str
    rounds: int
    arms: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def spread(self, arm: str, key: str) -> Spread:
        return Spread.of(self.arms[arm][key])

    def ratio(self, arm: str, key: str, *, to: str | None = None) -> Spread | None:
        """The arm's value over the reference's, round by round."""
        base = self.arms.get(to or self.reference, {}).get(key)
        mine = self.arms.get(arm, {}).get(key)
        if not base or not mine:
            return None
        ratios = [a / b for a, b in zip(mine, base, strict=False) if b]
        return Spread.of(ratios) if ratios else None


def compare(
    name: str,
    question: str,
    arms: Mapping[str, Callable[[], Measurement]],
    *,
    reference: str,
    rounds: int,
    pause_s: float = 0.3,
) -> Comparison:
    """Run every arm once per round, in turn; an arm that fails is named with its reason and left out."""
    result = Comparison(name, question, reference, rounds)
    for _ in range(rounds):
        for arm, take in arms.items():
            if arm in result.errors:
                continue
            try:
                measured = take()
            except Exception as error:  # an arm whose reference is not on this machine
                result.errors[arm] = f"{type(error).__name__}: {error}"
                continue
            row = result.arms.setdefault(arm, {})
            for key, value in measured.values.items():
                row.setdefault(key, []).append(value)
            time.sleep(pause_s)
    return result


def cpu_us(pids: Sequence[int]) -> int:
    """User and system CPU time of these processes and all their descendants so far, in microseconds."""
    total = 0
    children: dict[int, list[int]] = {}
    times: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path(f"/proc/{entry}/stat").read_text()
        except OSError:
            continue
        fields = stat.rpartition(")")[2].split()
        pid = int(entry)
        children.setdefault(int(fields[1]), []).append(pid)
        times[pid] = int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14])
        if os.path.exists(f"/proc/{entry}/schedstat"):
            try:
                # Nanosecond accounting of the main thread beats 10 ms ticks for short runs.
                spent_ns = sum(
                    int(Path(task, "schedstat").read_text().split()[0])
                    for task in map(str, Path(f"/proc/{entry}/task").iterdir())
                )
                times[pid] = -spent_ns
            except (OSError, ValueError, IndexError):
                pass
    queue = list(pids)
    seen: set[int] = set()
    while queue:
        pid = queue.pop()
        if pid in seen:
            continue
        seen.add(pid)
        spent = times.get(pid, 0)
        total += -spent // 1_000 if spent < 0 else spent * 1_000_000 // TICKS
        queue.extend(children.get(pid, []))
    return total


def rss_kb(pids: Sequence[int]) -> int:
    """Resident set sizes of these processes added up, in KB: what several share is counted for each."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total


def host() -> dict[str, Any]:
    """The machine that the numbers were taken on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_048_576,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def table(comparison: Comparison, keys: Sequence[str]) -> str:
    """A Markdown table: one row per arm, median (min–max) per key, ratio to the reference."""
    head = "| arm | " + " | ".join(f"{key} | ratio" for key in keys) + " |"
    lines = [f"**{comparison.name}** {comparison.question}", "", head, "|" + "---|" * (1 + 2 * len(keys))]
    for arm in comparison.arms:
        cells = []
        for key in keys:
            if key not in comparison.arms[arm]:
                cells += ["–", "–"]
                continue
            spread = comparison.spread(arm, key)
            ratio = comparison.ratio(arm, key)
            cells.append(f"{_number(spread.median)} ({_number(spread.min)}–{_number(spread.max)})")
            is_reference = arm == comparison.reference or ratio is None
            cells.append("1" if is_reference else f"{ratio.median:.2f} ({ratio.min:.2f}–{ratio.max:.2f})")  # type: ignore[union-attr]
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    lines += [f"| {arm} | not measured: {reason} |" for arm, reason in comparison.errors.items()]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    if value >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def save(path: Path, comparisons: Sequence[Comparison], command: str) -> None:
    """All rounds as JSON, with the host and the command that made them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"host": host(), "command": command, "comparisons": [asdict(c) for c in comparisons]}
    path.write_text(json.dumps(document, indent=1) + "\n")
