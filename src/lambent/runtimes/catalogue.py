"""Every runtime identifier of the service: what it stands for and until when the service takes it.

Source: AWS Lambda Developer Guide, "Lambda runtimes" (supported runtimes, deprecated runtimes), October 2026. Dates are
the service's; whether Lambent minds them is the caller's decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import Enum


class State(Enum):
    """Where an identifier stands in its life on a given day."""

    ANNOUNCED = "announced"
    SUPPORTED = "supported"
    DEPRECATED = "deprecated"
    BLOCKED = "blocked"
    """Functions can no longer be created with it; those that exist stay invocable."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """One runtime identifier as the API knows it."""

    name: str
    family: str
    """python, nodejs, java, ruby, dotnet, go or provided."""
    version: str
    """The language's version as part of the identifier: "3.12", "22", "21"; empty for OS-only runtimes."""
    os: str
    """AL1, AL2 or AL2023: what the service runs it on. Lambent runs it on the machine's own system."""
    deprecated: date | None
    block_create: date | None
    block_update: date | None
    announced: bool = False

    def state(self, on: date) -> State:
        """The state on a day; each date is the first day of what it begins."""
        if self.block_create is not None and on >= self.block_create:
            return State.BLOCKED
        if self.deprecated is not None and on >= self.deprecated:
            return State.DEPRECATED
        return State.ANNOUNCED if self.announced else State.SUPPORTED


_LONG_AGO = date(2022, 1, 1)
"""Stands for dates before the service began to publish them."""

# identifier, OS, deprecated, create blocked, update blocked; "-": not scheduled
_TABLE = """
nodejs26.x        AL2023 -          -          -          announced
nodejs24.x        AL2023 2028-04-30 2028-06-01 2028-07-01
nodejs22.x        AL2023 2027-04-30 2027-06-01 2027-07-01
nodejs20.x        AL2023 2026-04-30 2027-02-01 2027-03-03
nodejs18.x        AL2    2025-09-01 2027-02-01 2027-03-03
nodejs16.x        AL2    2024-06-12 2027-02-01 2027-03-03
nodejs14.x        AL2    2023-12-04 2024-01-09 2027-03-03
nodejs12.x        AL2    old        old        old
nodejs10.x        AL2    old        old        old
nodejs8.10        AL1    old        old        old
nodejs6.10        AL1    old        old        old
nodejs4.3         AL1    old        old        old
nodejs4.3-edge    AL1    old        old        old
nodejs            AL1    old        old        old
python3.15        AL2023 -          -          -          announced
python3.14        AL2023 2029-06-30 2029-07-31 2029-08-31
python3.13        AL2023 2029-06-30 2029-07-31 2029-08-31
python3.12        AL2023 2028-10-31 2028-11-30 2029-01-10
python3.11        AL2    2027-06-30 2027-07-31 2027-08-31
python3.10        AL2    2026-10-31 2027-02-01 2027-03-03
python3.9         AL2    2025-12-15 2027-02-01 2027-03-03
python3.8         AL2    2024-10-14 2027-02-01 2027-03-03
python3.7         AL1    2023-12-04 2024-01-09 2027-03-03
python3.6         AL1    2022-07-18 old        old
python2.7         AL1    old        old        old
java25            AL2023 2029-06-30 2029-07-31 2029-08-31
java21            AL2023 2029-06-30 2029-07-31 2029-08-31
java17.al2023     AL2023 -          -          -
java11.al2023     AL2023 -          -          -
java8.al2023      AL2023 -          -          -
java17            AL2    2027-06-30 2027-07-31 2027-08-31
java11            AL2    2027-06-30 2027-07-31 2027-08-31
java8.al2         AL2    2027-06-30 2027-07-31 2027-08-31
java8             AL1    2024-01-08 2024-02-08 2027-03-03
dotnet10          AL2023 2028-11-14 2028-12-14 2029-01-15
dotnet8           AL2023 2026-11-10 2027-02-01 2027-03-03
dotnet6           AL2    2024-12-20 2027-02-01 2027-03-03
dotnetcore3.1     AL2    2023-04-03 old        old
dotnetcore2.1     AL1    old        old        old
dotnetcore2.0     AL1    old        old        old
dotnetcore1.0     AL1    old        old        old
ruby4.0           AL2023 2029-03-31 2029-04-30 2029-05-31
ruby3.4           AL2023 2028-03-31 2028-04-30 2028-05-31
ruby3.3           AL2023 2027-03-31 2027-04-30 2027-05-31
ruby3.2           AL2    2026-03-31 2027-02-01 2027-03-03
ruby2.7           AL2    2023-12-07 2024-01-09 2027-03-03
ruby2.5           AL1    old        old        old
go1.x             AL1    2024-01-08 2024-02-08 2027-03-03
provided.al2023   AL2023 2029-06-30 2029-07-31 2029-08-31
provided.al2      AL2    2026-07-31 2027-02-01 2027-03-03
provided          AL1    2024-01-08 2024-02-08 2027-03-03
"""

_FAMILIES = ("nodejs", "python", "java", "dotnetcore", "dotnet", "ruby", "go", "provided")


def _date(word: str) -> date | None:
    if word == "-":
        return None
    return _LONG_AGO if word == "old" else date.fromisoformat(word)


def _row(line: str) -> Identifier:
    name, os, deprecated, create, update, *marks = line.split()
    prefix = next(family for family in _FAMILIES if name.startswith(family))
    version = name[len(prefix) :]
    for ending in (".al2023", ".al2", ".x", "-edge"):
        version = version.removesuffix(ending)
    family = "dotnet" if prefix == "dotnetcore" else prefix
    return Identifier(name, family, version, os, _date(deprecated), _date(create), _date(update), "announced" in marks)


IDENTIFIERS: dict[str, Identifier] = {row.name: row for row in map(_row, _TABLE.strip().splitlines())}
"""Every identifier by name, newest of each family first."""


def find(name: str) -> Identifier | None:
    """The identifier of that name, or None where the service knows none."""
    return IDENTIFIERS.get(name)
