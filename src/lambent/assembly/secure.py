"""The listener of HTTPS: begun while the process has its privilege, finished when the data directory is its own.

Imported only where a port for it is set.
"""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from lambent.http import listen
from lambent.http.tls import BadCertificate, named_context
from lambent.settings import Settings, SettingsError

FROM_SETTINGS = "settings"


@dataclass(slots=True)
class Secure:
    """A bound socket and what it is encrypted with."""

    listener: socket.socket
    context: ssl.SSLContext | None
    """None until `finish`, where the certificates are a development authority's."""
    authority: Path | None = None
    """The certificate that clients have to trust; None where the user's own certificate is shown."""

    @property
    def endpoint(self) -> str:
        host, port = self.listener.getsockname()[:2]
        return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"

    def finish(self, data: Path, host: str) -> None:
        """Have a context by now: the development authority's where no certificate was named. Raises SettingsError."""
        if self.context is None:
            from lambent.http.authority import Authority

            try:
                authority = Authority.open(data / "tls", lambda: time.time_ns() // 1_000_000)
            except BadCertificate as error:
                raise SettingsError("tls.port", FROM_SETTINGS, str(error)) from None
            self.authority = authority.path
            self.context = authority.context((host,))


def begin(settings: Settings) -> Secure:
    """Bind the port and read the certificate that is named. Raises SettingsError, OSError."""
    named = settings.tls
    if named.key and not named.certificate:
        raise SettingsError("tls.key", FROM_SETTINGS, "tls.certificate is empty: a key goes with a certificate")
    context = None
    if named.certificate:
        try:
            context = named_context(Path(named.certificate), Path(named.key) if named.key else None)
        except BadCertificate as error:
            raise SettingsError("tls.certificate", FROM_SETTINGS, str(error)) from None
    else:
        import lambent.http.authority  # noqa: F401  # what is imported by root is found by the server's user, too
    return Secure(listen(settings.server.host, named.port), context)
