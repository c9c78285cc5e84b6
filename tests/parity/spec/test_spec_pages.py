"""§21: every list in pages: sizes, order, markers, and what is written while somebody turns them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.parity.spec.spec_world import (
    FUNCTIONS,
    IPV,
    VAL,
    ZIP,
    Wire,
    at_least,
    at_most,
    encoded,
    one,
    pages,
    refused,
)
from tests.support import package

BASE64 = b64encode(ZIP).decode()
FN = "paged"
COUNT = 7


@dataclass(frozen=True, slots=True)
class Listing:
    """One list: where it is, what is in it, and how to add to it and take away."""

    path: str
    member: str
    name: Callable[[Any], str]
    add: Callable[[Wire, str], Any]
    """Add the item of a key, of which there are `COUNT` (`a0`, `a1`, …)."""
    remove: Callable[[Wire, str], Any]
    most: int
    cap: int
    by_number: bool = False
    """Whether items are named by numbers that the server gives, so that keys only say how many there are."""


def make_alias(wire: Wire, key: str) -> None:
    wire.alias(FN, key)


def make_version(wire: Wire, key: str) -> None:
    wire.publish(FN, package({"app.py": f"# {key}\n"}))


def make_layer_version(wire: Wire, key: str) -> None:
    wire.ok("POST", "/2018-10-31/layers/paged/versions", {"Content": {"ZipFile": BASE64}})


def make_mapping(wire: Wire, key: str) -> None:
    queue = f"arn:aws:sqs:us-east-1:{wire.account}:{key}"
    wire.ok("POST", "/2015-03-31/event-source-mappings", {"FunctionName": FN, "EventSourceArn": queue})


def remove_mapping(wire: Wire, key: str) -> None:
    queue = encoded(f"arn:aws:sqs:us-east-1:{wire.account}:{key}")
    found = wire.ok("GET", f"/2015-03-31/event-source-mappings?EventSourceArn={queue}")["EventSourceMappings"]
    wire.ok("DELETE", f"/2015-03-31/event-source-mappings/{found[0]['UUID']}")


def make_signing(wire: Wire, key: str) -> None:
    profile = f"arn:aws:signer:us-east-1:{wire.account}:/signing-profiles/p/abcdefghij"
    body = {"AllowedPublishers": {"SigningProfileVersionArns": [profile]}, "Description": key}
    wire.ok("POST", "/2020-04-22/code-signing-configs", body)


def remove_signing(wire: Wire, key: str) -> None:
    listed = wire.ok("GET", "/2020-04-22/code-signing-configs")["CodeSigningConfigs"]
    arn = next(one["CodeSigningConfigArn"] for one in listed if one["Description"] == key)
    wire.ok("DELETE", f"/2020-04-22/code-signing-configs/{encoded(arn)}")


def attach_signing(wire: Wire, key: str) -> None:
    listed = wire.ok("GET", "/2020-04-22/code-signing-configs")["CodeSigningConfigs"]
    arn = next(one["CodeSigningConfigArn"] for one in listed if one["Description"] == "shared")
    wire.ok("POST", FUNCTIONS, wire.creation(f"signed-{key}", CodeSigningConfigArn=arn))


def with_alias(path: str, body: Any, method: str = "PUT") -> Callable[[Wire, str], None]:
    """What adds a setting of an alias that is made for it."""

    def add(wire: Wire, key: str) -> None:
        name = f"{path.strip('/').split('/')[-1][:3]}-{key}"
        wire.alias(FN, name)
        wire.ok(method, f"{path}?Qualifier={name}", body)

    return add


def without_alias(path: str) -> Callable[[Wire, str], None]:
    def remove(wire: Wire, key: str) -> None:
        wire.ok("DELETE", f"{path}?Qualifier={path.strip('/').split('/')[-1][:3]}-{key}")

    return remove


def last_of_arn(shown: Any) -> str:
    return str(shown["FunctionArn"]).rpartition(":")[2].partition("-")[2]


EVENTS = f"/2019-09-25/functions/{FN}/event-invoke-config"
URL = f"/2021-10-31/functions/{FN}/url"
PROVISIONED = f"/2019-09-30/functions/{FN}/provisioned-concurrency"

LISTS: dict[str, Listing] = {
    "ListFunctions": Listing(
        FUNCTIONS,
        "Functions",
        lambda shown: shown["FunctionName"],
        lambda wire, key: wire.ok("POST", FUNCTIONS, wire.creation(key)),
        lambda wire, key: wire.ok("DELETE", f"{FUNCTIONS}/{key}"),
        10_000,
        50,
    ),
    "ListFunctions with ALL": Listing(
        f"{FUNCTIONS}?FunctionVersion=ALL",
        "Functions",
        lambda shown: shown["FunctionName"] + ("" if shown["Version"] == "$LATEST" else ":" + shown["Version"]),
        lambda wire, key: wire.ok("POST", FUNCTIONS, wire.creation(key, Publish=True)),
        lambda wire, key: wire.ok("DELETE", f"{FUNCTIONS}/{key}"),
        10_000,
        50,
    ),
    "ListVersionsByFunction": Listing(
        f"{FUNCTIONS}/{FN}/versions",
        "Versions",
        lambda shown: shown["Version"],
        make_version,
        lambda wire, key: wire.ok("DELETE", f"{FUNCTIONS}/{FN}?Qualifier={int(key[1:]) + 1}"),
        10_000,
        50,
        by_number=True,
    ),
    "ListAliases": Listing(
        f"{FUNCTIONS}/{FN}/aliases",
        "Aliases",
        lambda shown: shown["Name"],
        make_alias,
        lambda wire, key: wire.ok("DELETE", f"{FUNCTIONS}/{FN}/aliases/{key}"),
        10_000,
        50,
    ),
    "ListEventSourceMappings": Listing(
        "/2015-03-31/event-source-mappings",
        "EventSourceMappings",
        lambda shown: shown["EventSourceArn"].rpartition(":")[2],
        make_mapping,
        remove_mapping,
        10_000,
        100,
    ),
    "ListLayers": Listing(
        "/2018-10-31/layers",
        "Layers",
        lambda shown: shown["LayerName"],
        lambda wire, key: wire.ok("POST", f"/2018-10-31/layers/{key}/versions", {"Content": {"ZipFile": BASE64}}),
        lambda wire, key: wire.ok("DELETE", f"/2018-10-31/layers/{key}/versions/1"),
        50,
        50,
    ),
    "ListLayerVersions": Listing(
        "/2018-10-31/layers/paged/versions",
        "LayerVersions",
        lambda shown: str(shown["Version"]),
        make_layer_version,
        lambda wire, key: wire.ok("DELETE", f"/2018-10-31/layers/paged/versions/{int(key[1:]) + 1}"),
        50,
        50,
        by_number=True,
    ),
    "ListProvisionedConcurrencyConfigs": Listing(
        f"{PROVISIONED}?List=ALL",
        "ProvisionedConcurrencyConfigs",
        last_of_arn,
        with_alias(PROVISIONED, {"ProvisionedConcurrentExecutions": 1}),
        without_alias(PROVISIONED),
        50,
        50,
    ),
    "ListFunctionEventInvokeConfigs": Listing(
        f"{EVENTS}/list",
        "FunctionEventInvokeConfigs",
        last_of_arn,
        with_alias(EVENTS, {"MaximumRetryAttempts": 1}),
        without_alias(EVENTS),
        50,
        50,
    ),
    "ListFunctionUrlConfigs": Listing(
        f"{URL}s",
        "FunctionUrlConfigs",
        last_of_arn,
        with_alias(URL, {"AuthType": "NONE"}, "POST"),
        without_alias(URL),
        50,
        50,
    ),
    "ListCodeSigningConfigs": Listing(
        "/2020-04-22/code-signing-configs",
        "CodeSigningConfigs",
        lambda shown: shown["Description"],
        make_signing,
        remove_signing,
        10_000,
        50,
    ),
    "ListFunctionsByCodeSigningConfig": Listing(
        "/2020-04-22/code-signing-configs/{shared}/functions",
        "FunctionArns",
        lambda shown: shown.rpartition("signed-")[2],
        attach_signing,
        lambda wire, key: wire.ok("DELETE", f"{FUNCTIONS}/signed-{key}"),
        10_000,
        50,
    ),
}


@dataclass(frozen=True, slots=True)
class Filled:
    """A list of an account of its own, with the items `a0` to `a6` and whatever its function brings along."""

    wire: Wire
    listing: Listing
    path: str

    def names(self, **query: Any) -> list[list[str]]:
        found = pages(self.wire, self.path, self.listing.member, **query)
        return [[self.listing.name(item) for item in page] for page in found]


@pytest.fixture(scope="module", params=list(LISTS))
def listed(request: pytest.FixtureRequest, wire: Wire) -> Filled:
    listing = LISTS[request.param]
    mine = Wire(wire.url, f"{int(wire.account) + 1 + list(LISTS).index(request.param):012d}")
    path = listing.path
    if not request.param.startswith("ListFunctions") or FN in path:
        mine.ok("POST", FUNCTIONS, mine.creation(FN))
        if "versions" not in path:
            mine.publish(FN)
    if "{shared}" in path:
        make_signing(mine, "shared")
        arn = mine.ok("GET", "/2020-04-22/code-signing-configs")["CodeSigningConfigs"][0]["CodeSigningConfigArn"]
        path = path.replace("{shared}", encoded(arn))
    for number in range(COUNT):
        listing.add(mine, f"a{number}")
    return Filled(mine, listing, path)


def test_pages_of_every_size_are_the_list(listed: Filled) -> None:
    """The same items in the same order, whatever the size; no page is empty, none but the last is short."""
    whole = [item for page in listed.names() for item in page]
    assert len(whole) == len(set(whole)) >= COUNT
    for size in (1, 2, 3, COUNT, 49):
        found = listed.names(MaxItems=size)
        assert [item for page in found for item in page] == whole
        assert [len(page) for page in found[:-1]] == [size] * (len(found) - 1)
        assert found[-1], "a marker has something after it"


def test_what_stays_is_seen_once_whatever_is_written_meanwhile(listed: Filled) -> None:
    """Items that come and go while somebody turns the pages, also the one the marker stands at, shift nothing."""
    if listed.listing.by_number:
        kept, gone = {"3", "5", "7"}, iter(("a0", "a1", "a3", "a5"))
    else:
        kept, gone = {"a2", "a4", "a6"}, iter(("a0", "a1", "a3", "a5"))
    new = iter(range(100))
    seen: list[str] = []
    for page in pages(listed.wire, listed.path, listed.listing.member, MaxItems=1):
        seen += [listed.listing.name(item) for item in page]
        key = next(gone, None)
        if key is not None:
            listed.listing.remove(listed.wire, key)
            number = next(new)
            listed.listing.add(listed.wire, f"{'a' if number % 2 else 'z'}{number + 10}")
    assert len(seen) == len(set(seen))
    assert kept <= set(seen)
    leftover = {"1", "2", "4", "6"} if listed.listing.by_number else {"a0", "a1", "a3", "a5"}
    after = [item for page in listed.names() for item in page]
    assert not leftover & set(after), "lists are exact"


def test_the_range_of_max_items(listed: Filled) -> None:
    joint = "&" if "?" in listed.path else "?"
    most = listed.listing.most
    for value, constraint in ((0, at_least(1)), (most + 1, at_most(most)), (-1, at_least(1))):
        reply = listed.wire("GET", f"{listed.path}{joint}MaxItems={value}")
        refused(reply, VAL, one(f"'{value}'", "maxItems", constraint))
    assert listed.names(MaxItems=most) == listed.names()


def test_markers_of_others(listed: Filled) -> None:
    """A marker of another list, or none at all, is refused and not misread."""
    joint = "&" if "?" in listed.path else "?"
    other = LISTS["ListAliases" if listed.listing is not LISTS["ListAliases"] else "ListLayers"]
    if other is LISTS["ListAliases"]:
        if listed.wire("GET", f"{FUNCTIONS}/{FN}").status == 404:
            listed.wire.ok("POST", FUNCTIONS, listed.wire.creation(FN))
        for name in ("x", "y"):
            listed.wire.alias(FN, name, "$LATEST")
    else:
        for name in ("x", "y"):
            other.add(listed.wire, name)
    marker = listed.wire.ok("GET", f"{other.path}?MaxItems=1")["NextMarker"]
    for wrong in (marker, "nonsense", "e30="):
        reply = listed.wire("GET", f"{listed.path}{joint}Marker={encoded(wrong)}")
        assert (reply.status, reply.headers["x-amzn-errortype"]) == (400, IPV), reply.body


def many(listing: Listing) -> Iterator[str]:
    return (f"m{number:03}" for number in range(listing.cap + 2))


@pytest.mark.parametrize("name", ["ListFunctions", "ListAliases", "ListEventSourceMappings", "ListLayerVersions"])
def test_the_cap_of_a_page(wire: Wire, name: str) -> None:
    """Also the default, and what a larger MaxItems gives: 50, and 100 mappings."""
    listing = LISTS[name]
    mine = Wire(wire.url, f"{int(wire.account) + 50 + list(LISTS).index(name):012d}")
    if name != "ListFunctions":
        mine.ok("POST", FUNCTIONS, mine.creation(FN, Publish=True))
    for key in many(listing):
        listing.add(mine, key)
    found = Filled(mine, listing, listing.path)
    assert [len(page) for page in found.names()] == [listing.cap, 2]
    assert [len(page) for page in found.names(MaxItems=listing.most)] == [listing.cap, 2]


def test_the_orders(wire: Wire) -> None:
    """§21: $LATEST, 1, 2, 3…; layer versions newest first; per function $LATEST and then its versions."""
    mine = Wire(wire.url, f"{int(wire.account) + 90:012d}")
    for name in ("b", "a"):
        mine.ok("POST", FUNCTIONS, mine.creation(name, Publish=True))
    shown = mine.ok("GET", f"{FUNCTIONS}?FunctionVersion=ALL")["Functions"]
    arns = [mine.arn(name, version) for name in ("a", "b") for version in ("$LATEST", "1")]
    assert [one["FunctionArn"] for one in shown] == arns
    assert [one["FunctionArn"] for one in mine.ok("GET", FUNCTIONS)["Functions"]] == [mine.arn("a"), mine.arn("b")]


def test_what_is_not_paged(wire: Wire) -> None:
    """§21: unknown layers and functions of mappings have empty lists, all else under a function is 404."""
    assert wire.ok("GET", "/2018-10-31/layers/no/versions") == {"LayerVersions": []}
    for path in ("versions", "aliases"):
        assert wire("GET", f"{FUNCTIONS}/no/{path}").status == 404
    for path in (EVENTS + "/list", URL + "s", PROVISIONED + "?List=ALL"):
        assert wire("GET", path.replace(FN, "no")).status == 404
