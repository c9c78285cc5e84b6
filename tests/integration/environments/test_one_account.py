"""The process tier that nobody insisted on: one account, and words for the second."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from tests.integration.environments.live_node import live_node
from tests.support import client, function

ECHO = "def handler(event, context):\n    return event\n"


def test_without_isolation_a_second_account_is_refused_with_reason_and_remedy() -> None:
    with live_node(tier="process") as node:
        others = client("lambda", node.node.endpoint, account="111122223333")
        try:
            with function(node.lambda_, ECHO) as name:
                assert node.invoke(name, 1)[1] == 1
                for call in (others.list_functions, others.get_account_settings):
                    with pytest.raises(ClientError) as refused:
                        call()
                    error = refused.value.response
                    assert error["ResponseMetadata"]["HTTPStatusCode"] == 403
                    assert error["Error"]["Code"] == "AccessDeniedException"
                    assert "in the process tier, which does not isolate accounts" in error["Error"]["Message"]
                    assert "--tier process insists" in error["Error"]["Message"]
            assert others.list_functions()["Functions"] == []
        finally:
            others.close()
