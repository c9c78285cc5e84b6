"""The canonical request of Signature Version 4, from what was on the wire.

Source: "Create a signed AWS API request" in the IAM user guide. The path is taken as the client sent it: for every
service but S3 the already encoded path is encoded once more. Query parameters are decoded (`+` is a space) and encoded
in the one canonical way, because clients write them in several.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lambent.http import Request

_PLAIN_PATH = re.compile(rb"[A-Za-z0-9\-._~/]*")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ENCODED = [bytes((byte,)) if byte in _UNRESERVED else b"%%%02X" % byte for byte in range(256)]
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_SIGNATURE = b"X-Amz-Signature"


def encode(text: bytes, *, keep_slash: bool = False) -> bytes:
    """Percent-encode everything but the unreserved characters."""
    encoded = b"".join([_ENCODED[byte] for byte in text])
    return encoded.replace(b"%2F", b"/") if keep_slash else encoded


def decode(text: bytes) -> bytes:
    """Undo percent-encoding, once; `+` is a space."""
    text = text.replace(b"+", b" ")
    if b"%" not in text:
        return text
    return _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), text)


def canonical_paths(path: bytes, service: str) -> Sequence[bytes]:
    """The path as it may have been signed: encoded once more, and for a path with empty or dot segments the normalised
    form, too, which some clients sign. S3 signs the path as it is."""
    if service == "s3":
        return (path,)
    plain = path if _PLAIN_PATH.fullmatch(path) else encode(path, keep_slash=True)
    if b"//" not in path and b"/." not in path:
        return (plain,)
    return (plain, encode(_normalise(path), keep_slash=True))


def _normalise(path: bytes) -> bytes:
    kept: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment and segment != b".":
            kept.append(segment)
    tail = b"/" if kept and path.endswith(b"/") else b""
    return b"/" + b"/".join(kept) + tail


def canonical_query(query: bytes) -> bytes:
    """Sorted parameters in canonical encoding, a presigned request's signature left out."""
    if not query:
        return b""
    pairs: list[tuple[bytes, bytes]] = []
    for parameter in query.split(b"&"):
        name, _, value = parameter.partition(b"=")
        if name != _SIGNATURE and parameter:
            pairs.append((encode(decode(name)), encode(decode(value))))
    pairs.sort()
    return b"&".join([b"%b=%b" % pair for pair in pairs])


def query_parameters(query: bytes) -> dict[bytes, bytes]:
    """Decoded parameters, the first of a name."""
    found: dict[bytes, bytes] = {}
    for parameter in query.split(b"&"):
        name, _, value = parameter.partition(b"=")
        found.setdefault(decode(name), decode(value))
    return found


def canonical_headers(request: Request, names: Sequence[bytes]) -> bytes:
    """The signed fields, one line each: repeats joined with commas, runs of white space made one space."""
    lines: list[bytes] = []
    headers = request.headers
    has_repeats = len(headers) != len({name for name, _ in headers})
    for name in names:
        value = request.header(name) or b""
        if has_repeats:
            value = b",".join([v for n, v in headers if n == name])
        if b"  " in value or b"\t" in value:
            value = b" ".join(value.split())
        lines.append(b"%b:%b\n" % (name, value))
    return b"".join(lines)
