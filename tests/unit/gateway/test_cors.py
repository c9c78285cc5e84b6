"""CORS: what a configuration answers to preflight requests, and what it makes of a function's own fields."""

from __future__ import annotations

from typing import Any

import pytest

from lambent.gateway.cors import Cors, is_preflight

VARY = (b"Vary", b"Origin")


def fields(*pairs: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    return [(f"Access-Control-{name}".encode() if name != "Vary" else b"Vary", value.encode()) for name, value in pairs]


@pytest.mark.parametrize(
    ("members", "origin", "answer"),
    [
        ({"AllowOrigins": ["*"]}, b"http://a", fields(("Allow-Origin", "*"))),
        ({"AllowOrigins": ["http://a"]}, b"http://a", fields(("Allow-Origin", "http://a"), ("Vary", "Origin"))),
        ({"AllowOrigins": ["HTTP://A"]}, b"http://a", fields(("Allow-Origin", "http://a"), ("Vary", "Origin"))),
        ({"AllowOrigins": ["http://b", "http://a"]}, b"http://a", fields(("Allow-Origin", "http://a"), ("Vary", "Origin"))),
        ({"AllowOrigins": ["https://*"]}, b"https://x.y", fields(("Allow-Origin", "https://x.y"), ("Vary", "Origin"))),
        ({"AllowOrigins": ["https://*"]}, b"http://x.y", []),
        ({"AllowOrigins": ["http://a"]}, b"http://a.evil", []),
        ({"AllowOrigins": ["http://a"]}, b"null", []),
        ({}, b"http://a", []),
        (
            {"AllowOrigins": ["*"], "AllowCredentials": True},
            b"http://a",
            fields(("Allow-Origin", "http://a"), ("Vary", "Origin"), ("Allow-Credentials", "true")),
        ),
        ({"AllowOrigins": ["*"], "AllowCredentials": False}, b"http://a", fields(("Allow-Origin", "*"))),
    ],
)  # fmt: skip
def test_origins(members: dict[str, Any], origin: bytes, answer: list[tuple[bytes, bytes]]) -> None:
    cors = Cors.read(members)
    assert cors.preflight(origin, b"GET", None) == answer
    assert cors.cover(origin, []) == answer


def test_a_whole_preflight() -> None:
    cors = Cors.read(
        {
            "AllowOrigins": ["http://a"],
            "AllowMethods": ["GET", "PUT"],
            "AllowHeaders": ["x-a", "x-b"],
            "ExposeHeaders": ["x-c"],
            "MaxAge": 60,
            "AllowCredentials": True,
        }
    )
    assert cors.preflight(b"http://a", b"DELETE", b"x-z") == fields(
        ("Allow-Origin", "http://a"),
        ("Vary", "Origin"),
        ("Allow-Credentials", "true"),
        ("Allow-Methods", "GET,PUT"),
        ("Allow-Headers", "x-a,x-b"),
        ("Max-Age", "60"),
    )
    assert cors.cover(b"http://a", [(b"x-c", b"1")]) == [
        (b"x-c", b"1"),
        *fields(
            ("Allow-Origin", "http://a"),
            ("Vary", "Origin"),
            ("Allow-Credentials", "true"),
            ("Expose-Headers", "x-c"),
        ),
    ]


def test_an_asterisk_names_back_what_was_asked() -> None:
    cors = Cors.read({"AllowOrigins": ["*"], "AllowMethods": ["*"], "AllowHeaders": ["*"], "MaxAge": 0})
    assert cors.preflight(b"http://a", b"PATCH", b"x-a, x-b") == fields(
        ("Allow-Origin", "*"), ("Allow-Methods", "PATCH"), ("Allow-Headers", "x-a, x-b"), ("Max-Age", "0")
    )
    assert cors.preflight(b"http://a", b"PA\xffTCH", None) == fields(("Allow-Origin", "*"), ("Max-Age", "0"))


def test_the_functions_own_fields_never_count() -> None:
    own = [
        (b"access-control-allow-origin", b"*"),
        (b"Access-Control-Expose-Headers", b"x"),
        (b"content-type", b"text/html"),
    ]
    cors = Cors.read({"AllowOrigins": ["http://a"]})
    assert cors.cover(None, own) == [own[2]]
    assert cors.cover(b"http://evil", own) == [own[2]]
    assert cors.cover(b"http://a", own) == [own[2], (b"Access-Control-Allow-Origin", b"http://a"), VARY]


@pytest.mark.parametrize(
    ("method", "origin", "requested", "is_one"),
    [
        ("OPTIONS", b"http://a", b"GET", True),
        ("OPTIONS", None, b"GET", False),
        ("OPTIONS", b"http://a", None, False),
        ("GET", b"http://a", b"GET", False),
    ],
)
def test_what_a_preflight_is(method: str, origin: bytes | None, requested: bytes | None, is_one: bool) -> None:
    assert is_preflight(method, origin, requested) is is_one
