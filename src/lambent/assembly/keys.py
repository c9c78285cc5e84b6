"""The access keys that a server which verifies signatures knows."""

from __future__ import annotations

from lambent.domain.names import is_account
from lambent.identity.model import Credential, MemoryCredentials


class BadAccessKeys(Exception):
    """The setting server.access_keys can't be read, or is needed and empty."""


def access_keys(text: str, default_account: str) -> MemoryCredentials:
    """The credentials that `server.access_keys` names. Raises BadAccessKeys without repeating a secret."""
    found = {}
    for number, item in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
        key, _, rest = item.partition(":")
        secret, _, account = rest.partition(":")
        account = account or (key if is_account(key) else default_account)
        if not key or not secret or not is_account(account):
            raise BadAccessKeys(f"item {number} of server.access_keys is not KEY:SECRET or KEY:SECRET:ACCOUNT")
        found[key] = Credential(secret, account)
    if not found:
        raise BadAccessKeys(
            "server.verify_signatures needs keys to verify with: name them in server.access_keys as KEY:SECRET"
        )
    return MemoryCredentials(found)
