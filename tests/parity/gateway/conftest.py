from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.support import client

ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def gateway(endpoint: str) -> Iterator[Any]:
    """boto3's client of API Gateway v2 on a running Lambent; what is wrong is sent nevertheless."""
    made = client("apigatewayv2", endpoint, account=ACCOUNT, parameter_validation=False)
    made.get_apis()  # the connection is kept
    yield made
    made.close()


@pytest.fixture
def api(gateway: Any) -> Iterator[str]:
    """An empty HTTP API; its id."""
    made = gateway.create_api(Name="n", ProtocolType="HTTP")["ApiId"]
    yield made
    gateway.delete_api(ApiId=made)
