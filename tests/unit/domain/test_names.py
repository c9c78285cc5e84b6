"""Function names, ARNs and qualifiers as the service reads them."""

from __future__ import annotations

import pytest

from lambent.domain.errors import AccessDenied, InvalidParameterValue, ResourceNotFound
from lambent.domain.names import (
    FunctionName,
    FunctionRef,
    Scope,
    merge_qualifier,
    parse_function_arn,
    parse_function_name,
)

SCOPE = Scope("123456789012", "us-east-1")
REF = FunctionRef("123456789012", "us-east-1", "my-fn")


@pytest.mark.parametrize(
    ("text", "qualifier"),
    [
        ("my-fn", None),
        ("my-fn:PROD", "PROD"),
        ("my-fn:$LATEST", "$LATEST"),
        ("function:my-fn", None),
        ("function:my-fn:3", "3"),
        ("123456789012:my-fn", None),
        ("123456789012:function:my-fn:3", "3"),
        ("arn:aws:lambda:us-east-1:123456789012:function:my-fn", None),
        ("arn:aws:lambda:us-east-1:123456789012:function:my-fn:$LATEST", "$LATEST"),
    ],
)
def test_every_accepted_form_names_the_same_function(text: str, qualifier: str | None) -> None:
    named = parse_function_name(text, SCOPE)
    assert named.ref == REF
    assert named.qualifier == qualifier


def test_an_arn_that_stops_after_function_names_a_function_called_function() -> None:
    named = parse_function_name("arn:aws:lambda:us-east-1:123456789012:function", SCOPE)
    assert named.ref.name == "function"


def test_another_region_is_not_reachable() -> None:
    with pytest.raises(ResourceNotFound) as refused:
        parse_function_name("arn:aws:lambda:eu-west-1:123456789012:function:f", SCOPE)
    assert refused.value.message == ("Functions from 'eu-west-1' are not reachable in this region ('us-east-1')")


def test_another_account_is_denied_without_a_word_unless_the_operation_crosses_accounts() -> None:
    with pytest.raises(AccessDenied) as refused:
        parse_function_name("999999999999:function:f", SCOPE)
    assert refused.value.message is None
    assert parse_function_name("999999999999:function:f", SCOPE, cross_account=True).ref.account == "999999999999"


def test_two_qualifiers_must_agree() -> None:
    named = parse_function_name("my-fn:1", SCOPE)
    assert merge_qualifier(named, "1") == "1"
    assert merge_qualifier(named, None) == "1"
    with pytest.raises(InvalidParameterValue) as refused:
        merge_qualifier(named, "2")
    assert refused.value.message == (
        "The derived qualifier from the function name does not match the specified qualifier."
    )


@pytest.mark.parametrize(
    ("arn", "qualifier"),
    [
        ("arn:aws:lambda:us-east-1:123456789012:function:fn", None),
        ("arn:aws:lambda:us-east-1:123456789012:function:fn:live", "live"),
        ("arn:aws-cn:lambda:us-east-1:123456789012:function:fn:$LATEST", "$LATEST"),
    ],
)
def test_a_function_arn_is_read(arn: str, qualifier: str | None) -> None:
    assert parse_function_arn(arn) == FunctionName(FunctionRef("123456789012", "us-east-1", "fn"), qualifier)


@pytest.mark.parametrize(
    "arn",
    [
        "fn",
        "arn:aws:sqs:us-east-1:123456789012:fn",
        "arn:aws:lambda:us-east-1:123456789012:layer:fn:1",
        "arn:aws:lambda:us-east-1:123456789012:function:fn:a:b",
        "arn:aws:lambda:us-east-1:123456789012:function:fn:$OTHER",
        "arn:aws:lambda:us-east-1:123456789012:function:fn\n",
    ],
)
def test_what_is_no_function_arn_is_none(arn: str) -> None:
    assert parse_function_arn(arn) is None
