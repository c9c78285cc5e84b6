"""Who is let in through a function URL: every combination of statements that decides."""

from __future__ import annotations

from typing import Any

import pytest
from tests.contracts.test_function_store import function as stored_function

from lambent.domain.names import FunctionRef
from lambent.domain.statements import Asker
from lambent.functions.model import Function, Policy
from lambent.gateway.permissions import ANYBODY, asks_about_requests, of_request, refusal

REF = FunctionRef("123456789012", "us-east-1", "fn")
ARN = REF.arn()
OWN = Asker("123456789012", "arn:aws:iam::123456789012:root")
OTHER = Asker("999999999999", "arn:aws:iam::999999999999:root")
VIA = {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}


def statement(action: str, principal: Any = "*", effect: str = "Allow", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Principal": principal, "Action": f"lambda:{action}", "Resource": ARN, **more}


def url_for(auth_type: str, principal: Any = "*", **more: Any) -> dict[str, Any]:
    condition = {"StringEquals": {"lambda:FunctionUrlAuthType": auth_type}}
    return statement("InvokeFunctionUrl", principal, Condition=condition, **more)


def made(*statements: dict[str, Any], key: str = "") -> Function:
    policies = {key: Policy("r", {"Version": "2012-10-17", "Statement": list(statements)})} if statements else {}
    return stored_function(REF, policies=policies)


OPEN = (url_for("NONE"), statement("InvokeFunction", Condition=VIA))
SIGNED = (
    url_for("AWS_IAM", {"AWS": "arn:aws:iam::999999999999:root"}),
    statement("InvokeFunction", {"AWS": "999999999999"}, Condition=VIA),
)


@pytest.mark.parametrize(
    ("statements", "asker", "auth_type", "reason"),
    [
        ((), ANYBODY, "NONE", "allows lambda:InvokeFunctionUrl"),
        (OPEN, ANYBODY, "NONE", None),
        (OPEN[:1], ANYBODY, "NONE", "allows lambda:InvokeFunction on"),
        (OPEN[1:], ANYBODY, "NONE", "allows lambda:InvokeFunctionUrl"),
        ((url_for("AWS_IAM"), OPEN[1]), ANYBODY, "NONE", "allows lambda:InvokeFunctionUrl"),
        ((statement("*"),), ANYBODY, "NONE", None),
        (SIGNED, ANYBODY, "NONE", "allows lambda:InvokeFunctionUrl"),
        ((*OPEN, statement("InvokeFunctionUrl", effect="Deny")), ANYBODY, "NONE", "denies lambda:InvokeFunctionUrl"),
        ((*OPEN, statement("InvokeFunction", effect="Deny")), ANYBODY, "NONE", "denies lambda:InvokeFunction on"),
        ((), OWN, "AWS_IAM", None),
        ((statement("InvokeFunctionUrl", effect="Deny"),), OWN, "AWS_IAM", "denies"),
        ((), OTHER, "AWS_IAM", "allows lambda:InvokeFunctionUrl"),
        (SIGNED, OTHER, "AWS_IAM", None),
        (SIGNED[:1], OTHER, "AWS_IAM", "allows lambda:InvokeFunction on"),
        (OPEN, OTHER, "AWS_IAM", "allows lambda:InvokeFunctionUrl"),
    ],
)
def test_statements(statements: tuple[dict[str, Any], ...], asker: Asker, auth_type: str, reason: str | None) -> None:
    found = refusal(made(*statements), "", asker, auth_type)
    assert (found is None) if reason is None else (found is not None and reason in found)


def test_an_aliass_url_needs_the_aliass_own_statements() -> None:
    assert refusal(made(*OPEN), "live", ANYBODY, "NONE") is not None
    of_alias = [{**one, "Resource": f"{ARN}:live"} for one in OPEN]
    assert refusal(made(*of_alias, key="live"), "live", ANYBODY, "NONE") is None
    assert refusal(made(*of_alias, key="live"), "", ANYBODY, "NONE") is not None


@pytest.mark.parametrize(
    ("operator", "networks", "source_ip", "is_let_in"),
    [
        ("IpAddress", "10.0.0.0/8", "10.1.2.3", True),
        ("IpAddress", "10.0.0.0/8", "11.1.2.3", False),
        ("IpAddress", ["192.0.2.7", "2001:db8::/32"], "2001:db8::5", True),
        ("NotIpAddress", "10.0.0.0/8", "10.1.2.3", False),
        ("NotIpAddress", "10.0.0.0/8", "11.1.2.3", True),
        ("IpAddress", "nonsense", "10.1.2.3", False),
        ("NotIpAddress", "nonsense", "10.1.2.3", False),
    ],
)
def test_a_condition_on_the_clients_address(operator: str, networks: object, source_ip: str, is_let_in: bool) -> None:
    open_to = made(statement("*", Condition={operator: {"aws:SourceIp": networks}}))
    assert asks_about_requests(open_to, "")
    assert not asks_about_requests(made(*OPEN), "")
    assert (refusal(open_to, "", ANYBODY, "NONE", of_request(source_ip, False)) is None) is is_let_in
    assert refusal(open_to, "", ANYBODY, "NONE") is not None, "nobody knows the address"


def test_a_condition_on_encryption() -> None:
    only = made(statement("*", Condition={"Bool": {"aws:SecureTransport": "true"}}))
    assert refusal(only, "", ANYBODY, "NONE", of_request("1.2.3.4", True)) is None
    assert refusal(only, "", ANYBODY, "NONE", of_request("1.2.3.4", False)) is not None
