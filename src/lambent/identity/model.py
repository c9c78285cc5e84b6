"""Who is calling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from lambent.domain.names import Scope, partition_of


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request acts for, as its head claims it, or as the listener it came through knows it."""

    scope: Scope
    """Account and region the request acts in."""
    access_key: str | None
    service: str | None
    """The credential scope's service ("lambda", "logs", "s3", …); None when unsigned."""
    arn: str
    """arn:aws:iam::ACCOUNT:root, or the assumed role of a sandbox's credentials."""
    sandbox: str | None
    """Environment id when the request came through a sandbox's listener."""


@dataclass(frozen=True, slots=True)
class SandboxOrigin:
    """Whose listener a request came through; the door inside the sandbox puts it on `request.origin`.

    What comes through it acts for this account alone, whatever keys it carries.
    """

    environment: str
    account: str
    region: str
    """Where the function lives; a request signed for another region acts there."""
    arn: str | None = None
    """The assumed role the function runs as; None: the account itself."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret and whom it belongs to."""

    secret: str
    account: str
    token: str | None = None
    """The session token that must come with temporary credentials."""
    expires_ms: int | None = None
    """End of temporary credentials, epoch milliseconds."""
    arn: str | None = None
    """The caller's ARN where it is not the account's root."""
    environment: str | None = None
    """The execution environment with which temporary credentials end."""


class Credentials(Protocol):
    """Where secrets are found."""

    def find(self, access_key: str) -> Credential | None:
        """The credential of an access key, or None. Called once per request: from memory."""


class MemoryCredentials:
    """Credentials in a dictionary."""

    def __init__(self, credentials: Mapping[str, Credential] | None = None) -> None:
        self._credentials = dict(credentials or {})

    def find(self, access_key: str) -> Credential | None:
        return self._credentials.get(access_key)

    def put(self, access_key: str, credential: Credential) -> None:
        """Add or replace."""
        self._credentials[access_key] = credential

    def remove(self, access_key: str) -> None:
        """Forget; an unknown key is fine."""
        self._credentials.pop(access_key, None)


def root_arn(account: str, region: str) -> str:
    """The ARN of an account's root user."""
    return f"arn:{partition_of(region)}:iam::{account}:root"
