"""The setting that names keys to verify with."""

from __future__ import annotations

import pytest

from lambent.assembly.keys import BadAccessKeys, access_keys


def test_keys_secrets_and_accounts_are_read() -> None:
    found = access_keys("AKIDEXAMPLE:s3cret, 111122223333:other,KEY:with:444455556666", "000000000000")
    named = {key: found.find(key) for key in ("AKIDEXAMPLE", "111122223333", "KEY")}
    assert {key: (c.secret, c.account) for key, c in named.items() if c is not None} == {
        "AKIDEXAMPLE": ("s3cret", "000000000000"),
        "111122223333": ("other", "111122223333"),
        "KEY": ("with", "444455556666"),
    }


@pytest.mark.parametrize("text", ["", " , ", "KEY", "KEY:", ":secret", "KEY:secret:notanaccount"])
def test_what_is_no_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(BadAccessKeys) as refused:
        access_keys(text, "000000000000")
    assert "secret:" not in str(refused.value)
