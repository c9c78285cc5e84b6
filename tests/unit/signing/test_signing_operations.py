"""Code signing on the wire: every row of the operations' behaviour, and deployments through the public door."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.unit.api.doubles import SCOPE, send
from tests.unit.functions.house import House
from tests.unit.functions.test_function_operations import ARN, FUNCTIONS, ZIP, Client
from tests.unit.signing.signing_world import JOB, OTHER_PROFILE, PROFILE, Signer, edited, packed, public_pem
from tests.unit.signing.test_signature_attacks import MEDDLING, TEXT

CONFIGS = "/2020-04-22/code-signing-configs"
ATTACHED = "/2020-06-30/functions/{}/code-signing-config"
UNKNOWN = "arn:aws:lambda:us-east-1:123456789012:code-signing-config:csc-0123456789abcdefg"
GONE = f"The Lambda code signing configuration {UNKNOWN} can not be found."
NOT_FOUND = (
    f"The code signing configuration cannot be found. Check that the provided configuration is not deleted: {UNKNOWN}."
)
NO_FUNCTION = ("ResourceNotFoundException", f"Function not found: {ARN}")


class Signing(Client):
    """A client that knows the paths of code signing."""

    async def config(self, policy: str | None = None, *publishers: str, **members: Any) -> str:
        document = {"AllowedPublishers": {"SigningProfileVersionArns": publishers or [PROFILE]}, **members}
        if policy is not None:
            document["CodeSigningPolicies"] = {"UntrustedArtifactOnDeployment": policy}
        answer = await self("POST", CONFIGS, document, 201)
        arn: str = answer["CodeSigningConfig"]["CodeSigningConfigArn"]
        return arn

    async def put(self, arn: str, name: str = "fn", status: int = 200) -> Any:
        return await self("PUT", ATTACHED.format(name), {"CodeSigningConfigArn": arn}, status)

    async def attached(self, name: str = "fn", status: int = 200) -> Any:
        return await self("GET", ATTACHED.format(name), status=status)

    async def one(self, method: str, arn: str, status: int = 200, document: Any = None, below: str = "") -> Any:
        return await self(method, f"{CONFIGS}/{quote(arn, safe='')}{below}", document, status)

    async def deploy(self, archive: bytes, status: int = 200, **members: Any) -> Any:
        return await self.update("code", status=status, ZipFile=base64.b64encode(archive).decode(), **members)

    async def record(self) -> Any:
        """All that is known of the function."""
        await self.house.functions.close()
        return await self("GET", f"{FUNCTIONS}/fn/configuration")

    def stored(self) -> list[str]:
        return sorted(path.name for path in self.packages.directory.iterdir())


Run = Callable[[Callable[[Signing], Awaitable[None]]], None]


@pytest.fixture
def run(house: House, tmp_path: Path, signer: Signer) -> Run:
    """The owner's key is trusted for PROFILE."""
    signer.trust(public_pem("owner"))

    def session(scenario: Callable[[Signing], Awaitable[None]]) -> None:
        async def both() -> None:
            client = Signing(house, tmp_path)
            await scenario(client)
            await client.configs.close()

        house.run(both())

    return session


def test_a_configuration_is_created_shown_updated_and_deleted(run: Run) -> None:
    async def scenario(client: Signing) -> None:
        created = await client(
            "POST", CONFIGS, {"AllowedPublishers": {"SigningProfileVersionArns": [PROFILE]}, "Tags": {"a": "b"}}, 201
        )
        shown = created["CodeSigningConfig"]
        arn = shown["CodeSigningConfigArn"]
        id = arn.rpartition(":")[2]
        assert len(id) == 21
        assert arn == f"arn:aws:lambda:us-east-1:123456789012:code-signing-config:{id}"
        assert shown == {
            "CodeSigningConfigId": id,
            "CodeSigningConfigArn": arn,
            "Description": "",
            "AllowedPublishers": {"SigningProfileVersionArns": [PROFILE]},
            "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Warn"},
            "LastModified": "2025-11-25T19:46:40.000+0000",
        }
        assert await client.one("GET", arn) == created
        client.house.clock.advance(1)
        assert await client.one("PUT", arn, document={}) == created  # nothing to change
        changes = {
            "Description": "d",
            "AllowedPublishers": {"SigningProfileVersionArns": [OTHER_PROFILE, PROFILE]},
            "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Enforce"},
        }
        updated = await client.one("PUT", arn, document=changes)
        later = {"LastModified": "2025-11-25T19:46:41.000+0000"}
        assert updated == {"CodeSigningConfig": {**shown, **changes, **later}}
        assert await client.one("GET", arn) == updated
        assert await client.one("PUT", arn, document={"Description": ""}) == {
            "CodeSigningConfig": {**shown, **changes, **later, "Description": ""}
        }
        assert await client.one("DELETE", arn, 204) is None
        assert (await client.one("GET", arn, 404))[0] == "ResourceNotFoundException"

    run(scenario)


@pytest.mark.parametrize(
    ("method", "below"), [("GET", ""), ("PUT", ""), ("DELETE", ""), ("GET", "/functions")], ids=lambda one: one
)
def test_an_unknown_configuration_is_not_found_and_that_has_no_type(run: Run, method: str, below: str) -> None:
    async def scenario(client: Signing) -> None:
        body = b"{}" if method == "PUT" else b""
        reply = await send(client.door, method, f"{CONFIGS}/{quote(UNKNOWN, safe='')}{below}", {}, body)
        assert reply.status == 404
        assert reply.headers[b"x-amzn-errortype"] == b"ResourceNotFoundException"
        assert reply.json == {"Message": GONE}

    run(scenario)


@pytest.mark.parametrize("place", ["another account", "another region", "another partition"])
def test_a_configuration_is_of_one_account_and_region(run: Run, place: str) -> None:
    async def scenario(client: Signing) -> None:
        arn = await client.config()
        other = {
            "another account": arn.replace("123456789012", "210987654321"),
            "another region": arn.replace("us-east-1", "eu-west-1"),
            "another partition": arn.replace("arn:aws:", "arn:aws-cn:"),
        }[place]
        assert (await client.one("GET", other, 404))[0] == "ResourceNotFoundException"
        await client.create()
        assert (await client.put(other, status=404))[0] == "CodeSigningConfigNotFoundException"

    run(scenario)


def test_putting_an_unknown_configuration_is_told_before_the_function_is_looked_for(run: Run) -> None:
    async def scenario(client: Signing) -> None:
        reply = await send(
            client.door,
            "PUT",
            ATTACHED.format("fn"),
            {},
            b'{"CodeSigningConfigArn":"%s"}' % UNKNOWN.encode(),
        )
        assert reply.status == 404
        assert reply.headers[b"x-amzn-errortype"] == b"CodeSigningConfigNotFoundException"
        assert reply.json == {"Type": "User", "Message": NOT_FOUND}
        answer = await client.create(CodeSigningConfigArn=UNKNOWN, status=404)
        assert answer == ("CodeSigningConfigNotFoundException", NOT_FOUND)
        assert not client.house.functions.names(SCOPE, "", 1)
        elsewhere = quote(ARN.replace("123456789012", "210987654321"), safe="")
        assert await client.put(UNKNOWN, elsewhere, 404) == ("CodeSigningConfigNotFoundException", NOT_FOUND)
        arn = await client.config()
        assert await client.put(arn, elsewhere, 403) == ("AccessDeniedException", None)

    run(scenario)


def test_a_function_that_does_not_exist(run: Run) -> None:
    async def scenario(client: Signing) -> None:
        arn = await client.config()
        assert await client.put(arn, status=404) == NO_FUNCTION
        assert await client.attached(status=404) == NO_FUNCTION
        assert await client("DELETE", ATTACHED.format("fn"), status=404) == NO_FUNCTION

    run(scenario)


def test_attaching_replacing_and_removing(run: Run) -> None:
    async def scenario(client: Signing) -> None:
        first, second = await client.config(), await client.config("Enforce")
        await client.create()
        reply = await send(client.door, "GET", ATTACHED.format("fn"))
        assert (reply.status, reply.body) == (200, b"")  # none: an answer without a body
        assert await client("DELETE", ATTACHED.format("fn"), status=204) is None
        assert await client.put(first) == {"CodeSigningConfigArn": first, "FunctionName": "fn"}
        assert await client.attached() == {"CodeSigningConfigArn": first, "FunctionName": "fn"}
        assert await client.put(second, quote(ARN, safe="")) == {"CodeSigningConfigArn": second, "FunctionName": "fn"}
        assert await client.attached() == {"CodeSigningConfigArn": second, "FunctionName": "fn"}
        assert await client("DELETE", ATTACHED.format("fn"), status=204) is None
        assert await client.attached() is None

    run(scenario)


def test_a_configuration_that_functions_have_is_not_deleted(run: Run) -> None:
    async def scenario(client: Signing) -> None:
        arn = await client.config()
        await client.create(CodeSigningConfigArn=arn)
        code, text = await client.one("DELETE", arn, 409)
        assert code == "ResourceConflictException"
        assert arn in text
        assert "DeleteFunctionCodeSigningConfig" in text
        await client("DELETE", f"{FUNCTIONS}/fn", status=204)
        assert await client.one("DELETE", arn, 204) is None

    run(scenario)


def test_image_functions_have_none(run: Run) -> None:
    """The configuration is looked for first."""

    async def scenario(client: Signing) -> None:
        image: Any = {"PackageType": "Image", "Runtime": ..., "Handler": ..., "Code": {"ImageUri": "repo:tag"}}
        refused = await client.create(CodeSigningConfigArn=await client.config(), status=400, **image)
        assert refused == (
            "InvalidParameterValueException",
            "Code signing is not supported for functions created with container images.",
        )
        refused = await client.create(CodeSigningConfigArn=UNKNOWN, status=404, **image)
        assert refused[0] == "CodeSigningConfigNotFoundException"

    run(scenario)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({}, "Value null at 'allowedPublishers' failed to satisfy constraint: Member must not be null"),
        (
            {"AllowedPublishers": {"SigningProfileVersionArns": []}},
            "at 'allowedPublishers.signingProfileVersionArns' failed to satisfy constraint: "
            "Member must have length greater than or equal to 1",
        ),
        (
            {"AllowedPublishers": {"SigningProfileVersionArns": [PROFILE] * 21}},
            "at 'allowedPublishers.signingProfileVersionArns' failed to satisfy constraint: "
            "Member must have length less than or equal to 20",
        ),
        (
            {
                "AllowedPublishers": {"SigningProfileVersionArns": [PROFILE]},
                "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Perhaps"},
            },
            "at 'codeSigningPolicies.untrustedArtifactOnDeployment' failed to satisfy constraint: "
            "Member must satisfy enum value set: [Warn, Enforce]",
        ),
    ],
    ids=["none", "empty", "many", "policy"],
)
def test_what_the_model_refuses(run: Run, document: dict[str, Any], text: str) -> None:
    async def scenario(client: Signing) -> None:
        code, message = await client("POST", CONFIGS, document, 400)
        assert code == "ValidationException"
        assert message.endswith(text)

    run(scenario)


def test_too_many_tags_and_reserved_ones_are_refused(run: Run) -> None:
    async def scenario(client: Signing) -> None:
        for tags in ({"aws:a": "b"}, {str(number): "x" for number in range(51)}):
            document = {"AllowedPublishers": {"SigningProfileVersionArns": [PROFILE]}, "Tags": tags}
            assert (await client("POST", CONFIGS, document, 400))[0] == "InvalidParameterValueException"
        assert (await client("GET", CONFIGS)) == {"CodeSigningConfigs": []}

    run(scenario)


def test_lists_are_paged_in_the_order_of_creation_and_lose_nothing(run: Run) -> None:
    async def scenario(client: Signing) -> None:
        made = [await client.config(Description=str(number)) for number in range(53)]
        assert made == sorted(made)
        page = await client("GET", CONFIGS)
        assert [one["CodeSigningConfigArn"] for one in page["CodeSigningConfigs"]] == made[:50]
        rest = await client("GET", f"{CONFIGS}?Marker={quote(page['NextMarker'])}")
        assert [one["CodeSigningConfigArn"] for one in rest["CodeSigningConfigs"]] == made[50:]
        assert "NextMarker" not in rest
        one = await client("GET", f"{CONFIGS}?MaxItems=2")
        await client.one("DELETE", made[1], 204)  # the marker's own
        two = await client("GET", f"{CONFIGS}?MaxItems=2&Marker={quote(one['NextMarker'])}")
        assert [each["Description"] for each in two["CodeSigningConfigs"]] == ["2", "3"]
        assert (await client("GET", f"{CONFIGS}?Marker=x", status=400))[0] == "InvalidParameterValueException"

    run(scenario)


def test_functions_of_a_configuration(run: Run) -> None:
    async def scenario(client: Signing) -> None:
        arn, other = await client.config(), await client.config()
        for number in range(6):
            await client.create(f"fn-{number}", CodeSigningConfigArn=arn if number % 2 else other)
        await client.create("fn-none")
        arns = [f"{ARN}-{number}" for number in (1, 3, 5)]
        assert await client.one("GET", arn, below="/functions") == {"FunctionArns": arns}
        page = await client.one("GET", arn, below="/functions?MaxItems=2")
        assert page["FunctionArns"] == arns[:2]
        rest = await client.one("GET", arn, below=f"/functions?MaxItems=2&Marker={quote(page['NextMarker'])}")
        assert rest == {"FunctionArns": arns[2:]}
        marker = quote((await client("GET", f"{CONFIGS}?MaxItems=1"))["NextMarker"])
        refused = await client.one("GET", arn, 400, below=f"/functions?Marker={marker}")
        assert refused[0] == "InvalidParameterValueException"

    run(scenario)


# Deployments.


class Bucket:
    """An S3 that has what it is given."""

    def __init__(self, home: Path, archive: bytes) -> None:
        self.path = home / "object.zip"
        self.path.write_bytes(archive)

    @asynccontextmanager
    async def fetched(self, bucket: str, key: str, version: str | None = None) -> AsyncIterator[Path]:
        yield self.path


@pytest.mark.parametrize("source", ["ZipFile", "S3"])
@pytest.mark.parametrize(
    ("kind", "policy", "code"),
    [
        ("unsigned", "Enforce", "CodeVerificationFailedException"),
        ("stranger's", "Enforce", "CodeVerificationFailedException"),
        ("expired", "Enforce", "CodeVerificationFailedException"),
        ("meddled", "Enforce", "InvalidCodeSignatureException"),
        ("meddled", "Warn", "InvalidCodeSignatureException"),
    ],
)
def test_refused_code_changes_nothing(
    run: Run, signer: Signer, tmp_path: Path, source: str, kind: str, policy: str, code: str
) -> None:
    """Neither the function nor the store of packages, whichever operation brings it."""
    archive = {
        "unsigned": packed,
        "stranger's": lambda: signer.sign(by="stranger"),
        "expired": lambda: signer.sign(expires_ms=1),
        "meddled": lambda: edited(signer.sign(), MEDDLING["content changed"]),
    }[kind]()
    signed = signer.sign(packed({"app.py": b"before"}))

    async def scenario(client: Signing) -> None:
        client.s3.fetched = Bucket(tmp_path, archive).fetched  # type: ignore[method-assign]
        members: Any = {"S3Bucket": "bucket", "S3Key": "k"}
        if source == "ZipFile":
            members = {"ZipFile": base64.b64encode(archive).decode()}
        arn = await client.config(policy)
        refused = await client.create(CodeSigningConfigArn=arn, Code=members, status=400)
        assert refused == (code, TEXT)
        assert client.stored() == []
        assert (await client("GET", f"{FUNCTIONS}/fn", status=404))[0] == "ResourceNotFoundException"

        await client.create(CodeSigningConfigArn=arn, Code={"ZipFile": base64.b64encode(signed).decode()})
        record, stored = await client.record(), client.stored()
        for more in ({}, {"Publish": True}, {"DryRun": True}):
            assert await client.update("code", status=400, **members, **more) == (code, TEXT)
        assert await client.record() == record
        assert client.stored() == stored
        assert len((await client("GET", f"{FUNCTIONS}/fn/versions"))["Versions"]) == 1
        assert client.counted == [("fn", "SignatureValidationErrors", 1)] * 4

    run(scenario)


def test_signed_code_names_its_signer_wherever_it_is_shown(run: Run, signer: Signer) -> None:
    archive = signer.sign()

    async def scenario(client: Signing) -> None:
        arn = await client.config("Enforce")
        created = await client.create(CodeSigningConfigArn=arn, Code={"ZipFile": base64.b64encode(archive).decode()})
        signed = {"SigningProfileVersionArn": PROFILE, "SigningJobArn": JOB}
        assert created.items() >= signed.items()
        assert (await client.record()).items() >= signed.items()
        assert (await client("GET", FUNCTIONS))["Functions"][0].items() >= signed.items()
        published = await client("POST", f"{FUNCTIONS}/fn/versions", {}, 201)
        assert published.items() >= signed.items()
        await client("DELETE", ATTACHED.format("fn"), status=204)
        await client.house.functions.close()
        plain = await client.deploy(ZIP)
        assert not {"SigningProfileVersionArn", "SigningJobArn"} & set(plain)
        assert (await client("GET", f"{FUNCTIONS}/fn/configuration?Qualifier=1")).items() >= signed.items()
        assert not client.counted

    run(scenario)


@pytest.mark.parametrize("kind", ["unsigned", "stranger's", "expired"])
def test_warn_deploys_and_counts(run: Run, signer: Signer, kind: str) -> None:
    archive = {
        "unsigned": packed,
        "stranger's": lambda: signer.sign(by="stranger"),
        "expired": lambda: signer.sign(expires_ms=1),
    }[kind]()

    async def scenario(client: Signing) -> None:
        await client.create(CodeSigningConfigArn=await client.config("Warn"))
        await client.house.functions.close()
        updated = await client.deploy(archive, Publish=True)
        assert updated["CodeSize"] == len(archive)
        assert not {"SigningProfileVersionArn", "SigningJobArn"} & set(updated)
        assert client.counted == [("fn", "SignatureValidationErrors", 1)] * 2

    run(scenario)


def test_attaching_looks_at_no_deployed_code_and_configuration_changes_neither(run: Run) -> None:
    async def scenario(client: Signing) -> None:
        await client.create()
        await client.put(await client.config("Enforce"))
        await client.house.functions.close()
        assert (await client.update("configuration", Timeout=9))["Timeout"] == 9
        await client.house.functions.close()
        await client("POST", f"{FUNCTIONS}/fn/versions", {}, 201)
        assert not client.counted
        assert await client.deploy(ZIP, 400) == ("CodeVerificationFailedException", TEXT)  # the very same code

    run(scenario)


def test_a_configuration_counts_from_the_moment_it_was_changed(run: Run, signer: Signer) -> None:
    archive = signer.sign()

    async def scenario(client: Signing) -> None:
        arn = await client.config("Enforce", OTHER_PROFILE)
        await client.create()
        await client.put(arn)
        await client.house.functions.close()
        assert (await client.deploy(archive, 400))[0] == "CodeVerificationFailedException"
        document = {"AllowedPublishers": {"SigningProfileVersionArns": [PROFILE]}}
        await client.one("PUT", arn, document=document)
        assert (await client.deploy(archive))["SigningJobArn"] == JOB

    run(scenario)


def test_code_that_is_checked_while_the_function_gets_another_configuration_is_not_deployed(run: Run) -> None:
    """Found unsigned without a configuration, it does not slip under the one that comes meanwhile."""

    async def scenario(client: Signing) -> None:
        arn = await client.config("Enforce")
        await client.create()
        record = await client.record()
        put = client.packages.put

        async def slow(*arguments: Any, **more: Any) -> Any:
            package = await put(*arguments, **more)
            await client.put(arn)
            return package

        client.packages.put = slow  # type: ignore[method-assign]
        code, text = await client.deploy(packed(), 409)
        assert code == "ResourceConflictException"
        assert "send the request again" in text
        assert await client.record() == record

    run(scenario)
