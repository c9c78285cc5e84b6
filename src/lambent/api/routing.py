"""From a request line to an operation: a trie over the segments of the raw, still-encoded path.

Segments are split before they are decoded, so an encoded slash (an ARN of a durable execution carries three) never
separates anything; each label is decoded exactly once. One trailing slash is tolerated, as the service does. Clients
that leave the slashes of an ARN unencoded are understood too, but only where no other reading of the path exists.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

from lambent.api.table import Operation
from lambent.domain.errors import LambentError

SEGMENTS_MAX = 24
"""Path segments looked at; the longest published path has five, an unencoded ARN adds up to four."""


class UnknownOperation(LambentError):
    """No operation has this path (`allowed` empty), or none has it with this method.

    Source: code and status are how the services' common front end answers; the text is ours.
    """

    def __init__(self, method: str, path: str, allowed: tuple[str, ...] = ()) -> None:
        if allowed:
            super().__init__(f"{method} is not an operation of {path}; it takes {', '.join(allowed)}.")
        else:
            super().__init__(f"Unable to determine service/operation name to be authorized: {method} {path}")
        self.allowed = allowed


class UnreadablePath(LambentError):
    """A path segment is not UTF-8 once decoded."""


class _Node:
    __slots__ = ("label", "literals", "methods")

    def __init__(self) -> None:
        self.literals: dict[bytes, _Node] = {}
        self.label: _Node | None = None
        self.methods: dict[str, tuple[Operation, tuple[tuple[bytes, Operation], ...]]] = {}
        """Method → the operation without a fixed query, and its twins by their fixed query."""


class Router:
    """The trie over a set of operations. `match` costs two to three microseconds."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root: Final = _Node()
        for operation in sorted(operations, key=lambda op: len(op.query)):
            self._add(operation)

    def _add(self, operation: Operation) -> None:
        node = self._root
        for segment in operation.path:
            if segment.startswith("{"):
                node.label = node.label or _Node()
                node = node.label
            else:
                node = node.literals.setdefault(segment.encode(), _Node())
        if not operation.query:
            node.methods[operation.method] = (operation, ())
            return
        plain, twins = node.methods[operation.method]
        fixed = "&".join(f"{name}={value}" for name, value in operation.query.items()).encode()
        node.methods[operation.method] = (plain, (*twins, (fixed, operation)))

    def match(self, method: str, path: bytes, query: bytes) -> tuple[Operation, list[bytes]]:
        """The operation meant, and its labels, still encoded, in the order of the path.

        path: as received, without the query. query: as received, without "?".
        Raises UnknownOperation.
        """
        segments = path.split(b"/")
        if segments[-1] == b"" and len(segments) > 2:
            segments.pop()
        node = self._root
        labels: list[bytes] = []
        for segment in segments[1:]:
            found = node.literals.get(segment) or node.label
            if found is None:
                return self._match_unencoded(method, path, segments, query)
            if found is node.label:
                labels.append(segment)
            node = found
        entry = node.methods.get(method)
        if entry is None:
            if not node.methods:
                return self._match_unencoded(method, path, segments, query)
            raise UnknownOperation(method, _printable(path), tuple(sorted(node.methods)))
        operation, twins = entry
        if twins and query:
            parameters = query.split(b"&")
            for fixed, twin in twins:
                if fixed in parameters:
                    return twin, labels
        return operation, labels

    def _match_unencoded(
        self, method: str, path: bytes, segments: list[bytes], query: bytes
    ) -> tuple[Operation, list[bytes]]:
        """Read the path again, letting an ARN span several segments; what stays unread is unknown."""
        if len(segments) <= SEGMENTS_MAX:
            allowed: set[str] = set()
            for node, labels in _readings(self._root, segments[1:]):
                if method in node.methods:
                    return node.methods[method][0], labels
                allowed.update(node.methods)
            if allowed:
                raise UnknownOperation(method, _printable(path), tuple(sorted(allowed)))
        raise UnknownOperation(method, _printable(path))


def _readings(node: _Node, segments: list[bytes]) -> Iterator[tuple[_Node, list[bytes]]]:
    """All ways to read `segments`; literals first, then shorter ARNs before longer ones."""
    if not segments:
        if node.methods:
            yield node, []
        return
    literal = node.literals.get(segments[0])
    if literal is not None:
        yield from _readings(literal, segments[1:])
    if node.label is not None:
        widest = len(segments) if segments[0][:4].lower() in (b"arn:", b"arn%") else 1
        for width in range(1, widest + 1):
            label = b"/".join(segments[:width])
            for found, labels in _readings(node.label, segments[width:]):
                yield found, [label, *labels]


def decode_label(raw: bytes) -> str:
    """One path segment, percent-decoded once. Raises UnreadablePath if that is not UTF-8."""
    if b"%" in raw:
        raw = unquote_to_bytes(raw)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise UnreadablePath("The request path is not valid UTF-8.") from None


def _printable(path: bytes) -> str:
    return path[:256].decode("ascii", "backslashreplace")
