"""Reading one request head, strictly.

The connection finds the end of the head (CR LF CR LF) and gives the whole of it to a fresh httptools parser: heads are
parsed in one piece, so nothing depends on how the network split them, and the body's framing is decided here alone.
httptools in its strict mode refuses bare LF, obs-fold, space before the colon, control characters, conflicting or
repeated Content-Length, Content-Length beside Transfer-Encoding. What it lets pass and we do not: several spaces in the
request line, fragments, versions other than 1.0 and 1.1, transfer codings other than exactly one `chunked`, a coding in
HTTP/1.0, missing or repeated Host, an absolute target that contradicts Host.
"""

from __future__ import annotations

import re

import httptools

from .message import Fields, Request

_METHODS = {m.encode(): m for m in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH")}
_VERSION = re.compile(rb" HTTP/\d+(\.\d+)?\Z")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")


_NOTHING: dict[bytes, bytes] = {}


class Refusal(Exception):
    """The request is refused by the core itself: status and a sentence for the client; the connection closes."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Head(Request):
    """A request with what its head says about the body. httptools calls the `on_` methods while it parses."""

    __slots__ = ("chunked", "complete", "continues", "length")

    def __init__(self) -> None:  # all fields at once: a call of super's would cost a tenth of the parsing
        self.method = ""
        self.target = self.path = self.query = self.body = b""
        self.headers = []
        self.trailers = ()
        self.peer = self.origin = self.tls = None
        self.keep_alive = True
        self.header = _NOTHING.get
        self.minor = 1
        self.complete = False
        self.length = 0
        """Declared length of the body; 0 when chunked or none."""
        self.chunked = False
        self.continues = False
        """The client waits for 100 Continue before it sends the body."""

    def on_url(self, url: bytes) -> None:
        if self.target:
            raise Refusal(400, "More than one request line")
        self.target = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        self.complete = True


def read_head(raw: bytes, fields_max: int) -> Head:
    """Parse a complete head, blank line included. Raises Refusal."""
    if len(raw) > 4 * fields_max and raw.count(b"\n") > fields_max + 2:
        raise Refusal(431, "Too many header fields")
    head = Head()
    parser = httptools.HttpRequestParser(head)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # an offer to change the protocol; we stay with HTTP/1.1, which the client must accept
    except httptools.HttpParserError as error:
        raise _explain(raw, error) from None
    if not head.complete:
        raise _explain(raw, None)
    method = parser.get_method()
    if not raw.startswith(b"%b %b HTTP/1.1\r\n" % (method, head.target)):
        head.minor = _check_line(raw[: raw.find(b"\r\n")])
    head.method = _METHODS.get(method) or method.decode("ascii")
    headers = head.headers
    first = dict(reversed(headers))
    head.header = first.get
    if len(first) != len(headers):
        _check_repeats(headers)
    host = first.get(b"host")
    if host is None and head.minor == 1:
        raise Refusal(400, "Host is missing")
    target = head.target
    if b"#" in target:
        raise Refusal(400, "Malformed request target")
    if target[0] != 0x2F:
        target = _origin_form(head, host)
    head.path, _, head.query = target.partition(b"?")
    length = first.get(b"content-length")
    if length is not None:
        if not length.isdigit() or len(length) > 18:
            raise Refusal(400, "Malformed Content-Length")
        head.length = int(length)
    if b"transfer-encoding" in first:
        _take_coding(head, first)
    if b"expect" in first:
        _take_expectation(head, first)
    if head.minor == 0 or b"connection" in first:
        head.keep_alive = _keeps_alive(headers, head.minor)
    return head


def _explain(raw: bytes, error: Exception | None) -> Refusal:
    """The status for what httptools refused: the version and the method have their own."""
    line = raw[: raw.find(b"\r\n")]
    try:
        _check_line(line)
    except Refusal as refusal:
        return refusal
    if isinstance(error, httptools.HttpParserInvalidMethodError) and _TOKEN.match(line.partition(b" ")[0]):
        return Refusal(501, "Unknown method")
    return Refusal(400, str(error or "Malformed request"))


def _check_line(line: bytes) -> int:
    """The minor version of a well-formed request line."""
    if line.endswith(b" HTTP/1.1"):
        minor = 1
    elif line.endswith(b" HTTP/1.0"):
        minor = 0
    elif _VERSION.search(line):
        raise Refusal(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here")
    else:
        raise Refusal(400, "Malformed request line")
    if line.count(b" ") != 2:
        raise Refusal(400, "Malformed request line")
    return minor


def _check_repeats(headers: Fields) -> None:
    """Fields whose repetition would leave two readings. Content-Length and Transfer-Encoding: the parser saw to them."""
    names = [name for name, _ in headers]
    for single in (b"host", b"expect", b"content-length", b"transfer-encoding"):
        if names.count(single) > 1:
            raise Refusal(400, f"More than one {single.decode().title()} field")


def _origin_form(head: Head, host: bytes | None) -> bytes:
    """`*` as it is; an absolute target without scheme and authority, which must be Host's."""
    target = head.target
    if head.method == "CONNECT":
        raise Refusal(501, "Unknown method")
    if target == b"*" and head.method == "OPTIONS":
        return target
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise Refusal(400, "Malformed request target")
    cut = next((i for i, byte in enumerate(rest) if byte in b"/?"), len(rest))
    if host is not None and rest[:cut].lower() != host.lower():
        raise Refusal(400, "The request target contradicts Host")
    rest = rest[cut:]
    return rest if rest[:1] == b"/" else b"/" + rest


def _take_coding(head: Head, first: dict[bytes, bytes]) -> None:
    if b"content-length" in first:
        raise Refusal(400, "Content-Length beside Transfer-Encoding")
    if head.minor == 0:
        raise Refusal(400, "Transfer-Encoding in HTTP/1.0")
    if first[b"transfer-encoding"].lower() != b"chunked":
        raise Refusal(501, "Only the chunked transfer coding is understood")
    head.chunked = True


def _take_expectation(head: Head, first: dict[bytes, bytes]) -> None:
    if head.minor == 0:
        return  # HTTP/1.0 knows no Expect: to be ignored
    if first[b"expect"].lower() != b"100-continue":
        raise Refusal(417, "Only 100-continue can be expected")
    head.continues = head.chunked or head.length > 0


def _keeps_alive(headers: Fields, minor: int) -> bool:
    options = {
        option.strip().lower() for name, value in headers if name == b"connection" for option in value.split(b",")
    }
    if b"close" in options:
        return False
    return minor == 1 or b"keep-alive" in options
