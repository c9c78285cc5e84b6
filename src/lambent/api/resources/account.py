"""GetAccountSettings: what an account may use in a region, and what it uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambent.api.ports import Answer
from lambent.domain.limits import UNZIPPED_BYTES_MAX, ZIP_DIRECT_BYTES_MAX

if TYPE_CHECKING:
    from lambent.api.door import PublicDoor
    from lambent.functions.service import Functions
    from lambent.identity.model import Caller


def register(door: PublicDoor, functions: Functions) -> None:
    """Serve the operation."""

    async def get_account_settings(caller: Caller, values: dict[str, Any]) -> Answer:
        limits, usage = functions.limits, functions.usage(caller.scope)
        return Answer(
            {
                "AccountLimit": {
                    "TotalCodeSize": limits.code_storage_bytes,
                    "CodeSizeUnzipped": UNZIPPED_BYTES_MAX,
                    "CodeSizeZipped": ZIP_DIRECT_BYTES_MAX,
                    "ConcurrentExecutions": limits.concurrent_executions,
                    "UnreservedConcurrentExecutions": functions.unreserved(caller.scope),
                },
                "AccountUsage": {
                    "TotalCodeSize": functions.code_bytes(caller.scope),
                    "FunctionCount": usage.functions,
                },
            }
        )

    door.register("GetAccountSettings", get_account_settings)
