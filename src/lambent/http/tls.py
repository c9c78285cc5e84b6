"""TLS for a listener, with a certificate that the user names. Imported where TLS is asked for, never else.

What a connection is encrypted with is decided here alone: TLS 1.2 or later, HTTP/1.1.
"""

from __future__ import annotations

import ssl
from pathlib import Path

PROTOCOLS = ("http/1.1",)


class BadCertificate(Exception):
    """The certificate or its key can't be used; the message names the file and says why."""


def bare_context() -> ssl.SSLContext:
    """A server's context without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(PROTOCOLS))
    return context


def named_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """A context with the certificate chain in a PEM file, and its key in another or the same. Raises BadCertificate."""
    for path in (certificate, key):
        if path is not None:
            try:
                path.open("rb").close()
            except OSError as error:
                raise BadCertificate(f"{path} can't be read: {error.strerror}") from None
    context = bare_context()
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        where = certificate if key is None else f"{certificate} with {key}"
        reason = "they don't belong together" if "MISMATCH" in str(error) else "no certificate and key in PEM form"
        raise BadCertificate(f"{where}: {reason} ({error.reason or error})") from None
    return context


def _no_password() -> str:
    raise BadCertificate("the key is protected by a password: name one that is not")
