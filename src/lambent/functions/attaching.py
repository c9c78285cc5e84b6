"""Layers on functions: which layer versions a function may be given, in the service's order and words."""

from __future__ import annotations

from typing import Protocol

from ..domain.errors import AccessDenied, InvalidParameterValue
from ..domain.limits import LAYERS_PER_FUNCTION_MAX, UNZIPPED_BYTES_MAX
from ..domain.names import Scope, layer_arn, parse_layer_arn
from .model import Code, Configuration, LayerReference


class StoredLayer(Protocol):
    """What a function keeps of a layer version."""

    @property
    def digest(self) -> str: ...

    @property
    def size_bytes(self) -> int: ...

    @property
    def unpacked_bytes(self) -> int: ...

    @property
    def signing_profile_arn(self) -> str | None: ...

    @property
    def signing_job_arn(self) -> str | None: ...


class LayerIndex(Protocol):
    """The layers there are. Asked synchronously, answered from memory."""

    def find(self, scope: Scope, name: str, number: int, /) -> StoredLayer | None:
        """A layer version, or None."""

    def is_shared(self, scope: Scope, name: str, number: int, account: str, /) -> bool:
        """Whether the layer version exists and its policy lets another account use it."""


class NoLayers:
    """An index of nothing."""

    def find(self, scope: Scope, name: str, number: int) -> StoredLayer | None:
        return None

    def is_shared(self, scope: Scope, name: str, number: int, account: str) -> bool:
        return False


NO_LAYERS: LayerIndex = NoLayers()


def attached(arns: tuple[str, ...], scope: Scope, caller_arn: str, layers: LayerIndex) -> tuple[LayerReference, ...]:
    """The layer versions to be attached to a function of `scope`, in their order.

    Raises InvalidParameterValue, and AccessDenied for another account's layer that is not shared.
    """
    if len(arns) > LAYERS_PER_FUNCTION_MAX:
        raise InvalidParameterValue(f"Cannot reference more than {LAYERS_PER_FUNCTION_MAX} layers.")
    found: list[LayerReference] = []
    seen: dict[str, str] = {}
    for arn in arns:
        layer = _find(arn, scope, caller_arn, layers)
        name = arn.rpartition(":")[0]
        if name in seen:
            raise InvalidParameterValue(
                "Two different versions of the same layer are not allowed to be referenced in the same function. "
                f"{seen[name]} and {arn} are versions of the same layer."
            )
        seen[name] = arn
        found.append(
            LayerReference(
                arn,
                layer.size_bytes,
                layer.digest,
                layer.unpacked_bytes,
                layer.signing_profile_arn,
                layer.signing_job_arn,
            )
        )
    return tuple(found)


def _find(arn: str, scope: Scope, caller_arn: str, layers: LayerIndex) -> StoredLayer:
    parsed = parse_layer_arn(arn)
    if parsed is None:  # one of the platform's own, of which there are none
        raise _missing(arn)
    owner, name, number = parsed
    if owner.region != scope.region:
        raise InvalidParameterValue(
            f"Layers are not in the same region as the function. Layers are expected to be in region {scope.region}."
        )
    is_own = owner.account == scope.account
    layer = None
    is_exact = number is not None and layer_arn(owner, name, number) == arn  # no other partition, no zeros in front
    if number is not None and is_exact and (is_own or layers.is_shared(owner, name, number, scope.account)):
        layer = layers.find(owner, name, number)
    if layer is not None:
        return layer
    if is_own:
        raise _missing(arn)
    raise AccessDenied(
        f"User: {caller_arn} is not authorized to perform: lambda:GetLayerVersion on resource: {arn} "
        "because no resource-based policy allows the lambda:GetLayerVersion action"
    )


def _missing(arn: str) -> InvalidParameterValue:
    return InvalidParameterValue(f"Layer version {arn} does not exist.")


def check_unzipped(configuration: Configuration, code: Code) -> None:
    """The limit of code and layers together, unzipped. Code alone was checked when it was unpacked."""
    if not configuration.layers:
        return
    total = code.unpacked_bytes + sum(layer.unpacked_bytes for layer in configuration.layers)
    if total > UNZIPPED_BYTES_MAX:
        raise InvalidParameterValue(
            f"Function code combined with layers exceeds the maximum allowed size of {UNZIPPED_BYTES_MAX} bytes. "
            f"The actual size is {total} bytes."
        )
