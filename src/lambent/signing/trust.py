"""The trust directory: whom the owner of this server lets sign for which signing profile version.

    TRUST_DIR/REGION.ACCOUNT.NAME.VERSION.pem     public keys and certificates of one signing profile version
    TRUST_DIR/revoked.txt                         ARNs of signing jobs and profile versions, one a line; # begins a comment

Files are read at each deployment: a change holds from the next one on, without a restart.
"""

from __future__ import annotations

import re
from pathlib import Path

TRUST_FILE_BYTES_MAX = 1_048_576
"""A file of the trust directory."""
REVOKED = "revoked.txt"

_PROFILE = re.compile(
    r"arn:aws[a-z-]*:signer:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):/signing-profiles/"
    r"(?P<name>[A-Za-z0-9_]{2,64})/(?P<version>[A-Za-z0-9]{1,64})"
)


class UnusableTrust(Exception):
    """The trust directory cannot be used; the text says which file and why."""


def file_name(profile_version_arn: str) -> str | None:
    """Name of the file that says whom a signing profile version trusts; None where the ARN is not one."""
    parsed = _PROFILE.fullmatch(profile_version_arn)
    return None if parsed is None else "{region}.{account}.{name}.{version}.pem".format(**parsed.groupdict())


def job_arn(profile_version_arn: str, job: str) -> str:
    """The ARN of a signing job of that profile."""
    return f"{profile_version_arn.partition('/')[0]}/signing-jobs/{job}"


class Trust:
    """One trust directory, or none."""

    def __init__(self, directory: str | Path) -> None:
        """directory: empty for none; a ~ is the home of the server's user."""
        self._directory = Path(directory).expanduser() if str(directory) else None

    @property
    def remedy(self) -> str | None:
        """What is to be done before anybody can be trusted; None: nothing."""
        if self._directory is None:
            return "no signature is trusted before the setting signing.trust_dir names a directory"
        if not self._directory.is_dir():
            return f"signing.trust_dir names {self._directory}, which is no directory"
        return None

    def anchors(self, profile_version_arn: str) -> str | None:
        """PEM of whom a profile version trusts; None: nobody. Raises UnusableTrust."""
        name = file_name(profile_version_arn)
        return None if name is None else self._read(name)

    def revoked(self) -> frozenset[str]:
        """ARNs of signing jobs and profile versions that count no more. Raises UnusableTrust."""
        lines = ((line.partition("#")[0].strip()) for line in (self._read(REVOKED) or "").splitlines())
        return frozenset(line for line in lines if line)

    def _read(self, name: str) -> str | None:
        if self._directory is None:
            return None
        path = self._directory / name
        try:
            with path.open("rb") as file:
                content = file.read(TRUST_FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnusableTrust(f"{path} cannot be read: {error.strerror}") from error
        if len(content) > TRUST_FILE_BYTES_MAX:
            raise UnusableTrust(f"{path} has more than {TRUST_FILE_BYTES_MAX:,} bytes")
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise UnusableTrust(f"{path} is not text") from error
