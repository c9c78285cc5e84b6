"""Functions and versions: CreateFunction, GetFunction, GetFunctionConfiguration, UpdateFunctionCode,
UpdateFunctionConfiguration, DeleteFunction, ListFunctions, PublishVersion, ListVersionsByFunction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambent.api.ports import Answer
from lambent.api.resources.code import CodeReader
from lambent.api.resources.configurations import read_wanted, show, show_in_list
from lambent.api.resources.names import authorise, read_qualified, read_unqualified
from lambent.api.resources.pages import page_size, read_marker, write_marker
from lambent.api.retry import sdk_invocation_id
from lambent.domain.errors import InvalidParameterValue, ResourceConflict, ResourceNotFound
from lambent.domain.names import LATEST, FunctionRef
from lambent.functions.attaching import NO_LAYERS, LayerIndex
from lambent.functions.code_signing import check_package_type
from lambent.functions.model import Code, Function, FunctionVersion, LayerReference
from lambent.functions.rules import check_name, check_package, check_request
from lambent.signing.deployments import LayerArchive

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from lambent.api.door import PublicDoor
    from lambent.functions.service import Functions
    from lambent.identity.model import Caller
    from lambent.packages.download import Locations
    from lambent.packages.source import S3Source
    from lambent.packages.store import Packages
    from lambent.signing.deployments import Check, Signatures
    from lambent.signing.service import SigningConfigs

_FUNCTIONS, _ALL_VERSIONS, _VERSIONS = "functions", "all-versions", "versions"


def register(
    door: PublicDoor,
    functions: Functions,
    packages: Packages,
    source: S3Source,
    locations: Locations,
    configs: SigningConfigs,
    signatures: Signatures,
    layers: LayerIndex = NO_LAYERS,
) -> None:
    """Serve the nine operations. source: where S3Bucket and S3Key are fetched; locations: makes download addresses;
    signatures: looks at all code, as the function's one of `configs` wants it; layers: what functions may be given."""
    resource = _Functions(functions, packages, CodeReader(packages, source), locations, configs, signatures, layers)
    door.register("CreateFunction", resource.create)
    door.register("GetFunction", resource.get)
    door.register("GetFunctionConfiguration", resource.get_configuration)
    door.register("UpdateFunctionCode", resource.update_code)
    door.register("UpdateFunctionConfiguration", resource.update_configuration)
    door.register("DeleteFunction", resource.delete)
    door.register("ListFunctions", resource.list_functions)
    door.register("PublishVersion", resource.publish)
    door.register("ListVersionsByFunction", resource.list_versions)


class _Functions:
    def __init__(
        self,
        functions: Functions,
        packages: Packages,
        code: CodeReader,
        locations: Locations,
        configs: SigningConfigs,
        signatures: Signatures,
        layers: LayerIndex,
    ) -> None:
        self._functions = functions
        self._packages = packages
        self._code = code
        self._locations = locations
        self._configs = configs
        self._signatures = signatures
        self._layers = layers

    async def create(self, caller: Caller, values: dict[str, Any]) -> Answer:
        code: dict[str, Any] = values["Code"]
        self._code.check_size(code)
        wanted = check_request(read_wanted(values), caller.scope, caller.arn, self._layers)
        package_type = check_package(wanted)
        name: str = values["FunctionName"]
        check_name(name)
        ref = read_unqualified(caller, values, cross_account=False)
        check_name(ref.name)
        _refuse_unserved(values)
        signing = values.get("CodeSigningConfigArn")
        if signing is not None:
            self._configs.require(signing, caller.scope)
            check_package_type(package_type)
        if (provider := values.get("CapacityProviderConfig")) is not None:
            arn = provider["LambdaManagedInstancesCapacityProviderConfig"]["CapacityProviderArn"]
            raise ResourceNotFound(f"Capacity provider not found: {arn}")
        invocation_id = sdk_invocation_id.get()

        def create() -> Awaitable[FunctionVersion]:
            return self._functions.create(
                ref,
                wanted,
                self._code.source(code, package_type, lambda: self._checking(ref, signing, wanted.attached)),
                publish=values.get("Publish", False),
                tags=values.get("Tags"),
                invocation_id=invocation_id,
                code_signing_arn=signing,
            )

        version = await (create() if signing is None else self._configs.attach(signing, caller.scope, create))
        return Answer(self._show(version, None))

    def _checking(
        self, ref: FunctionRef, arn: str | None, layers: Sequence[LayerReference] | None
    ) -> AbstractContextManager[Check]:
        """What looks at the signatures of code and layers for a function that has this code signing configuration."""
        config = None if arn is None else self._configs.require(arn, ref.scope)
        archives = [
            LayerArchive(layer.arn, self._packages.archive(layer.digest) if layer.digest else None)
            for layer in layers or ()
        ]
        return self._signatures.checking(ref, config, archives)

    async def get(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref, qualifier = read_qualified(caller, values)
        authorise(self._functions, caller, ref, "GetFunction", qualifier)
        version = self._functions.get_version(ref, qualifier)
        function = self._functions.get(ref)
        location: dict[str, Any] = {"RepositoryType": "S3", "Location": self._locations.url(version.code.digest)}
        if version.code.source_kms_key_arn is not None:
            location["SourceKMSKeyArn"] = version.code.source_kms_key_arn
        output: dict[str, Any] = {"Configuration": self._show(version, qualifier), "Code": location}
        if function.tags:
            output["Tags"] = dict(function.tags)
        if qualifier is None and function.reserved is not None:
            output["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved}
        return Answer(output)

    async def get_configuration(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref, qualifier = read_qualified(caller, values)
        authorise(self._functions, caller, ref, "GetFunctionConfiguration", qualifier)
        return Answer(self._show(self._functions.get_version(ref, qualifier), qualifier))

    async def update_code(self, caller: Caller, values: dict[str, Any]) -> Answer:
        self._code.check_size(values)
        ref = read_unqualified(caller, values)
        authorise(self._functions, caller, ref, "UpdateFunctionCode")
        architectures = values.get("Architectures")
        checked: list[Function] = []

        def checking() -> AbstractContextManager[Check]:
            function = self._functions.get(ref)
            checked[:] = [function]
            return self._checking(ref, function.code_signing_arn, function.latest.configuration.layers)

        def guard(function: Function) -> None:
            (before,) = checked
            _refuse_other_signing(before, function)
            layers = function.latest.configuration.layers
            if function.code_signing_arn is not None and layers != before.latest.configuration.layers:
                raise ResourceConflict(
                    "The operation cannot be performed at this time. The function's layers were replaced while "
                    "signatures were checked; send the request again."
                )

        def source() -> Awaitable[Code]:
            if "PublishTo" in values:
                raise _no_publish_to()
            return self._code.source(values, "Zip", checking)()

        version = await self._functions.update_code(
            ref,
            source,
            architecture=architectures[0] if architectures else None,
            publish=values.get("Publish", False),
            dry_run=values.get("DryRun", False),
            revision_id=values.get("RevisionId"),
            guard=guard,
        )
        return Answer(self._show_changed(version))

    async def update_configuration(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref = read_unqualified(caller, values, cross_account=False)
        self._functions.check_unchanged(ref, values.get("RevisionId"))
        wanted = check_request(read_wanted(values), caller.scope, caller.arn, self._layers)
        if "CapacityProviderConfig" in values:
            raise InvalidParameterValue("CapacityProviderConfig isn't supported for Lambda Default functions.")
        _refuse_unserved(values)
        judged: list[Function] = []

        async def judge(function: Function) -> None:
            judged[:] = [function]
            if function.code_signing_arn is not None:
                with self._checking(ref, function.code_signing_arn, wanted.attached) as check:
                    await self._packages.read(check.look_at_layers)

        def guard(function: Function) -> None:
            for before in judged:
                _refuse_other_signing(before, function)

        version = await self._functions.update_configuration(
            ref, wanted, revision_id=values.get("RevisionId"), judge=judge, guard=guard
        )
        return Answer(self._show_changed(version))

    async def delete(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref, qualifier = read_qualified(caller, values)
        authorise(self._functions, caller, ref, "DeleteFunction", qualifier)
        await self._functions.delete(ref, qualifier)
        return Answer({}, status=204)

    async def publish(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref = read_unqualified(caller, values)
        authorise(self._functions, caller, ref, "PublishVersion")
        if "PublishTo" in values:
            self._functions.check_unchanged(ref, values.get("RevisionId"))
            raise _no_publish_to()
        version = await self._functions.publish(
            ref,
            description=values.get("Description"),
            code_sha256=values.get("CodeSha256") or None,
            revision_id=values.get("RevisionId"),
        )
        return Answer(self._show(version, version.version))

    async def list_functions(self, caller: Caller, values: dict[str, Any]) -> Answer:
        region = values.get("MasterRegion")
        with_versions = values.get("FunctionVersion") == "ALL"
        if region is not None and not with_versions:
            raise InvalidParameterValue("MasterRegion is only valid together with FunctionVersion=ALL.")
        if region not in (None, "ALL", caller.scope.region):
            return Answer({"Functions": []})  # nothing is replicated from elsewhere
        if with_versions:
            return self._list_all_versions(caller, values)
        size = page_size(values)
        key = read_marker(_FUNCTIONS, values.get("Marker"), str) or [""]
        names = self._functions.names(caller.scope, key[0], size + 1)
        shown = [show_in_list(self._latest(caller, name), None) for name in names[:size]]
        return _page("Functions", shown, _FUNCTIONS, [names[size - 1]] if len(names) > size else None)

    def _latest(self, caller: Caller, name: str) -> FunctionVersion:
        return self._functions.get(_ref(caller, name)).latest

    def _list_all_versions(self, caller: Caller, values: dict[str, Any]) -> Answer:
        size = page_size(values)
        name, after = read_marker(_ALL_VERSIONS, values.get("Marker"), str, int) or ["", -1]
        page: list[FunctionVersion] = []
        # The marker's own function first: what is left of it; a page never needs more functions than items.
        here = self._functions.names(caller.scope, name, size + 1)
        if name and self._functions.exists(_ref(caller, name)):
            page += _behind(self._functions.get(_ref(caller, name)), after)
        for following in here:
            if len(page) > size:
                break
            page += _behind(self._functions.get(_ref(caller, following)), -1)
        more = [page[size - 1].ref.name, _number(page[size - 1])] if len(page) > size else None
        shown = [show_in_list(version, version.version) for version in page[:size]]
        return _page("Functions", shown, _ALL_VERSIONS, more)

    async def list_versions(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref = read_unqualified(caller, values)
        authorise(self._functions, caller, ref, "ListVersionsByFunction")
        function = self._functions.get(ref)
        size = page_size(values)
        (after,) = read_marker(_VERSIONS, values.get("Marker"), int) or [-1]
        page = list(_behind(function, after))
        shown = [show_in_list(version, version.version) for version in page[:size]]
        return _page("Versions", shown, _VERSIONS, [_number(page[size - 1])] if len(page) > size else None)

    def _show(self, version: FunctionVersion, qualifier: str | None) -> dict[str, Any]:
        return show(version, qualifier, self._functions.pinned(version))

    def _show_changed(self, version: FunctionVersion) -> dict[str, Any]:
        """As changes answer: $LATEST under the unqualified ARN, a new version under its own."""
        return self._show(version, None if version.version == LATEST else version.version)


def _refuse_unserved(values: dict[str, Any]) -> None:
    """Members whose whole feature is not there: accepting them would promise what does not happen."""
    if "PublishTo" in values:
        raise _no_publish_to()
    if "RuntimeConfig" in values:
        raise InvalidParameterValue(
            "Customer-managed runtimes (RuntimeConfig) are not served by this release of Lambent."
        )
    if "AcceleratorConfig" in values:
        raise InvalidParameterValue("AcceleratorConfig isn't supported for Lambda Default functions.")


def _refuse_other_signing(before: Function, function: Function) -> None:
    """What was checked under one code signing configuration is not deployed under another."""
    if function.code_signing_arn != before.code_signing_arn:
        raise ResourceConflict(
            "The operation cannot be performed at this time. The function's code signing configuration was replaced "
            "while signatures were checked; send the request again."
        )


def _no_publish_to() -> InvalidParameterValue:
    return InvalidParameterValue("PublishTo isn't supported for Lambda Default functions.")


def _ref(caller: Caller, name: str) -> FunctionRef:
    return FunctionRef(caller.scope.account, caller.scope.region, name)


def _number(version: FunctionVersion) -> int:
    """Versions in order: $LATEST is 0."""
    return 0 if version.version == LATEST else int(version.version)


def _behind(function: Function, number: int) -> Iterator[FunctionVersion]:
    """$LATEST and the published versions, ascending, those behind `number`."""
    if number < 0:
        yield function.latest
    for version in function.versions.values():
        if int(version.version) > number:
            yield version


def _page(member: str, shown: list[dict[str, Any]], kind: str, more: list[Any] | None) -> Answer:
    output: dict[str, Any] = {member: shown}
    if more is not None:
        output["NextMarker"] = write_marker(kind, more)
    return Answer(output)
