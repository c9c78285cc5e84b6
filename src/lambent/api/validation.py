"""The model's constraints, checked together and worded as the service words them.

    {n} validation error(s) detected: Value {v} at '{path}' failed to satisfy constraint: {constraint}; ...

Every violated constraint of the request is in the one message. Order: members in the model's order, those of the path
after all others (recorded: `qualifier` before `functionName`); within a member, length or range before pattern or enum.
What is not recorded and decided here: a structure inside a list has its path as the services' framework writes it
(`filterCriteria.filters.1.member.pattern`), structures print as `Filter(pattern=x, other=null)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lambent.api.printed import (
    BARE_LISTS,
    EARLIER_MEMBERS,
    NULLABLE_ELEMENTS,
    PRINTED_RUNTIMES,
    PRINTED_SETS,
    UNCHECKED_ENUMS,
    UNPARENTHESISED,
)
from lambent.api.table import INVOKE_FAMILY, Member, Operation, Shape
from lambent.domain.errors import ValidationFailed

PATTERN_CHARS_MAX = 65_536
"""Values longer than this and longer than their maximum are refused for their length alone, unmatched."""

NOT_NULL = "Member must not be null"


def validate(operation: Operation, values: dict[str, Any]) -> None:
    """Check an operation's parsed input. Raises ValidationFailed with every violation in one message."""
    shape = operation.input
    if shape is None:
        return
    found = list(_structure(shape, values, "", skip_payload=operation.name in INVOKE_FAMILY))
    if found:
        count = f"{len(found)} validation error{'s' if len(found) > 1 else ''} detected: "
        raise ValidationFailed(count + "; ".join(found))


def _structure(shape: Shape, values: dict[str, Any], prefix: str, *, skip_payload: bool = False) -> Iterator[str]:
    for member in _in_order(shape):
        if skip_payload and member.name == shape.payload:
            continue
        path = prefix + lower_camel(member.name)
        value = values.get(member.name)
        if value is None:
            if member.name in shape.required:
                yield _error("null", path, NOT_NULL)
        else:
            yield from _member(shape, member, value, path)


def _in_order(shape: Shape) -> list[Member]:
    members = sorted(shape.members.values(), key=lambda member: member.location == "uri")
    for late, before in EARLIER_MEMBERS.items():
        if late in shape.members and before in shape.members:
            moved = shape.members[late]
            members.remove(moved)
            members.insert(members.index(shape.members[before]), moved)
    return members


def _member(owner: Shape, member: Member, value: Any, path: str) -> Iterator[str]:
    shape = member.shape
    if shape.kind == "structure":
        yield from _structure(shape, value, path + ".")
        return
    if (owner.name, member.name) in UNCHECKED_ENUMS:
        return
    for constraint in _violated(shape, value, PRINTED_RUNTIMES.get(member.name)):
        yield _error(f"'{print_value(shape, value)}'", path, constraint)
    if shape.kind == "list":
        yield from _elements(member, value, path)
    elif shape.kind == "map" and shape.value.kind == "structure":
        for key, item in value.items():
            if item is not None:
                yield from _structure(shape.value, item, f"{path}.{key}.member.")


def _elements(member: Member, values: list[Any], path: str) -> Iterator[str]:
    """Violations inside a list's structures; those of plain elements belong to the list itself."""
    element = member.shape.element
    if element.kind == "structure":
        for index, item in enumerate(values, 1):
            if item is not None:
                yield from _structure(element, item, f"{path}.{index}.member.")


def _violated(shape: Shape, value: Any, runtimes: tuple[str, ...] | None = None) -> Iterator[str]:
    """The constraints of `shape` that `value` violates, worded, in the order the service prints them."""
    kind = shape.kind
    if kind in ("integer", "long", "double"):
        if shape.max is not None and value > shape.max:
            yield _upper(shape)
        if shape.min is not None and value < shape.min:
            yield _lower(shape)
        return
    if kind not in ("string", "blob", "list", "map"):
        return
    length = len(value)
    if shape.max is not None and length > shape.max:
        yield _upper(shape)
    if shape.min is not None and length < shape.min:
        yield _lower(shape)
    if kind == "string":
        too_long_to_match = shape.max is not None and length > max(shape.max, PATTERN_CHARS_MAX)
        if shape.pattern is not None and not too_long_to_match and not shape.matches(value):
            yield _pattern(shape)
        if shape.enum and value not in shape.enum and value not in (runtimes or ()):
            yield _enum(shape, runtimes)
    elif kind == "list":
        yield from _bad_elements(shape, value, runtimes)
    elif kind == "map":
        if any(next(_violated(shape.key, key), None) for key in value):
            yield f"Map keys must satisfy constraint: [{', '.join(_all(shape.key))}]"
        if any(_is_bad(shape.value, item) for item in value.values()):
            yield f"Map value must satisfy constraint: [{', '.join([*_all(shape.value), NOT_NULL])}]"


def _bad_elements(shape: Shape, values: list[Any], runtimes: tuple[str, ...] | None) -> Iterator[str]:
    element = shape.element
    nullable = element.name in NULLABLE_ELEMENTS
    if not any(
        (item is None and not nullable) or (item is not None and next(_violated(element, item, runtimes), None))
        for item in values
    ):
        return
    if shape.name in BARE_LISTS:
        yield _enum(element, runtimes)
        return
    constraints = [*_all(element, runtimes)] if nullable else [*_all(element, runtimes), NOT_NULL]
    yield f"Member must satisfy constraint: [{', '.join(constraints)}]"


def _is_bad(shape: Shape, item: Any) -> bool:
    return item is None or next(_violated(shape, item), None) is not None


def _all(shape: Shape, runtimes: tuple[str, ...] | None = None) -> Iterator[str]:
    """All constraints of `shape`, as printed for the elements of lists and maps."""
    if shape.max is not None:
        yield _upper(shape)
    if shape.min is not None:
        yield _lower(shape)
    if shape.pattern is not None:
        yield _pattern(shape)
    if shape.enum:
        yield _enum(shape, runtimes)
    if shape.kind == "list":
        yield f"Member must satisfy constraint: [{', '.join([*_all(shape.element), NOT_NULL])}]"


def _upper(shape: Shape) -> str:
    return f"Member must have {_measure(shape)} less than or equal to {_bound(shape, shape.max)}"


def _lower(shape: Shape) -> str:
    return f"Member must have {_measure(shape)} greater than or equal to {_bound(shape, shape.min)}"


def _measure(shape: Shape) -> str:
    return "value" if shape.kind in ("integer", "long", "double") else "length"


def _bound(shape: Shape, bound: float | None) -> str:
    assert bound is not None
    return java_double(bound) if shape.kind == "double" else str(bound)


def _pattern(shape: Shape) -> str:
    assert shape.pattern is not None
    printed = shape.pattern[1:-1] if shape.name in UNPARENTHESISED else shape.pattern
    return f"Member must satisfy regular expression pattern: {printed}"


def _enum(shape: Shape, runtimes: tuple[str, ...] | None = None) -> str:
    return f"Member must satisfy enum value set: [{', '.join(runtimes or PRINTED_SETS.get(shape.name, shape.enum))}]"


def _error(value: str, path: str, constraint: str) -> str:
    return f"Value {value} at '{path}' failed to satisfy constraint: {constraint}"


def lower_camel(name: str) -> str:
    """A member's name in a path: the first letter lowered, the rest kept."""
    return name[:1].lower() + name[1:]


def print_value(shape: Shape, value: Any) -> str:
    """A value as the service prints it, without the quotes around the outermost one."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    match shape.kind:
        case "double":
            return java_double(value)
        case "list":
            return f"[{', '.join(print_value(shape.element, item) for item in value)}]"
        case "map":
            return "{" + ", ".join(f"{key}={print_value(shape.value, item)}" for key, item in value.items()) + "}"
        case "structure":
            inside = (
                f"{lower_camel(m.name)}={print_value(m.shape, value.get(m.name))}" for m in shape.members.values()
            )
            return f"{shape.name}({', '.join(inside)})"
        case "blob":
            return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    return str(value)


def java_double(value: float) -> str:
    """A double as Java's `Double.toString` writes it: always a point, an exponent outside 0.001 to 10 million."""
    value = float(value)
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    mantissa = exponent = ""
    for digits in range(17):  # the shortest that reads back as the same double; 17 digits always do
        mantissa, _, exponent = f"{value:.{digits}e}".partition("e")
        if float(f"{mantissa}e{exponent}") == value:
            break
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}E{int(exponent)}"
