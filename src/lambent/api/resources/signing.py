"""Code signing configurations, and which one a function has: CreateCodeSigningConfig, GetCodeSigningConfig,
UpdateCodeSigningConfig, DeleteCodeSigningConfig, ListCodeSigningConfigs, ListFunctionsByCodeSigningConfig,
PutFunctionCodeSigningConfig, GetFunctionCodeSigningConfig, DeleteFunctionCodeSigningConfig."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambent.api.ports import Answer
from lambent.api.resources.configurations import show_time
from lambent.api.resources.names import read_unqualified
from lambent.api.resources.pages import page_size, read_marker, write_marker
from lambent.domain.names import FunctionRef
from lambent.domain.tags import check_tags
from lambent.functions.code_signing import attached, check_package_type, detached

if TYPE_CHECKING:
    from lambent.api.door import PublicDoor
    from lambent.functions.service import Functions
    from lambent.identity.model import Caller
    from lambent.signing.model import CodeSigningConfig
    from lambent.signing.service import SigningConfigs

_CONFIGS, _FUNCTIONS = "code-signing-configs", "code-signing-functions"


def register(door: PublicDoor, configs: SigningConfigs, functions: Functions) -> None:
    """Serve the nine operations."""
    resource = _Signing(configs, functions)
    door.register("CreateCodeSigningConfig", resource.create)
    door.register("GetCodeSigningConfig", resource.get)
    door.register("UpdateCodeSigningConfig", resource.update)
    door.register("DeleteCodeSigningConfig", resource.delete)
    door.register("ListCodeSigningConfigs", resource.list_configs)
    door.register("ListFunctionsByCodeSigningConfig", resource.list_functions)
    door.register("PutFunctionCodeSigningConfig", resource.put_function)
    door.register("GetFunctionCodeSigningConfig", resource.get_function)
    door.register("DeleteFunctionCodeSigningConfig", resource.delete_function)


class _Signing:
    def __init__(self, configs: SigningConfigs, functions: Functions) -> None:
        self._configs = configs
        self._functions = functions

    async def create(self, caller: Caller, values: dict[str, Any]) -> Answer:
        tags = values.get("Tags", {})
        check_tags(tags)
        publishers = _publishers(values)
        assert publishers is not None  # the model wants them
        config = await self._configs.create(
            caller.scope,
            publishers,
            policy=_policy(values),
            description=values.get("Description", ""),
            tags=tags,
        )
        return _show(config)

    async def get(self, caller: Caller, values: dict[str, Any]) -> Answer:
        return _show(self._configs.get(values["CodeSigningConfigArn"], caller.scope))

    async def update(self, caller: Caller, values: dict[str, Any]) -> Answer:
        config = await self._configs.update(
            values["CodeSigningConfigArn"],
            caller.scope,
            publishers=_publishers(values),
            policy=_policy(values),
            description=values.get("Description"),
        )
        return _show(config)

    async def delete(self, caller: Caller, values: dict[str, Any]) -> Answer:
        await self._configs.delete(values["CodeSigningConfigArn"], caller.scope)
        return Answer({}, status=204)

    async def list_configs(self, caller: Caller, values: dict[str, Any]) -> Answer:
        size = page_size(values)
        (after,) = read_marker(_CONFIGS, values.get("Marker"), str) or [""]
        found = self._configs.page(caller.scope, after, size + 1)
        output: dict[str, Any] = {"CodeSigningConfigs": [_shown(config) for config in found[:size]]}
        if len(found) > size:
            output["NextMarker"] = write_marker(_CONFIGS, [found[size - 1].id])
        return Answer(output)

    async def list_functions(self, caller: Caller, values: dict[str, Any]) -> Answer:
        arn = values["CodeSigningConfigArn"]
        self._configs.get(arn, caller.scope)
        size = page_size(values)
        (after,) = read_marker(_FUNCTIONS, values.get("Marker"), str) or [""]
        scope = caller.scope
        found = self._functions.signed(arn, scope, after, size + 1)
        shown = [FunctionRef(scope.account, scope.region, name).arn() for name in found[:size]]
        output: dict[str, Any] = {"FunctionArns": shown}
        if len(found) > size:
            output["NextMarker"] = write_marker(_FUNCTIONS, [found[size - 1]])
        return Answer(output)

    async def put_function(self, caller: Caller, values: dict[str, Any]) -> Answer:
        arn = values["CodeSigningConfigArn"]
        self._configs.require(arn, caller.scope)
        ref = read_unqualified(caller, values, cross_account=False)
        await self._configs.attach(
            arn, caller.scope, lambda: self._functions.change(ref, lambda function: attached(function, arn))
        )
        return Answer({"CodeSigningConfigArn": arn, "FunctionName": ref.name})

    async def get_function(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref = read_unqualified(caller, values, cross_account=False)
        function = self._functions.get(ref)
        check_package_type(function.latest.configuration.package_type)
        if function.code_signing_arn is None:
            return Answer({}, is_bare=True)
        return Answer({"CodeSigningConfigArn": function.code_signing_arn, "FunctionName": ref.name})

    async def delete_function(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref = read_unqualified(caller, values, cross_account=False)
        await self._functions.change(ref, detached)
        return Answer({}, status=204)


def _publishers(values: dict[str, Any]) -> tuple[str, ...] | None:
    given = values.get("AllowedPublishers")
    return None if given is None else tuple(given["SigningProfileVersionArns"])


def _policy(values: dict[str, Any]) -> str | None:
    policy: str | None = values.get("CodeSigningPolicies", {}).get("UntrustedArtifactOnDeployment")
    return policy


def _show(config: CodeSigningConfig) -> Answer:
    return Answer({"CodeSigningConfig": _shown(config)})


def _shown(config: CodeSigningConfig) -> dict[str, Any]:
    return {
        "CodeSigningConfigId": config.id,
        "CodeSigningConfigArn": config.arn,
        "Description": config.description,
        "AllowedPublishers": {"SigningProfileVersionArns": list(config.publishers)},
        "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": config.policy},
        "LastModified": show_time(config.modified_ms),
    }
