"""What the service prints in validation errors where it differs from its published model, and the runtime sets.

Sources: recordings of the service's answers; the published model for what it accepts. The three errors at the end are
phrased like model constraints but come with code InvalidParameterValueException, so resource modules raise them.
"""

from __future__ import annotations

from typing import Final

from lambent.domain.errors import InvalidParameterValue
from lambent.domain.limits import FUNCTION_NAME_CHARS_MAX

# In the service's own order; the last line appends what the model of 2026 added, which nothing relies on.
CREATABLE_RUNTIMES: Final = (
    *("nodejs20.x", "python3.14", "provided.al2023", "python3.12", "python3.13", "nodejs24.x", "nodejs22.x", "java25"),
    *("python3.10", "python3.11", "java21", "ruby3.3", "ruby3.4", "ruby3.2", "python3.8", "python3.9", "java17"),
    *("nodejs16.x", "dotnet10", "dotnet8", "java11", "dotnet6", "nodejs18.x", "provided.al2", "java8.al2"),
    *("nodejs26.x", "python3.15", "ruby4.0", "java8.al2023", "java11.al2023", "java17.al2023", "custom"),
)

LISTABLE_RUNTIMES: Final = (
    *("ruby3.5", "ruby2.6", "dotnetcore1.0", "python3.7", "nodejs8.10", "nasa", "ruby2.7", "python2.7-greengrass"),
    *("dotnetcore2.0", "python3.8", "java21", "dotnet6", "dotnetcore2.1", "python3.9", "java11", "nodejs6.10"),
    *("provided", "dotnetcore3.1", "dotnet8", "java25", "java17", "nodejs", "nodejs4.3", "java8.al2", "go1.x"),
    *("dotnet10", "nodejs20.x", "go1.9", "byol", "nodejs10.x", "provided.al2023", "nodejs22.x", "python3.10", "java8"),
    *("nodejs12.x", "python3.11", "nodejs24.x", "nodejs8.x", "python3.12", "nodejs14.x", "nodejs8.9", "nodejs26.x"),
    *("python3.13", "python3.14", "nodejs16.x", "python3.15", "provided.al2", "nodejs4.3-edge", "nodejs18.x"),
    *("ruby3.2", "python3.4", "ruby3.3", "ruby3.4", "ruby2.5", "python3.6", "python2.7"),
)

PRINTED_SETS: Final = {
    "RecursiveLoop": ("Terminate", "Allow"),
    "EventSourcePosition": ("LATEST", "AT_TIMESTAMP", "TRIM_HORIZON"),
    "InvokeMode": ("RESPONSE_STREAM", "BUFFERED"),
}
"""Enums by shape, where the printed order is not the model's."""

PRINTED_RUNTIMES: Final = {"CompatibleRuntimes": CREATABLE_RUNTIMES, "CompatibleRuntime": LISTABLE_RUNTIMES}
"""The Runtime enum by member; what is accepted is the model's set and this one together."""

UNCHECKED_ENUMS: Final = frozenset(
    {("CreateFunctionRequest", "Runtime"), ("UpdateFunctionConfigurationRequest", "Runtime")}
)
"""Enums the service's own logic checks, with words and code of its own (`unknown_runtime`)."""

BARE_LISTS: Final = frozenset({"CompatibleRuntimes"})
"""Lists whose elements' violation is printed without the enclosing `Member must satisfy constraint: [...]`."""

NULLABLE_ELEMENTS: Final = frozenset({"SubnetId", "SecurityGroupId"})
"""Elements that the service's model lets be null, so `Member must not be null` is not printed."""

EARLIER_MEMBERS: Final = {"CompatibleRuntimes": "CompatibleArchitectures"}
"""Members whose errors are printed before another's although the model has them after it."""

# The service's model has this pattern without its outermost parentheses.
UNPARENTHESISED: Final = frozenset({"LayerVersionArn"})


def unknown_runtime(runtime: str) -> InvalidParameterValue:
    """The answer to a runtime that never existed, on create and update: no quotes and no count, unlike all others."""
    return InvalidParameterValue(
        f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
        f"[{', '.join(CREATABLE_RUNTIMES)}] or be a valid ARN"
    )


def blocked_runtime(runtime: str) -> InvalidParameterValue:
    """The answer to a runtime that was creatable once."""
    return InvalidParameterValue(
        f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
        "We recommend you use a supported runtime while creating or updating functions."
    )


def long_function_name(name: str) -> InvalidParameterValue:
    """The answer to a bare name over 64 characters on CreateFunction."""
    return InvalidParameterValue(
        f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: "
        f"Member must have length less than or equal to {FUNCTION_NAME_CHARS_MAX}"
    )


def missing_starting_position() -> InvalidParameterValue:
    """The answer to a stream mapping without StartingPosition; it ends with a full stop, alone among its kind."""
    return InvalidParameterValue(
        "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: "
        "Member must not be null."
    )
