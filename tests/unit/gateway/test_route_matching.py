"""Which route answers: every rule of the order, variables, and paths that mean to lead elsewhere."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.gateway.matching import Routes

PETS = ("GET /pets/dog/1", "GET /pets/dog/{id}", "GET /pets/{proxy+}", "ANY /{proxy+}", "POST /pets", "$default")


def routes(*keys: str) -> Routes[str]:
    return Routes([(key, key) for key in keys])


def found(table: Routes[str], method: str, path: str) -> tuple[str, dict[str, str]] | None:
    match = table.match(method, path)
    return None if match is None else (match[0], dict(match[1]))


@pytest.mark.parametrize(
    ("method", "path", "key", "parameters"),
    [
        # The documentation's own table.
        ("GET", "/pets/dog/1", "GET /pets/dog/1", {}),
        ("GET", "/pets/dog/2", "GET /pets/dog/{id}", {"id": "2"}),
        ("GET", "/pets/cat/1", "GET /pets/{proxy+}", {"proxy": "cat/1"}),
        ("POST", "/test/5", "ANY /{proxy+}", {"proxy": "test/5"}),
        # A full match needs the method, too: what has another one is left to greedy routes and $default.
        ("POST", "/pets/dog/1", "ANY /{proxy+}", {"proxy": "pets/dog/1"}),
        ("GET", "/pets", "ANY /{proxy+}", {"proxy": "pets"}),
        ("POST", "/pets", "POST /pets", {}),
        ("GET", "/", "$default", {}),
        ("GET", "/pets/", "ANY /{proxy+}", {"proxy": "pets/"}),
    ],
)
def test_the_most_specific_route_answers(method: str, path: str, key: str, parameters: dict[str, str]) -> None:
    assert found(routes(*PETS), method, path) == (key, parameters)
    assert found(routes(*reversed(PETS)), method, path) == (key, parameters), "whatever the order they were made in"


@pytest.mark.parametrize(
    ("keys", "method", "path", "key"),
    [
        (("ANY /a", "GET /a"), "GET", "/a", "GET /a"),
        (("ANY /a", "GET /a"), "PUT", "/a", "ANY /a"),
        (("ANY /a/b", "GET /a/{x}"), "GET", "/a/b", "ANY /a/b"),  # the path counts before the method
        (("GET /{a}/b/c", "GET /x/{b}/{c}"), "GET", "/x/b/c", "GET /{a}/b/c"),  # more literal segments
        (("GET /{a}/b", "GET /x/{b}"), "GET", "/x/b", "GET /x/{b}"),  # as many: the earlier ones
        (("GET /{a}/{b}", "GET /x/{proxy+}"), "GET", "/x/y", "GET /{a}/{b}"),  # greedy ones come last
        (("GET /x/{proxy+}", "ANY /x/y/{proxy+}"), "GET", "/x/y/z", "ANY /x/y/{proxy+}"),  # the longest prefix
        (("GET /x/{proxy+}", "ANY /x/{proxy+}"), "PUT", "/x/y", "ANY /x/{proxy+}"),
        (("GET /x/{proxy+}", "ANY /x/{proxy+}"), "GET", "/x/y", "GET /x/{proxy+}"),
        (("GET /{a}/{proxy+}", "GET /x/{proxy+}"), "GET", "/x/y", "GET /x/{proxy+}"),
        (("GET /a/{x}", "GET /a/{y}/b"), "GET", "/a/1/b", "GET /a/{y}/b"),
        (("GET /a/{x}/c", "GET /a/b/{proxy+}"), "GET", "/a/b/c", "GET /a/{x}/c"),
        (("GET /a/",), "GET", "/a/", "GET /a/"),
    ],
)
def test_between_two(keys: tuple[str, ...], method: str, path: str, key: str) -> None:
    for order in (keys, keys[::-1]):
        match = found(routes(*order), method, path)
        assert match is not None
        assert match[0] == key


@pytest.mark.parametrize(
    ("keys", "method", "path"),
    [
        (("GET /a",), "GET", "/a/"),  # a trailing slash is another path
        (("GET /a/",), "GET", "/a"),
        (("GET /a",), "POST", "/a"),
        (("GET /a/{x}",), "GET", "/a/"),  # a variable is something
        (("GET /{proxy+}",), "GET", "/"),
        (("GET /a/{proxy+}",), "GET", "/a"),
        (("GET /a/{proxy+}",), "GET", "/a/"),
        (("GET /a/{x}",), "GET", "/a/b/c"),
        (("GET /A",), "GET", "/a"),
        ((), "GET", "/"),
    ],
)
def test_what_no_route_takes(keys: tuple[str, ...], method: str, path: str) -> None:
    assert found(routes(*keys), method, path) is None


@pytest.mark.parametrize(
    ("path", "key", "parameters"),
    [
        ("/open/../shut", "GET /open/{proxy+}", {"proxy": "../shut"}),
        ("/open/%2e%2e/shut", "GET /open/{proxy+}", {"proxy": "../shut"}),
        ("/open/..%2fshut", "GET /open/{proxy+}", {"proxy": "../shut"}),
        ("/open//shut", "GET /open/{proxy+}", {"proxy": "/shut"}),
        ("//shut", "$default", {}),
        ("/./shut", "$default", {}),
        ("/open%2fx", "$default", {}),  # an encoded slash separates nothing
        ("/%73hut", "GET /shut", {}),
    ],
)
def test_paths_that_mean_to_lead_elsewhere_stay_where_they_are(path: str, key: str, parameters: dict[str, str]) -> None:
    """What decides about a request is the path as it came: an open route does not lead to a shut one."""
    assert found(routes("GET /open/{proxy+}", "GET /shut", "$default"), "GET", path) == (key, parameters)


def test_parameters_are_decoded_once() -> None:
    table = routes("GET /a/{x}/b/{y}", "GET /f/{proxy+}")
    assert found(table, "GET", "/a/1%202/b/%25") == ("GET /a/{x}/b/{y}", {"x": "1 2", "y": "%"})
    assert found(table, "GET", "/a/a%2Fb/b/%C3%A9") == ("GET /a/{x}/b/{y}", {"x": "a/b", "y": "é"})
    assert found(table, "GET", "/a/%252e/b/+") == ("GET /a/{x}/b/{y}", {"x": "%2e", "y": "+"})
    assert found(table, "GET", "/f/a%20b/c/") == ("GET /f/{proxy+}", {"proxy": "a b/c/"})


def test_the_first_of_two_routes_with_one_key_stays() -> None:
    table = Routes([("GET /a", 1), ("GET /a", 2), ("GET /{x}", 3), ("GET /{y}", 4), ("$default", 5), ("$default", 6)])
    assert [table.match("GET", path) for path in ("/a", "/b", "/b/c")] == [(1, {}), (3, {"x": "b"}), (5, {})]


SEGMENT = st.sampled_from(["a", "b", "{x}", "{y}", "c"])
KEYS = st.lists(
    st.builds(
        lambda method, segments, greedy: f"{method} /{'/'.join([*segments, *greedy])}",
        st.sampled_from(["GET", "POST", "ANY"]),
        st.lists(SEGMENT, min_size=1, max_size=3),
        st.sampled_from([[], ["{proxy+}"]]),
    ),
    max_size=12,
    unique=True,
)
PATHS = st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


def rank(key: str, method: str, segments: list[str]) -> tuple[int, ...] | None:
    """How specific a route is for a request, by the documented rules alone; None: it does not match."""
    verb, _, path = key.partition(" ")
    pattern = path.split("/")[1:]
    if verb not in (method, "ANY"):
        return None
    is_greedy = pattern[-1] == "{proxy+}"
    fixed = pattern[:-1] if is_greedy else pattern
    if (len(segments) <= len(fixed)) if is_greedy else len(segments) != len(fixed):
        return None
    if any(want[0] != "{" and want != have for want, have in zip(fixed, segments, strict=False)):
        return None
    literals = [int(want[0] != "{") for want in fixed]
    depth = len(fixed) if is_greedy else 0
    return (int(not is_greedy), depth, sum(literals), *literals, *([0] * (5 - len(literals))), int(verb != "ANY"))


@given(KEYS, PATHS, st.sampled_from(["GET", "POST"]))
def test_the_trie_finds_what_the_rules_say(keys: list[str], path: str, method: str) -> None:
    segments = path.split("/")[1:]
    ranked = [(found_rank, key) for key in keys if (found_rank := rank(key, method, segments)) is not None]
    match = found(routes(*keys), method, path)
    if not ranked:
        assert match is None
    else:
        assert match is not None
        assert rank(match[0], method, segments) == max(ranked)[0]


def test_a_long_path_through_many_routes_takes_no_time() -> None:
    """Variables at every step beside literals: the walk is bounded by the routes, not by their combinations."""
    table = routes(*(f"GET /{'/'.join(f'{{v{i}}}' if n >> i & 1 else 'a' for i in range(8))}" for n in range(256)))
    began = time.process_time()
    for _ in range(100):
        assert found(table, "GET", "/" + "/".join("a" * 8)) == ("GET /a/a/a/a/a/a/a/a", {})
        found(table, "GET", "/a" * 9)
        found(table, "GET", "/%61" * 2_000)
    assert time.process_time() - began < 5.0
