"""Cross-origin requests: what a URL's or an API's CORS configuration answers to them.

Where one is configured the door alone decides: it answers preflight requests itself, and on all other responses its
fields replace those that the function wrote. Source: Developer guide, "Cross-origin resource sharing (CORS)" of function
URLs; Fetch standard, "CORS protocol".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from .answers import without

Fields = list[tuple[bytes, bytes]]
PREFIX = b"access-control-"

_VARY = (b"Vary", b"Origin")
_CREDENTIALS = (b"Access-Control-Allow-Credentials", b"true")


@dataclass(frozen=True, slots=True)
class Cors:
    """One configuration. Origins are compared whatever their case; `*` is any, `https://*` any of a scheme."""

    origins: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    max_age_s: int | None = None
    has_credentials: bool = False

    @classmethod
    def read(cls, members: Mapping[str, Any]) -> Self:
        """From the members by the API's names: AllowOrigins, AllowMethods, AllowHeaders, ExposeHeaders, MaxAge,
        AllowCredentials."""
        return cls(
            tuple(members.get("AllowOrigins") or ()),
            tuple(members.get("AllowMethods") or ()),
            tuple(members.get("AllowHeaders") or ()),
            tuple(members.get("ExposeHeaders") or ()),
            members.get("MaxAge"),
            bool(members.get("AllowCredentials")),
        )

    def preflight(self, origin: bytes, method: bytes, headers: bytes | None) -> Fields:
        """The fields that answer a preflight request; none for an origin that is not let in.

        method, headers: what the browser says that it is about to send. A configured `*` names them back, for a browser
        does not take the asterisk where credentials are sent.
        """
        fields = self._origin(origin)
        if not fields:
            return fields
        methods = method if "*" in self.methods else _joined(self.methods)
        if methods and _is_clean(methods):
            fields.append((b"Access-Control-Allow-Methods", methods))
        allowed = (headers or b"") if "*" in self.headers else _joined(self.headers)
        if allowed and _is_clean(allowed):
            fields.append((b"Access-Control-Allow-Headers", allowed))
        if self.max_age_s is not None:
            fields.append((b"Access-Control-Max-Age", str(self.max_age_s).encode()))
        return fields

    def cover(self, origin: bytes | None, fields: Fields) -> Fields:
        """A response's fields with the configuration's in place of the function's."""
        kept = without(fields, PREFIX)
        if origin is None:
            return kept
        added = self._origin(origin)
        if added and self.exposed:
            added.append((b"Access-Control-Expose-Headers", _joined(self.exposed)))
        return kept + added

    def _origin(self, origin: bytes) -> Fields:
        wanted = origin.decode("latin-1").lower()
        if not any(_is_let_in(one, wanted) for one in self.origins):
            return []
        if "*" in self.origins and not self.has_credentials:
            return [(b"Access-Control-Allow-Origin", b"*")]
        fields = [(b"Access-Control-Allow-Origin", origin), _VARY]
        if self.has_credentials:
            fields.append(_CREDENTIALS)
        return fields


def is_preflight(method: str, origin: bytes | None, requested_method: bytes | None) -> bool:
    """Whether a request asks, on a browser's behalf, what it may send."""
    return method == "OPTIONS" and origin is not None and requested_method is not None


def _is_let_in(pattern: str, origin: str) -> bool:
    pattern = pattern.lower()
    return pattern == "*" or pattern == origin or (pattern.endswith("://*") and origin.startswith(pattern[:-1]))


def _joined(values: Sequence[str]) -> bytes:
    return ",".join(values).encode("utf-8", "replace")


def _is_clean(value: bytes) -> bool:
    """What a client asked for is named back only where it can't be anything but a list of names."""
    return all(0x20 <= byte < 0x7F for byte in value)
