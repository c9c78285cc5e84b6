"""The tenant id as functions see it, with our clients and with AWS's own."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from product_world import CLIENTS, deployed
from tests.support import PYTHON_RUNTIME

PYTHON = """
import logging
seen = []
def handler(event, context):
    seen.append(context.tenant_id)
    logging.getLogger().warning("here")
    return {"tenant": context.tenant_id, "seen": seen}
"""
NODE = """
const seen = [];
export const handler = async (event, context) => {
  seen.push(context.tenantId);
  console.warn("here");
  return { tenant: context.tenantId, seen };
};
"""
WITH_NODE = (({"index.mjs": NODE}, "nodejs22.x", "index.handler"), ({"index.mjs": NODE}, "nodejs24.x", "index.handler"))
RUNTIMES = (({"app.py": PYTHON}, PYTHON_RUNTIME, "app.handler"), *WITH_NODE)


@pytest.mark.parametrize("client_name", CLIENTS)
@pytest.mark.parametrize(("files", "runtime", "handler"), RUNTIMES, ids=[runtime for _, runtime, _ in RUNTIMES])
def test_the_context_has_the_tenant_and_globals_are_its_own(
    lambda_: Any, files: dict[str, str], runtime: str, handler: str, client_name: str
) -> None:
    options: dict[str, Any] = {
        "TenancyConfig": {"TenantIsolationMode": "PER_TENANT"},
        "LoggingConfig": {"LogFormat": "JSON"},
    }
    with deployed(lambda_, files, runtime, handler=handler, client=client_name, **options) as function:
        for tenant in ("red", "a.b:c/d=e+f-g@h i_j", "red"):
            raw = lambda_.invoke(FunctionName=function.name, Payload=b"{}", LogType="Tail", TenantId=tenant)
            log = base64.b64decode(raw["LogResult"]).decode()
            body = json.loads(raw["Payload"].read())
            assert body["tenant"] == tenant
            assert set(body["seen"]) == {tenant}
            (line,) = [line for line in log.splitlines() if '"here"' in line]
            if client_name == "lambent":  # AWS's client of Node.js 24 leaves it out of its lines
                assert json.loads(line)["tenantId"] == tenant


@pytest.mark.parametrize("client_name", CLIENTS)
@pytest.mark.parametrize(("files", "runtime", "handler"), RUNTIMES, ids=[runtime for _, runtime, _ in RUNTIMES])
def test_without_isolation_there_is_none(
    lambda_: Any, files: dict[str, str], runtime: str, handler: str, client_name: str
) -> None:
    with deployed(lambda_, files, runtime, handler=handler, client=client_name) as function:
        assert function.invoke({}).body.get("tenant") is None
