"""Functions as compact JSON documents, for stores. Members equal to their default stay away, unknown ones are refused.

Documents are ours alone: what is written by one release is read by the next (additive members with defaults), and a
change of meaning comes with a migration.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import Any

import orjson

from ..domain.names import FunctionRef
from .model import (
    Alias,
    Code,
    Configuration,
    Durable,
    EventInvoke,
    FileSystem,
    Function,
    FunctionVersion,
    Image,
    LayerReference,
    Logging,
    Policy,
    Provisioned,
    Receipt,
    RuntimeManagement,
    Url,
    Vpc,
)


def encode_version(version: FunctionVersion) -> bytes:
    """One version; its name and number are the store's keys and not part of the document."""
    return orjson.dumps(_version(version))


def decode_version(ref: FunctionRef, number: str, document: bytes) -> FunctionVersion:
    """The inverse of `encode_version`."""
    return _read_version(ref, number, orjson.loads(document))


def encode_function(function: Function) -> bytes:
    """A function without its published versions, which are stored one by one; keys and revision are the store's."""
    document = _members(function, _FUNCTION_MEMBERS)
    document["latest"] = _version(function.latest)
    if function.serving is not None:
        document["serving"] = _version(function.serving)
    if function.receipt is not None:
        receipt = function.receipt
        document["receipt"] = [receipt.invocation_id, receipt.revision_id, receipt.version]
    return orjson.dumps(document)


def decode_function(
    ref: FunctionRef, revision: int, document: bytes, versions: dict[str, FunctionVersion] | None = None
) -> Function:
    """The inverse of `encode_function`; `versions` are the published ones, ascending."""
    members = orjson.loads(document)
    members["latest"] = _read_version(ref, "$LATEST", members["latest"])
    if "serving" in members:
        members["serving"] = _read_version(ref, "$LATEST", members["serving"])
    if "receipt" in members:
        members["receipt"] = Receipt(*members["receipt"])
    for name, shape in _BY_QUALIFIER.items():
        if name in members:
            members[name] = {key: shape(**one) for key, one in members[name].items()}
    if versions:
        members["versions"] = versions
    return Function(ref, revision, **members)


_BY_QUALIFIER: dict[str, Any] = {
    "aliases": Alias,
    "policies": Policy,
    "event_invokes": EventInvoke,
    "urls": Url,
    "provisioned": Provisioned,
    "runtime_management": RuntimeManagement,
}
"""Members of a function that are tables of flat values."""

_Defaults = tuple[tuple[str, Any], ...]


def _plain(shape: Any, *without: str) -> _Defaults:
    """(name, default) of a dataclass's fields; MISSING where there is none, the empty value for factories."""
    return tuple((one.name, _default(one)) for one in fields(shape) if one.name not in without)


def _default(one: Field[Any]) -> Any:
    return one.default if one.default_factory is MISSING else one.default_factory()


_CONFIGURATION_MEMBERS = _plain(Configuration)
_VERSION_MEMBERS = _plain(FunctionVersion, "ref", "version", "configuration", "code")
_CODE_MEMBERS = _plain(Code)
_FUNCTION_MEMBERS = _plain(Function, "ref", "revision", "latest", "serving", "versions", "receipt")


def _members(value: Any, members: _Defaults) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, default in members:
        member = getattr(value, name)
        if default is MISSING or member != default:
            document[name] = member
    return document


def _version(version: FunctionVersion) -> dict[str, Any]:
    document = _members(version, _VERSION_MEMBERS)
    # orjson writes dataclasses and tuples itself, as objects and arrays.
    document["configuration"] = _members(version.configuration, _CONFIGURATION_MEMBERS)
    document["code"] = _members(version.code, _CODE_MEMBERS)
    return document


def _read_version(ref: FunctionRef, number: str, members: dict[str, Any]) -> FunctionVersion:
    code = Code(**members.pop("code"))
    configuration = _read_configuration(members.pop("configuration"))
    return FunctionVersion(ref=ref, version=number, configuration=configuration, code=code, **members)


def _read_configuration(members: dict[str, Any]) -> Configuration:
    for name, value in members.items():
        read = _NESTED.get(name)
        if read is not None:
            members[name] = read(value)
    return Configuration(**members)


def _read_vpc(members: dict[str, Any]) -> Vpc:
    return Vpc(
        **members
        | {
            "subnet_ids": tuple(members["subnet_ids"]),
            "security_group_ids": tuple(members["security_group_ids"]),
        }
    )


def _read_image(members: dict[str, Any]) -> Image:
    parts: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in members.items()}
    return Image(**parts)


_NESTED: dict[str, Any] = {
    "logging": lambda members: Logging(**members),
    "layers": lambda items: tuple(LayerReference(**item) for item in items),
    "file_systems": lambda items: tuple(FileSystem(**item) for item in items),
    "vpc": _read_vpc,
    "image": _read_image,
    "durable": lambda members: Durable(**members),
}
