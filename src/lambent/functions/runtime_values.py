"""Runtime identifiers as the API accepts and refuses them: creatable, once valid, unknown.

Source: the Runtime enumeration of the published service model, and the service's messages. Which of them this machine
can run is another question (`RuntimeCheck`).
"""

from __future__ import annotations

from ..domain.errors import InvalidParameterValue

CREATABLE = (
    "nodejs20.x",
    "python3.14",
    "provided.al2023",
    "python3.12",
    "python3.13",
    "nodejs24.x",
    "nodejs22.x",
    "java25",
    "python3.10",
    "python3.11",
    "java21",
    "ruby3.3",
    "ruby3.4",
    "ruby3.2",
    "python3.8",
    "python3.9",
    "java17",
    "nodejs16.x",
    "dotnet10",
    "dotnet8",
    "java11",
    "dotnet6",
    "nodejs18.x",
    "provided.al2",
    "java8.al2",
    "nodejs26.x",
    "python3.15",
    "ruby4.0",
    "java8.al2023",
    "java11.al2023",
    "java17.al2023",
)
"""In the order the service prints them."""

RETIRED = frozenset(
    [
        "nodejs",
        "nodejs4.3",
        "nodejs4.3-edge",
        "nodejs6.10",
        "nodejs8.10",
        "nodejs10.x",
        "nodejs12.x",
        "nodejs14.x",
        "java8",
        "python2.7",
        "python3.6",
        "python3.7",
        "dotnetcore1.0",
        "dotnetcore2.0",
        "dotnetcore2.1",
        "dotnetcore3.1",
        "go1.x",
        "ruby2.5",
        "ruby2.7",
        "provided",
    ]
)
"""Once valid, blocked for creation and update."""

SNAP_START = frozenset(
    [
        "java11",
        "java17",
        "java21",
        "java25",
        "java11.al2023",
        "java17.al2023",
        "python3.12",
        "python3.13",
        "python3.14",
        "python3.15",
        "dotnet8",
        "dotnet10",
    ]
)
"""Java 11 and later, Python 3.12 and later, .NET 8 and later."""

CUSTOM = "custom"
"""The identifier of customer-managed runtimes, which are chosen through RuntimeConfig."""


def check_runtime(runtime: str) -> None:
    """Raises InvalidParameterValue, in the service's words, for anything that no function may be given."""
    if runtime in _CREATABLE:
        return
    if runtime in RETIRED:
        raise InvalidParameterValue(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions."
        )
    if runtime == CUSTOM:
        raise InvalidParameterValue(
            "Customer-managed runtimes (Runtime custom) are not served by this release of Lambent. "
            "Use provided.al2023 with your runtime in the package."
        )
    raise InvalidParameterValue(
        f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
        f"[{', '.join(CREATABLE)}] or be a valid ARN"
    )


_CREATABLE = frozenset(CREATABLE)
