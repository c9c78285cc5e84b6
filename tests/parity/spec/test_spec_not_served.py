"""§18, §19: operations that this release does not serve say so, in a form that every client reads."""

from __future__ import annotations

from typing import Any

import pytest
from tests.parity.spec.spec_world import Wire, encoded, refused

EXECUTION = "/2025-12-01/durable-executions/" + encoded(
    "arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/name/id"
)
CALLBACK = "/2025-12-01/durable-execution-callbacks/YWJj"
PROVIDERS = "/2025-11-30/capacity-providers"
SCALING = "/2025-11-30/functions/f/function-scaling-config?Qualifier=1"
ROLE = "arn:aws:iam::123456789012:role/r"

NOT_SERVED: dict[str, tuple[str, str, Any]] = {
    "CreateCapacityProvider": (
        "POST",
        PROVIDERS,
        {
            "CapacityProviderName": "p",
            "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
            "PermissionsConfig": {"CapacityProviderOperatorRoleArn": ROLE},
        },
    ),
    "GetCapacityProvider": ("GET", f"{PROVIDERS}/p", None),
    "UpdateCapacityProvider": ("PUT", f"{PROVIDERS}/p", {}),
    "DeleteCapacityProvider": ("DELETE", f"{PROVIDERS}/p", None),
    "ListCapacityProviders": ("GET", PROVIDERS, None),
    "ListFunctionVersionsByCapacityProvider": ("GET", f"{PROVIDERS}/p/function-versions", None),
    "PutFunctionScalingConfig": ("PUT", SCALING, {}),
    "GetFunctionScalingConfig": ("GET", SCALING, None),
    "CheckpointDurableExecution": ("POST", f"{EXECUTION}/checkpoint", {"CheckpointToken": "YWJj"}),
    "DeleteDurableExecution": ("DELETE", EXECUTION, None),
    "GetDurableExecution": ("GET", EXECUTION, None),
    "GetDurableExecutionHistory": ("GET", f"{EXECUTION}/history", None),
    "GetDurableExecutionState": ("GET", f"{EXECUTION}/state?CheckpointToken=YWJj", None),
    "ListDurableExecutionsByFunction": ("GET", "/2025-12-01/functions/f/durable-executions", None),
    "PauseDurableExecution": ("POST", f"{EXECUTION}/pause", {}),
    "ResumeDurableExecution": ("POST", f"{EXECUTION}/resume", {}),
    "StopDurableExecution": ("POST", f"{EXECUTION}/stop", {}),
    "SendDurableExecutionCallbackSuccess": ("POST", f"{CALLBACK}/succeed", {}),
    "SendDurableExecutionCallbackFailure": ("POST", f"{CALLBACK}/fail", {}),
    "SendDurableExecutionCallbackHeartbeat": ("POST", f"{CALLBACK}/heartbeat", {}),
}
"""A well-formed call of each. Whoever serves one takes its row away here and in SPECIFICATION.md."""


@pytest.mark.parametrize("operation", NOT_SERVED)
def test_it_says_so(wire: Wire, operation: str) -> None:
    method, path, body = NOT_SERVED[operation]
    refused(wire(method, path, body), "NotImplementedException", f"{operation} is …")
