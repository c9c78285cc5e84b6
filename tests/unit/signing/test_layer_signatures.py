"""Signatures of layers: read at publication, and judged anew whenever a function with a configuration is given one."""

from __future__ import annotations

import base64
import logging
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.functions.house import House
from tests.unit.functions.test_function_operations import FUNCTIONS
from tests.unit.signing.signing_world import (
    JOB,
    NOW_MS,
    OTHER_PROFILE,
    PROFILE,
    Signer,
    edited,
    packed,
    public_pem,
    signature,
    with_signature,
)
from tests.unit.signing.test_signature_attacks import MEDDLING, POLICIES, TEXT
from tests.unit.signing.test_signing_operations import Bucket, Signing

from lambent.api.resources import layers as layers_resource
from lambent.domain.names import FunctionRef, Scope
from lambent.functions.model import LayerReference
from lambent.layers.service import Content, Layers, WantedVersion
from lambent.packages.archive import LAYERS_ROOT
from lambent.stores.documents_memory import MemoryDocuments

SCOPE = Scope("123456789012", "us-east-1")
REF = FunctionRef("123456789012", "us-east-1", "fn")
LAYERS = "/2018-10-31/layers"
LAYER = "arn:aws:lambda:us-east-1:123456789012:layer:{}:1"
ARN = LAYER.format("tools")
SIGNED = {"SigningProfileVersionArn": PROFILE, "SigningJobArn": JOB}
FILES = {"python/tools.py": b"x = 1"}
UNTRUSTED, BROKEN = "CodeVerificationFailedException", "InvalidCodeSignatureException"
COUNT = ("fn", "SignatureValidationErrors", 1)


def encoded(archive: bytes) -> dict[str, str]:
    return {"ZipFile": base64.b64encode(archive).decode()}


class Layered(Signing):
    """A client that knows layers, too; `code` is signed by the owner."""

    def __init__(self, house: House, directory: Path, signer: Signer) -> None:
        self.layers = Layers(MemoryDocuments(), house.clock, lambda scope, n: house.functions.check_room(scope, n))
        super().__init__(house, directory, self.layers)
        layers_resource.register(self.door, self.layers, self.packages, self.s3, self.locations, self.signatures)
        self.signer = signer
        self.code = encoded(signer.sign(packed({"app.py": b"code"})))

    async def publish(self, archive: bytes, name: str = "tools", status: int = 201) -> Any:
        return await self("POST", f"{LAYERS}/{name}/versions", {"Content": encoded(archive)}, status)

    async def put_unseen(self, archive: bytes, name: str = "tools") -> None:
        """A version as it was published before anybody looked at signatures."""
        package = await self.packages.put(archive, root=LAYERS_ROOT)

        async def source() -> Content:
            return Content(package)

        await self.layers.publish(SCOPE, name, WantedVersion(), source)

    async def give(self, *arns: str, status: int = 200) -> Any:
        return await self.update("configuration", status=status, Layers=list(arns))

    async def detach(self) -> None:
        await self.house.functions.close()
        await self.give()
        await self.house.functions.close()


Run = Callable[[Callable[[Layered], Awaitable[None]]], None]


@pytest.fixture
def run(house: House, tmp_path: Path, signer: Signer) -> Run:
    """The owner's key is trusted for PROFILE, the neighbour's for OTHER_PROFILE."""
    signer.trust(public_pem("owner"))
    signer.trust(public_pem("neighbour"), OTHER_PROFILE)

    def session(scenario: Callable[[Layered], Awaitable[None]]) -> None:
        async def both() -> None:
            client = Layered(house, tmp_path, signer)
            await scenario(client)
            await client.configs.close()
            await client.layers.close()

        house.run(both())

    return session


# Publication.


def test_a_signed_layer_names_its_signer_wherever_its_content_is_shown(run: Run, signer: Signer) -> None:
    async def scenario(client: Layered) -> None:
        published = await client.publish(signer.sign(packed(FILES)))
        assert published["Content"].items() >= SIGNED.items()
        for path in (f"{LAYERS}/tools/versions/1", f"{LAYERS}?find=LayerVersion&Arn={ARN}"):
            assert (await client("GET", path))["Content"].items() >= SIGNED.items()
        for path in (f"{LAYERS}/tools/versions", LAYERS):
            assert "Signing" not in str(await client("GET", path))  # lists have no content
        client.s3.fetched = Bucket(client.signer.home, signer.sign(packed(FILES))).fetched  # type: ignore[method-assign]
        document = {"Content": {"S3Bucket": "bucket", "S3Key": "k"}}
        again = await client("POST", f"{LAYERS}/tools/versions", document, 201)
        assert again["Content"].items() >= SIGNED.items()
        assert not client.counted  # no function is concerned

    run(scenario)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("unsigned", None),
        ("stranger's", "names no signer, mismatch:"),
        ("expired", "names no signer, expiry: its signature has expired"),
        ("revoked", f"names no signer, revocation: {JOB} is revoked"),
    ],
)
def test_what_nobody_vouches_for_is_published_and_names_no_signer(
    run: Run, signer: Signer, kind: str, reason: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether that is enough is decided by who attaches it."""
    caplog.set_level(logging.INFO, "lambent.signing")

    async def scenario(client: Layered) -> None:
        archive = sample(signer, kind)
        after_publication(client, kind)
        published = await client.publish(archive)
        assert set(published["Content"]) == {"Location", "CodeSha256", "CodeSize"}
        assert [reason in one for one in caplog.messages if reason] == ([True] if reason else [])
        assert not caplog.messages or caplog.messages[0].startswith(f"a version of {ARN.removesuffix(':1')} ")

    run(scenario)


@pytest.mark.parametrize("attack", [*MEDDLING, "another's signature", "damaged signature"])
def test_a_broken_layer_is_not_published_and_leaves_nothing(run: Run, signer: Signer, attack: str) -> None:
    """Configurations have no say in it; the second time is no luckier."""
    archive = broken(signer, attack)

    async def scenario(client: Layered) -> None:
        for _ in range(2):
            refused = await client.publish(archive, status=400)
            assert refused == (BROKEN, TEXT.replace("for fn.", "for tools."))
        assert client.stored() == []
        assert (await client("GET", f"{LAYERS}/tools/versions")) == {"LayerVersions": []}
        assert (await client.publish(packed(FILES)))["Version"] == 1

    run(scenario)


def test_a_broken_layer_whose_package_is_stored_already_is_refused_all_the_same(run: Run, signer: Signer) -> None:
    async def scenario(client: Layered) -> None:
        archive = broken(signer, "content changed")
        await client.put_unseen(archive)
        assert (await client.publish(archive, status=400))[0] == BROKEN

    run(scenario)


# Attachment.


def broken(signer: Signer, attack: str) -> bytes:
    signed = signer.sign(packed())
    if attack == "another's signature":
        return with_signature(signed, signature(signer.sign(packed(FILES))))
    if attack == "damaged signature":
        return with_signature(signed, signature(signed)[:-40])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile tells of a name that stands there twice
        return edited(signed, MEDDLING[attack])


def sample(signer: Signer, kind: str) -> bytes:
    """An archive of a layer, good or bad."""
    made: dict[str, Callable[[], bytes]] = {
        "unsigned": lambda: packed(FILES),
        "stranger's": lambda: signer.sign(packed(FILES), by="stranger"),
        "another publisher's": lambda: signer.sign(packed(FILES), by="neighbour", profile=OTHER_PROFILE),
        "expired": lambda: signer.sign(packed(FILES), expires_ms=1),
        "expired since": lambda: signer.sign(packed(FILES), expires_ms=NOW_MS + 1_000),
        "content changed": lambda: broken(signer, "content changed"),
        "another's signature": lambda: broken(signer, "another's signature"),
    }
    return made.get(kind, lambda: signer.sign(packed(FILES)))()


def after_publication(client: Layered, kind: str) -> None:
    """What happens to a layer that was right when it was published."""
    trust_dir = client.signer.trust_dir
    if kind == "expired since":
        client.house.clock.advance(1)
    elif kind == "revoked":
        (trust_dir / "revoked.txt").write_text(JOB)
    elif kind == "trusted no more":
        client.signer.trust(public_pem("stranger"))


FAULTS = {
    "unsigned": (UNTRUSTED, "unsigned: there is no META_INF/"),
    "stranger's": (UNTRUSTED, "mismatch: "),
    "another publisher's": (UNTRUSTED, f"mismatch: {OTHER_PROFILE} is not among the allowed publishers"),
    "expired": (UNTRUSTED, "expiry: its signature has expired"),
    "expired since": (UNTRUSTED, "expiry: its signature has expired"),
    "revoked": (UNTRUSTED, f"revocation: {JOB} is revoked"),
    "trusted no more": (UNTRUSTED, "mismatch: "),
    "content changed": (BROKEN, "integrity: its content is not what was signed"),
    "another's signature": (BROKEN, "integrity: its content is not what was signed"),
}
"""What is wrong with a layer, how it is refused, and how the log begins."""


def good_code(client: Layered, kind: str) -> bytes:
    """Code that is right whatever happened to the layer: another job's, and another key's where the owner's is out."""
    by = "stranger" if kind == "trusted no more" else "owner"
    return client.signer.sign(packed({"app.py": b"good"}), job=f"{JOB}2", by=by)


async def creating(client: Layered, config: str, kind: str, status: int) -> Any:
    after_publication(client, kind)
    stored = client.stored()
    code = encoded(good_code(client, kind))
    answer = await client.create(CodeSigningConfigArn=config, Layers=[ARN], Code=code, status=status or 201)
    if status:
        assert (await client("GET", f"{FUNCTIONS}/fn", status=404))[0] == "ResourceNotFoundException"
        assert client.stored() == stored
    return answer


async def attaching(client: Layered, config: str, kind: str, status: int) -> Any:
    """Together with another change: it is all or nothing."""
    await client.create(CodeSigningConfigArn=config, Code=client.code)
    after_publication(client, kind)
    record, stored = await client.record(), client.stored()
    answer = await client.update("configuration", status=status or 200, Layers=[ARN], Timeout=9)
    if status:
        assert (await client.record(), client.stored()) == (record, stored)
    return answer


async def deploying(client: Layered, config: str, kind: str, status: int) -> Any:
    """The layer was attached before the function had a configuration."""
    await client.create(Code=client.code, Layers=[ARN])
    await client.put(config)
    after_publication(client, kind)
    record, stored = await client.record(), client.stored()
    answer = await client.deploy(good_code(client, kind), status or 200, Publish=True)
    if status:
        assert (await client.record(), client.stored()) == (record, stored)
        assert len((await client("GET", f"{FUNCTIONS}/fn/versions"))["Versions"]) == 1
        assert await client.deploy(good_code(client, kind), status, DryRun=True) == answer
        assert client.counted.pop() == COUNT
    return answer


@pytest.mark.parametrize("operation", [creating, attaching, deploying], ids=lambda one: one.__name__)
@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("policy", POLICIES)
def test_a_layer_that_is_not_right(
    run: Run, signer: Signer, policy: str, kind: str, operation: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused it changes nothing; under Warn all but a broken one is deployed, logged and counted."""
    code, reason = FAULTS[kind]
    is_refused = policy == "Enforce" or code == BROKEN

    async def scenario(client: Layered) -> None:
        await client.put_unseen(sample(signer, kind))
        answer = await operation(client, await client.config(policy), kind, 400 if is_refused else 0)
        if is_refused:
            assert answer == (code, TEXT)
        else:
            assert [one["Arn"] for one in answer["Layers"]] == [ARN]
        assert client.counted == [COUNT]
        done = "was refused" if is_refused else "was deployed"
        function = "arn:aws:lambda:us-east-1:123456789012:function:fn"
        assert caplog.messages[-1].startswith(f"layer {ARN} for {function} {done}, {reason}")

    run(scenario)


@pytest.mark.parametrize("policy", [*POLICIES, None])
def test_signed_layers_are_attached_and_name_their_signer(run: Run, signer: Signer, policy: str | None) -> None:
    async def scenario(client: Layered) -> None:
        signing = {} if policy is None else {"CodeSigningConfigArn": await client.config(policy)}
        size = (await client.publish(signer.sign(packed(FILES))))["Content"]["CodeSize"]
        shown = [{"Arn": ARN, "CodeSize": size, **SIGNED}]
        created = await client.create(**signing, Code=client.code, Layers=[ARN])
        assert created["Layers"] == shown
        assert (await client.record())["Layers"] == shown
        assert (await client("GET", FUNCTIONS))["Functions"][0]["Layers"] == shown
        await client.detach()
        assert (await client.give(ARN))["Layers"] == shown
        await client.house.functions.close()
        assert (await client.deploy(signer.sign(packed({"app.py": b"new"}))))["Layers"] == shown
        # Its deletion takes nothing away: what is judged is the archive that the function keeps.
        await client.house.functions.close()
        await client("DELETE", f"{LAYERS}/tools/versions/1", status=204)
        assert (await client.deploy(signer.sign(packed({"app.py": b"newer"}))))["Layers"] == shown
        assert not client.counted

    run(scenario)


def test_an_unsigned_layer_shows_no_signer_and_without_a_configuration_nobody_asks(run: Run) -> None:
    async def scenario(client: Layered) -> None:
        size = (await client.publish(packed(FILES)))["Content"]["CodeSize"]
        created = await client.create(Layers=[ARN])
        assert created["Layers"] == [{"Arn": ARN, "CodeSize": size}]
        await client.house.functions.close()
        await client.deploy(packed({"app.py": b"new"}))
        assert not client.counted

    run(scenario)


def test_what_touches_neither_code_nor_layers_looks_at_no_signature(run: Run) -> None:
    async def scenario(client: Layered) -> None:
        await client.publish(packed(FILES))
        await client.create(Code=client.code, Layers=[ARN])
        await client.put(await client.config("Enforce"))
        await client.house.functions.close()
        assert (await client.update("configuration", Timeout=9))["Layers"]
        await client.house.functions.close()
        await client("POST", f"{FUNCTIONS}/fn/versions", {}, 201)
        await client.house.functions.close()
        assert "Layers" not in await client.give()  # taking them away is nobody's risk
        await client.house.functions.close()
        assert await client.give(ARN, status=400) == (UNTRUSTED, TEXT)

    run(scenario)


def test_under_warn_every_package_that_is_not_right_is_counted(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(client: Layered) -> None:
        arn = await client.config("Warn")
        for name in ("one", "two"):
            await client.publish(packed({"python/a.py": name.encode()}), name)
        await client.create(CodeSigningConfigArn=arn, Layers=[LAYER.format("one"), LAYER.format("two")])
        assert client.counted == [COUNT] * 3
        assert [one.partition(" for ")[0] for one in caplog.messages] == [
            "code",
            f"layer {LAYER.format('one')}",
            f"layer {LAYER.format('two')}",
        ]

    run(scenario)


def test_cheaper_refusals_come_before_signatures(run: Run) -> None:
    async def scenario(client: Layered) -> None:
        await client.publish(packed(FILES))
        await client.create(CodeSigningConfigArn=await client.config("Enforce"), Code=client.code)
        await client.house.functions.close()
        missing = LAYER.format("nowhere")
        assert (await client.give(ARN, missing, status=400))[1] == f"Layer version {missing} does not exist."
        refused = await client.update("configuration", status=412, Layers=[ARN], RevisionId="another")
        assert refused[0] == "PreconditionFailedException"
        assert not client.counted

    run(scenario)


def test_layers_checked_while_the_function_gets_another_configuration_are_not_attached(run: Run) -> None:
    """Nobody asked without a configuration: that does not slip under the one that comes meanwhile."""

    async def scenario(client: Layered) -> None:
        arn = await client.config("Enforce")
        await client.publish(packed(FILES))
        await client.create()
        record = await client.record()

        async def prepare(digests: Any) -> None:
            await client.put(arn)

        client.house.functions._merge_layers = prepare
        code, text = await client.give(ARN, status=409)
        assert code == "ResourceConflictException"
        assert "send the request again" in text
        assert await client.record() == record

    run(scenario)


def test_code_checked_with_layers_that_are_replaced_meanwhile_is_not_deployed(run: Run, signer: Signer) -> None:
    async def scenario(client: Layered) -> None:
        for name in ("one", "two"):
            await client.publish(signer.sign(packed({"python/a.py": name.encode()})), name)
        await client.create(CodeSigningConfigArn=await client.config("Enforce"), Code=client.code)
        await client.house.functions.close()
        await client.give(LAYER.format("one"))
        await client.house.functions.close()
        put = client.packages.put

        async def slow(*arguments: Any, **more: Any) -> Any:
            package = await put(*arguments, **more)
            await client.give(LAYER.format("two"))
            return package

        client.packages.put = slow  # type: ignore[method-assign]
        code, text = await client.deploy(signer.sign(packed({"app.py": b"new"})), 409)
        assert code == "ResourceConflictException"
        assert "layers were replaced while signatures were checked; send the request again" in text
        assert [one["Arn"] for one in (await client.record())["Layers"]] == [LAYER.format("two")]

    run(scenario)


@pytest.mark.parametrize("digest", ["", "0" * 64])
def test_a_layer_whose_archive_is_not_kept_cannot_be_vouched_for(run: Run, signer: Signer, digest: str) -> None:
    """Attached by an early release, or gone from the disk: Enforce says what to do about it."""

    async def scenario(client: Layered) -> None:
        await client.create(CodeSigningConfigArn=await client.config("Enforce"), Code=client.code)
        await client.house.functions.close()

        def age(function: Any) -> Any:
            configuration = replace(function.latest.configuration, layers=(LayerReference(ARN, 1, digest),))
            return replace(function, latest=replace(function.latest, configuration=configuration))

        await client.house.functions.change(REF, age)
        code, text = await client.deploy(signer.sign(packed({"app.py": b"new"})), 400)
        assert code == UNTRUSTED
        assert text == (
            f"{TEXT} It could not be checked: the archive of {ARN} is not kept; publish the layer again and attach its "
            "new version."
        )

    run(scenario)
