"""Which roles a function may be given."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.functions.house import House, code, ref, wanted

from lambent.domain.errors import AccessDenied, InvalidParameterValue, LambentError, ResourceConflict
from lambent.functions.roles import check_role

MINE, THEIRS = "123456789012", "999999999999"
UNUSABLE = "The role defined for the function cannot be assumed by Lambda."
CROSS = "Cross-account pass role is not allowed."


class Known:
    """Roles that a test has decided."""

    def __init__(self, trusts: dict[str, bool]) -> None:
        self._trusts = trusts

    def trusts(self, arn: str, service: str, /) -> bool | None:
        assert service == "lambda.amazonaws.com"
        return self._trusts.get(arn)


def arn(account: str, name: str) -> str:
    return f"arn:aws:iam::{account}:role/{name}"


ROLES = Known({arn(MINE, "good"): True, arn(MINE, "bad"): False, arn(THEIRS, "good"): True, arn(THEIRS, "bad"): False})


@pytest.mark.parametrize(
    ("role", "only_own", "error"),
    [
        (arn(MINE, "good"), False, None),
        (arn(MINE, "never-created"), False, None),
        (arn(THEIRS, "never-created"), False, None),
        (arn(MINE, "bad"), False, (InvalidParameterValue, UNUSABLE)),
        (arn(THEIRS, "good"), False, (AccessDenied, CROSS)),
        (arn(THEIRS, "bad"), False, (AccessDenied, CROSS)),
        (arn(MINE, "good"), True, None),
        (arn(MINE, "never-created"), True, None),
        (arn(THEIRS, "never-created"), True, (AccessDenied, CROSS)),
    ],
)
def test_a_role_that_is_known_must_be_usable(
    role: str, only_own: bool, error: tuple[type[LambentError], str] | None
) -> None:
    if error is None:
        check_role(role, MINE, ROLES, only_own=only_own)
        return
    with pytest.raises(error[0]) as refused:
        check_role(role, MINE, ROLES, only_own=only_own)
    assert refused.value.message == error[1]


def test_creations_and_updates_look_at_the_role(house: House) -> None:
    functions = house.open(roles=ROLES)
    fetched: list[Any] = []

    async def source() -> Any:
        fetched.append(1)
        return await code()()

    with pytest.raises(InvalidParameterValue, match=UNUSABLE):
        house.run(functions.create(ref(), wanted(role=arn(MINE, "bad")), source))
    assert fetched == []  # the role comes before the code
    house.run(functions.create(ref(), wanted(role=arn(MINE, "good")), source))
    with pytest.raises(ResourceConflict):  # and the name before the role
        house.run(functions.create(ref(), wanted(role=arn(MINE, "bad")), source))
    with pytest.raises(InvalidParameterValue, match=UNUSABLE):
        house.run(functions.update_configuration(ref(), wanted(role=arn(MINE, "bad"))))
    with pytest.raises(AccessDenied, match=CROSS):
        house.run(functions.update_configuration(ref(), wanted(role=arn(THEIRS, "good"))))
    assert functions.get(ref()).latest.configuration.role == arn(MINE, "good")
