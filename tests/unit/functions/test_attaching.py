"""Which layer versions a function may be given, word for word, and what it keeps of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from tests.unit.functions.house import House, code, ref, wanted

from lambent.domain.errors import AccessDenied, InvalidParameterValue, LambentError
from lambent.domain.limits import LAYERS_PER_FUNCTION_MAX, UNZIPPED_BYTES_MAX
from lambent.domain.names import FunctionRef, Scope
from lambent.functions.account import AccountLimits
from lambent.functions.attaching import check_unzipped
from lambent.functions.codec import decode_version, encode_version
from lambent.functions.model import Code, Configuration, Function, LayerReference, Logging
from lambent.functions.rules import check_request, new_configuration, updated
from lambent.functions.wanted import Wanted
from lambent.packages.merge import tree_name

SCOPE, THEIRS = Scope("123456789012", "us-east-1"), Scope("999999999999", "us-east-1")
CALLER = "arn:aws:iam::123456789012:root"
OURS = "arn:aws:lambda:us-east-1:123456789012:layer"
ELSEWHERE = "arn:aws:lambda:us-east-1:999999999999:layer"
NOT_SHARED = (
    "User: {caller} is not authorized to perform: lambda:GetLayerVersion on resource: {arn} because no "
    "resource-based policy allows the lambda:GetLayerVersion action"
)


@dataclass(frozen=True)
class Stored:
    digest: str
    size_bytes: int
    unpacked_bytes: int
    signing_profile_arn: str | None = None
    signing_job_arn: str | None = None


class Index:
    """Versions 1 and 2 of layers one to nine, of two accounts; the other one shares what begins with `shared`."""

    def find(self, scope: Scope, name: str, number: int) -> Stored | None:
        if number not in (1, 2) or name == "nowhere" or scope not in (SCOPE, THEIRS):
            return None
        return Stored(f"{scope.account}-{name}-{number}", 100 + number, 1_000)

    def is_shared(self, scope: Scope, name: str, number: int, account: str) -> bool:
        return account == SCOPE.account and name.startswith("shared") and self.find(scope, name, number) is not None


def attach(*arns: str) -> tuple[LayerReference, ...] | None:
    return check_request(Wanted(layers=arns), SCOPE, CALLER, Index()).attached


def test_layers_are_kept_in_their_order_with_what_it_takes_to_mount_them() -> None:
    assert attach(f"{OURS}:b:2", f"{OURS}:a:1", f"{ELSEWHERE}:shared:1") == (
        LayerReference(f"{OURS}:b:2", 102, "123456789012-b-2", 1_000),
        LayerReference(f"{OURS}:a:1", 101, "123456789012-a-1", 1_000),
        LayerReference(f"{ELSEWHERE}:shared:1", 101, "999999999999-shared-1", 1_000),
    )
    assert attach() == ()
    assert check_request(Wanted(), SCOPE, CALLER, Index()).attached is None


@pytest.mark.parametrize(
    ("arns", "kind", "message"),
    [
        (
            (f"{OURS}:a:1", f"{OURS.replace('us-east-1', 'eu-west-1')}:nowhere:1"),
            InvalidParameterValue,
            "Layers are not in the same region as the function. Layers are expected to be in region us-east-1.",
        ),
        (
            (f"{ELSEWHERE.replace('us-east-1', 'eu-west-1')}:a:1",),
            InvalidParameterValue,
            "Layers are not in the same region as the function. Layers are expected to be in region us-east-1.",
        ),
        ((f"{OURS}:nowhere:1",), InvalidParameterValue, f"Layer version {OURS}:nowhere:1 does not exist."),
        ((f"{OURS}:a:3",), InvalidParameterValue, f"Layer version {OURS}:a:3 does not exist."),
        ((f"{OURS}:a:0",), InvalidParameterValue, f"Layer version {OURS}:a:0 does not exist."),
        ((f"{OURS}:a:01",), InvalidParameterValue, f"Layer version {OURS}:a:01 does not exist."),
        (
            (OURS.replace(":aws:", ":aws-cn:") + ":a:1",),
            InvalidParameterValue,
            f"Layer version {OURS.replace(':aws:', ':aws-cn:')}:a:1 does not exist.",
        ),
        (
            ("arn:aws:lambda:::awslayer:AmazonLinux1803",),
            InvalidParameterValue,
            "Layer version arn:aws:lambda:::awslayer:AmazonLinux1803 does not exist.",
        ),
        (
            (f"{OURS}:a:1", f"{OURS}:b:1", f"{OURS}:a:2", f"{OURS}:b:2"),
            InvalidParameterValue,
            "Two different versions of the same layer are not allowed to be referenced in the same function. "
            f"{OURS}:a:1 and {OURS}:a:2 are versions of the same layer.",
        ),
        (
            (f"{OURS}:a:1", f"{OURS}:a:1"),
            InvalidParameterValue,
            "Two different versions of the same layer are not allowed to be referenced in the same function. "
            f"{OURS}:a:1 and {OURS}:a:1 are versions of the same layer.",
        ),
        # In list order: what is missing first speaks first.
        ((f"{OURS}:a:1", f"{OURS}:a:3"), InvalidParameterValue, f"Layer version {OURS}:a:3 does not exist."),
        ((f"{ELSEWHERE}:a:1",), AccessDenied, NOT_SHARED.format(caller=CALLER, arn=f"{ELSEWHERE}:a:1")),
        ((f"{ELSEWHERE}:shared:3",), AccessDenied, NOT_SHARED.format(caller=CALLER, arn=f"{ELSEWHERE}:shared:3")),
        ((f"{ELSEWHERE}:shared:01",), AccessDenied, NOT_SHARED.format(caller=CALLER, arn=f"{ELSEWHERE}:shared:01")),
        (
            tuple(f"{OURS}:l{number}:1" for number in range(LAYERS_PER_FUNCTION_MAX + 1)),
            InvalidParameterValue,
            "Cannot reference more than 5 layers.",
        ),
    ],
)
def test_refused_layers(arns: tuple[str, ...], kind: type[LambentError], message: str) -> None:
    with pytest.raises(LambentError) as refused:
        attach(*arns)
    assert (type(refused.value), refused.value.message) == (kind, message)


def test_layers_come_after_the_environment_and_before_the_runtime() -> None:
    with pytest.raises(InvalidParameterValue, match="reserved keys"):
        check_request(Wanted(layers=(f"{OURS}:a:3",), environment={"AWS_REGION": "x"}), SCOPE, CALLER, Index())
    with pytest.raises(InvalidParameterValue, match="does not exist"):
        check_request(Wanted(layers=(f"{OURS}:a:3",), runtime="python1.0"), SCOPE, CALLER, Index())


def test_an_update_replaces_the_list_and_an_empty_one_removes_it() -> None:
    one, two = LayerReference("one", 1, "1" * 64), LayerReference("two", 2, "2" * 64)
    stored = new_configuration(ref(), wanted(attached=(one,)))
    assert stored.layers == (one,)
    assert updated(stored, Wanted(attached=(two, one))).layers == (two, one)
    assert updated(stored, Wanted(memory_mb=256)).layers == (one,)
    assert updated(stored, Wanted(layers=(), attached=())).layers == ()


def test_the_tree_at_opt_follows_the_layers_in_their_order() -> None:
    one, two = LayerReference("one", 1, "1" * 64), LayerReference("two", 2, "2" * 64)
    stored = new_configuration(ref(), wanted())
    assert stored.opt is None
    assert updated(stored, Wanted(attached=(one,))).opt == "1" * 64
    assert updated(stored, Wanted(attached=(two, one))).opt == tree_name(["2" * 64, "1" * 64])


def test_what_an_earlier_release_stored_is_read() -> None:
    layer = LayerReference("arn", 7)
    configuration = Configuration("r", "python3.13", "a.b", Logging("Text", None, None, "g"), layers=(layer,))
    document = b'{"configuration":{"role":"r","runtime":"python3.13","handler":"a.b","logging":{"format":"Text",'
    document += b'"application_level":null,"system_level":null,"group":"g"},"layers":[{"arn":"arn","size_bytes":7}]},'
    document += b'"code":{"digest":"d","sha256_base64":"s","size_bytes":1},"revision_id":"r","state":"Active",'
    document += b'"state_reason":null,"state_reason_code":null,"generation":1,"last_modified_ms":1}'
    version = decode_version(ref(), "1", document)
    assert version.configuration == configuration
    assert decode_version(ref(), "1", encode_version(version)) == version


def sized(*unpacked: int) -> Configuration:
    layers = tuple(LayerReference(f"l{n}", 1, f"{n}" * 64, size) for n, size in enumerate(unpacked))
    return new_configuration(ref(), wanted(attached=layers))


def test_code_and_layers_have_250_mb_together() -> None:
    half = UNZIPPED_BYTES_MAX // 2
    check_unzipped(sized(half), Code("d", "s", 1, half))
    check_unzipped(sized(), Code("d", "s", 1, UNZIPPED_BYTES_MAX))
    with pytest.raises(InvalidParameterValue) as refused:
        check_unzipped(sized(half, 1), Code("d", "s", 1, half))
    assert refused.value.message == (
        "Function code combined with layers exceeds the maximum allowed size of 262144000 bytes. "
        "The actual size is 262144001 bytes."
    )


LARGE = LayerReference(f"{OURS}:large:1", 50, "1" * 64, UNZIPPED_BYTES_MAX - 300)
SMALL = LayerReference(f"{OURS}:small:1", 5, "2" * 64, 1)


def test_every_way_to_too_much_is_refused_and_changes_nothing(house: House) -> None:
    functions = house.functions

    async def scenario() -> Function:
        with pytest.raises(InvalidParameterValue, match="actual size is 262144001 bytes"):
            await functions.create(ref("other"), wanted(attached=(LARGE, SMALL)), code())
        assert not functions.exists(ref("other"))
        await functions.create(ref(), wanted(attached=(LARGE,)), code())
        await functions.close()
        before = functions.get(ref())
        with pytest.raises(InvalidParameterValue, match="actual size is 262144003 bytes"):
            await functions.update_code(ref(), code("b", 101))
        with pytest.raises(InvalidParameterValue, match="actual size is 262144003 bytes"):
            await functions.update_code(ref(), code("b", 101), dry_run=True)
        with pytest.raises(InvalidParameterValue, match="actual size is 262144001 bytes"):
            await functions.update_configuration(ref(), Wanted(attached=(LARGE, SMALL)))
        assert functions.get(ref()) is before
        await functions.update_configuration(ref(), Wanted(memory_mb=256))
        return functions.get(ref())

    assert house.run(scenario()).latest.configuration.layers == (LARGE,)


def test_trees_are_ready_before_a_version_names_them(house: House) -> None:
    merged: list[tuple[list[str], bool, Configuration | None]] = []

    async def merge(digests: Sequence[str]) -> None:
        await asyncio.sleep(0)
        there = functions.exists(ref())
        merged.append((list(digests), there, functions.get(ref()).latest.configuration if there else None))

    functions = house.open(merge_layers=merge)

    async def scenario() -> None:
        one = LayerReference(f"{OURS}:one:1", 50, "1" * 64)
        await functions.create(ref(), wanted(attached=(one, SMALL)), code())
        assert merged == [(["1" * 64, "2" * 64], False, None)]
        before = functions.get(ref()).latest.configuration
        await functions.update_configuration(ref(), Wanted(attached=(SMALL, one)))
        assert merged[1:] == [(["2" * 64, "1" * 64], True, before)]
        await functions.update_configuration(ref(), Wanted(memory_mb=256))
        await functions.update_configuration(ref(), Wanted(attached=()))
        assert len(merged) == 2

    house.run(scenario())


def test_packages_of_layers_and_their_trees_are_kept_while_a_version_has_them(house: House) -> None:
    functions = house.functions
    one = LayerReference(f"{OURS}:one:1", 50, "1" * 64)
    tree = tree_name(["1" * 64, "2" * 64])

    async def scenario() -> None:
        await functions.create(ref(), wanted(attached=(one, SMALL)), code("c"), publish=True)
        await functions.update_configuration(ref(), Wanted(attached=()))
        await functions.close()
        assert functions.digests() == {"c".ljust(64, "0"), "1" * 64, "2" * 64, tree}
        await functions.delete(ref(), "1")
        assert functions.digests() == {"c".ljust(64, "0")}

    house.run(scenario())


def test_code_storage_is_shared_with_layers(house: House) -> None:
    layers = {"bytes": 500}
    limits = AccountLimits(code_storage_bytes=1_000)
    functions = house.open(limits=limits, other_code_bytes=lambda scope: layers["bytes"] if scope == SCOPE else 0)

    async def scenario() -> None:
        with pytest.raises(LambentError, match=r"^Code storage limit exceeded\.$"):
            await functions.create(ref(), wanted(), code("a", 501))
        await functions.create(ref(), wanted(), code("a", 500))
        assert functions.code_bytes(SCOPE) == 1_000
        with pytest.raises(LambentError, match=r"^Code storage limit exceeded\.$"):
            functions.check_room(SCOPE, 1)
        functions.check_room(THEIRS, 1_000)
        layers["bytes"] = 499
        functions.check_room(SCOPE, 1)
        await functions.create(FunctionRef("999999999999", "us-east-1", "fn"), wanted(), code("a", 1_000))

    house.run(scenario())
