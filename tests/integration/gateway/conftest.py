from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.gateway.url_world import Url, published
from tests.support import client


@pytest.fixture(scope="module")
def lambda_(endpoint: str) -> Iterator[Any]:
    """The public SDK's Lambda client on a running Lambent."""
    made = client("lambda", endpoint)
    made.list_functions(MaxItems=1)  # its connection is the module's, not the first test's
    yield made
    made.close()


@pytest.fixture(scope="module")
def site(lambda_: Any, endpoint: str) -> Iterator[Url]:
    """The URL of a function that answers as its path asks, open to everybody."""
    with published(lambda_, endpoint, Timeout=10) as (_, url):
        yield url
