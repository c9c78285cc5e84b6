"""CreateFunctionUrlConfig, GetFunctionUrlConfig, UpdateFunctionUrlConfig, DeleteFunctionUrlConfig,
ListFunctionUrlConfigs: the configurations of function URLs. What answers at their addresses is `gateway/urls.py`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lambent.api.asked import asked_at
from lambent.api.ports import Answer
from lambent.api.resources.names import read_qualified, read_unqualified
from lambent.api.resources.pages import page_size, read_marker, write_marker
from lambent.domain.errors import FunctionNotFound
from lambent.domain.ids import random_hex
from lambent.domain.names import FunctionRef
from lambent.functions import urls
from lambent.functions.model import Url
from lambent.functions.urls import WantedUrl

if TYPE_CHECKING:
    from lambent.api.door import PublicDoor
    from lambent.functions.service import Functions
    from lambent.gateway.locating import Locator
    from lambent.identity.model import Caller

ID_CHARS = 32
_LIST = "function-urls"


def register(door: PublicDoor, functions: Functions, locator: Locator) -> None:
    """Serve the five operations."""
    resource = _Urls(functions, locator)
    door.register("CreateFunctionUrlConfig", resource.create)
    door.register("GetFunctionUrlConfig", resource.get)
    door.register("UpdateFunctionUrlConfig", resource.update)
    door.register("DeleteFunctionUrlConfig", resource.delete)
    door.register("ListFunctionUrlConfigs", resource.list_configurations)


class _Urls:
    def __init__(self, functions: Functions, locator: Locator) -> None:
        self._functions = functions
        self._locator = locator

    async def create(self, caller: Caller, values: dict[str, Any]) -> Answer:
        await self._locator.prepare()
        ref, alias = read_qualified(caller, values, cross_account=False)
        wanted, now_ms, id = _read(values), self._functions.stamp().now_ms, random_hex(ID_CHARS)
        try:
            function = await self._functions.change(
                ref, lambda function: urls.created(function, alias, wanted, id=id, now_ms=now_ms)
            )
        except FunctionNotFound:
            raise urls.no_function() from None
        url = urls.configured(function, alias)
        return Answer(self._show(ref, alias, url) | {"InvokeMode": url.invoke_mode})

    async def get(self, caller: Caller, values: dict[str, Any]) -> Answer:
        await self._locator.prepare()
        ref, alias = read_qualified(caller, values, cross_account=False)
        try:
            url = urls.configured(self._functions.get(ref), alias)
        except FunctionNotFound:
            raise urls.not_configured() from None
        return Answer(self._show_whole(ref, alias, url))

    async def update(self, caller: Caller, values: dict[str, Any]) -> Answer:
        await self._locator.prepare()
        ref, alias = read_qualified(caller, values, cross_account=False)
        wanted, now_ms = _read(values), self._functions.stamp().now_ms
        try:
            function = await self._functions.change(
                ref, lambda function: urls.updated(function, alias, wanted, now_ms=now_ms)
            )
        except FunctionNotFound:
            raise urls.no_function() from None
        url = urls.configured(function, alias)
        return Answer(self._show_whole(ref, alias, url) | {"InvokeMode": url.invoke_mode})

    async def delete(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref, alias = read_qualified(caller, values, cross_account=False)
        try:
            await self._functions.change(ref, lambda function: urls.removed(function, alias))
        except FunctionNotFound:
            raise urls.not_configured() from None
        return Answer({}, status=204)

    async def list_configurations(self, caller: Caller, values: dict[str, Any]) -> Answer:
        await self._locator.prepare()
        ref = read_unqualified(caller, values, cross_account=False)
        try:
            function = self._functions.get(ref)
        except FunctionNotFound:
            raise urls.no_function() from None
        size = page_size(values)
        after = read_marker(_LIST, values.get("Marker"), str)
        keys = [key for key in sorted(function.urls) if after is None or key > after[0]]
        shown = [self._show_whole(ref, key or None, function.urls[key]) for key in keys[:size]]
        output: dict[str, Any] = {"FunctionUrlConfigs": shown}
        if len(keys) > size:
            output["NextMarker"] = write_marker(_LIST, [keys[size - 1]])
        return Answer(output)

    def _show_whole(self, ref: FunctionRef, alias: str | None, url: Url) -> dict[str, Any]:
        """As Get and List answer."""
        modified_ms = url.created_ms if url.modified_ms is None else url.modified_ms
        return self._show(ref, alias, url) | {
            "LastModifiedTime": _show_time(modified_ms),
            "InvokeMode": url.invoke_mode or "BUFFERED",
        }

    def _show(self, ref: FunctionRef, alias: str | None, url: Url) -> dict[str, Any]:
        asked = asked_at.get()
        return {
            "FunctionUrl": self._locator.url(url.id, ref.region, asked.host, asked.scheme),
            "FunctionArn": ref.arn(alias),
            "AuthType": url.auth_type,
            "Cors": None if url.cors is None else dict(url.cors),
            "CreationTime": _show_time(url.created_ms),
        }


def _read(values: dict[str, Any]) -> WantedUrl:
    return WantedUrl(values.get("AuthType"), values.get("Cors"), values.get("InvokeMode"))


def _show_time(epoch_ms: int) -> str:
    """2025-11-25T02:26:54.123000Z: of all times in the API, only those of URLs look like this."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(epoch_ms // 1_000))}.{epoch_ms % 1_000:03d}000Z"
