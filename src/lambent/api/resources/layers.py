"""Layers: PublishLayerVersion, GetLayerVersion, GetLayerVersionByArn, DeleteLayerVersion, ListLayerVersions, ListLayers,
AddLayerVersionPermission, RemoveLayerVersionPermission, GetLayerVersionPolicy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from lambent.api.ports import Answer
from lambent.api.resources.code import CodeReader
from lambent.api.resources.configurations import show_time
from lambent.api.resources.pages import page_size, read_marker, write_marker
from lambent.domain.errors import AccessDenied, ResourceNotFound
from lambent.domain.names import Scope, layer_arn, parse_layer_arn
from lambent.layers.moves import Grant, document
from lambent.layers.service import WantedVersion

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from lambent.api.door import PublicDoor
    from lambent.identity.model import Caller
    from lambent.layers.model import LayerVersion
    from lambent.layers.service import Layers
    from lambent.packages.download import Locations
    from lambent.packages.source import S3Source
    from lambent.packages.store import Packages
    from lambent.signing.deployments import Publication, Signatures

_LAYERS, _VERSIONS = "layers", "layer-versions"


def register(
    door: PublicDoor,
    layers: Layers,
    packages: Packages,
    source: S3Source,
    locations: Locations,
    signatures: Signatures,
) -> None:
    """Serve the nine operations. source: where S3Bucket and S3Key are fetched; locations: makes download addresses;
    signatures: looks at what is published."""
    resource = _Layers(layers, CodeReader(packages, source), locations, signatures)
    door.register("PublishLayerVersion", resource.publish)
    door.register("GetLayerVersion", resource.get)
    door.register("GetLayerVersionByArn", resource.get_by_arn)
    door.register("DeleteLayerVersion", resource.delete)
    door.register("ListLayerVersions", resource.list_versions)
    door.register("ListLayers", resource.list_layers)
    door.register("AddLayerVersionPermission", resource.add_permission)
    door.register("RemoveLayerVersionPermission", resource.remove_permission)
    door.register("GetLayerVersionPolicy", resource.get_policy)


class _Layers:
    def __init__(self, layers: Layers, code: CodeReader, locations: Locations, signatures: Signatures) -> None:
        self._layers = layers
        self._code = code
        self._locations = locations
        self._signatures = signatures

    async def publish(self, caller: Caller, values: dict[str, Any]) -> Answer:
        content: dict[str, Any] = values["Content"]
        self._code.check_size(content)
        scope, name = _own(caller, values, "PublishLayerVersion")
        wanted = WantedVersion(
            description=values.get("Description", ""),
            license_info=values.get("LicenseInfo", ""),
            runtimes=_given(values.get("CompatibleRuntimes")),
            architectures=_given(values.get("CompatibleArchitectures")),
        )

        def publishing() -> AbstractContextManager[Publication]:
            return self._signatures.publishing(layer_arn(scope, name), name)

        version = await self._layers.publish(scope, name, wanted, self._code.content(content, publishing))
        return Answer(self._show(scope, name, version))

    async def get(self, caller: Caller, values: dict[str, Any]) -> Answer:
        scope, name = _named(caller, values["LayerName"])
        return self._answer(caller, scope, name, values["VersionNumber"])

    async def get_by_arn(self, caller: Caller, values: dict[str, Any]) -> Answer:
        parsed = parse_layer_arn(values["Arn"])
        if parsed is None or parsed[2] is None:  # one of the platform's own, of which there are none
            raise ResourceNotFound("The resource you requested does not exist.")
        scope, name = _named(caller, values["Arn"])
        return self._answer(caller, scope, name, parsed[2])

    def _answer(self, caller: Caller, scope: Scope, name: str, number: int) -> Answer:
        if scope.account != caller.scope.account and not self._layers.is_shared(
            scope, name, number, caller.scope.account
        ):
            raise _not_shared(caller, layer_arn(scope, name, number), "GetLayerVersion")
        return Answer(self._show(scope, name, self._layers.get(scope, name, number)))

    async def delete(self, caller: Caller, values: dict[str, Any]) -> Answer:
        scope, name = _own(caller, values, "DeleteLayerVersion")
        await self._layers.delete(scope, name, values["VersionNumber"])
        return Answer({})

    async def list_versions(self, caller: Caller, values: dict[str, Any]) -> Answer:
        scope, name = _own(caller, values, "ListLayerVersions")
        size = page_size(values)
        (before,) = read_marker(_VERSIONS, values.get("Marker"), int) or [None]
        found = self._layers.versions(scope, name, **_filters(values), before=before, most=size + 1)
        output: dict[str, Any] = {"LayerVersions": [_item(scope, name, version) for version in found[:size]]}
        if len(found) > size:
            output["NextMarker"] = write_marker(_VERSIONS, [found[size - 1].number])
        return Answer(output)

    async def list_layers(self, caller: Caller, values: dict[str, Any]) -> Answer:
        scope, size = caller.scope, page_size(values)
        (after,) = read_marker(_LAYERS, values.get("Marker"), str) or [""]
        found = self._layers.latest(scope, **_filters(values), after=after, most=size + 1)
        items = [
            {
                "LayerName": name,
                "LayerArn": layer_arn(scope, name),
                "LatestMatchingVersion": _item(scope, name, version),
            }
            for name, version in found[:size]
        ]
        output: dict[str, Any] = {"Layers": items}
        if len(found) > size:
            output["NextMarker"] = write_marker(_LAYERS, [found[size - 1][0]])
        return Answer(output)

    async def add_permission(self, caller: Caller, values: dict[str, Any]) -> Answer:
        scope, name = _own(caller, values, "AddLayerVersionPermission")
        grant = Grant(values["StatementId"], values["Principal"], values.get("OrganizationId"), values["Action"])
        policy = await self._layers.grant(
            scope, name, values["VersionNumber"], grant, revision_id=values.get("RevisionId")
        )
        added = next(one for one in policy.statements if one["Sid"] == grant.statement_id)
        return Answer({"Statement": orjson.dumps(added).decode(), "RevisionId": policy.revision_id})

    async def remove_permission(self, caller: Caller, values: dict[str, Any]) -> Answer:
        scope, name = _own(caller, values, "RemoveLayerVersionPermission")
        number, statement = values["VersionNumber"], values["StatementId"]
        await self._layers.revoke(scope, name, number, statement, revision_id=values.get("RevisionId"))
        return Answer({})

    async def get_policy(self, caller: Caller, values: dict[str, Any]) -> Answer:
        scope, name = _own(caller, values, "GetLayerVersionPolicy")
        policy = self._layers.policy(scope, name, values["VersionNumber"])
        return Answer({"Policy": document(policy), "RevisionId": policy.revision_id})

    def _show(self, scope: Scope, name: str, version: LayerVersion) -> dict[str, Any]:
        shown = _item(scope, name, version)
        shown["LayerArn"] = layer_arn(scope, name)
        shown["Description"] = version.description
        content = {
            "Location": self._locations.url(version.digest),
            "CodeSha256": version.sha256_base64,
            "CodeSize": version.size_bytes,
        }
        if version.signing_job_arn is not None:
            content["SigningProfileVersionArn"] = version.signing_profile_arn
            content["SigningJobArn"] = version.signing_job_arn
        shown["Content"] = content
        return shown


def _named(caller: Caller, text: str) -> tuple[Scope, str]:
    """Whose layer a name or an ARN (versioned or not) means, and its bare name."""
    parsed = parse_layer_arn(text)
    if parsed is None:
        return caller.scope, text
    scope, name, _ = parsed
    if scope.region != caller.scope.region:
        raise ResourceNotFound(
            f"Layers from '{scope.region}' are not reachable in this region ('{caller.scope.region}')"
        )
    return scope, name


def _own(caller: Caller, values: dict[str, Any], action: str) -> tuple[Scope, str]:
    """The layer of an operation that no policy gives to another account."""
    scope, name = _named(caller, values["LayerName"])
    if scope.account != caller.scope.account:
        raise _not_shared(caller, layer_arn(scope, name), action)
    return scope, name


def _not_shared(caller: Caller, arn: str, action: str) -> AccessDenied:
    return AccessDenied(
        f"User: {caller.arn} is not authorized to perform: lambda:{action} on resource: {arn} because no "
        f"resource-based policy allows the lambda:{action} action"
    )


def _given(items: list[str] | None) -> tuple[str, ...] | None:
    return None if items is None else tuple(items)


def _filters(values: dict[str, Any]) -> dict[str, Any]:
    return {"runtime": values.get("CompatibleRuntime"), "architecture": values.get("CompatibleArchitecture")}


def _item(scope: Scope, name: str, version: LayerVersion) -> dict[str, Any]:
    """A version as lists show it: members that were not given stay away."""
    shown: dict[str, Any] = {
        "LayerVersionArn": layer_arn(scope, name, version.number),
        "Version": version.number,
        "CreatedDate": show_time(version.created_ms),
    }
    if version.description:
        shown["Description"] = version.description
    if version.license_info:
        shown["LicenseInfo"] = version.license_info
    if version.runtimes is not None:
        shown["CompatibleRuntimes"] = list(version.runtimes)
    if version.architectures is not None:
        shown["CompatibleArchitectures"] = list(version.architectures)
    return shown
