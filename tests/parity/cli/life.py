"""A function's life in commands, as both versions of the AWS CLI take them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import PYTHON_RUNTIME, ROLE, package

Aws = Callable[..., Any]
"""Runs `aws …`, which must succeed; answers its JSON, or None when it printed nothing."""


def code(number: int) -> bytes:
    return package({"app.py": f"import words\ndef handler(event, context): return [{number}, event, words.WORDS]\n"})


def live(aws: Aws, name: str, home: Path, *raw: str) -> None:
    """From the layer to the deletion. home: where the commands run; raw: what makes a `--payload` be taken as it is."""
    (home / "one.zip").write_bytes(code(1))
    (home / "two.zip").write_bytes(code(2))
    (home / "layer.zip").write_bytes(package({"python/words.py": "WORDS = 'of the layer'\n"}))
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    named = ("--function-name", name)

    def run(command: str, *options: str) -> Any:
        return aws("lambda", command, *options)

    def invoke(*options: str) -> tuple[str, Any]:
        answer = run("invoke", *named, *options, "--payload", '{"a": "é"}', *raw, "out.json")
        assert answer["StatusCode"] == 200
        return answer["ExecutedVersion"], json.loads((home / "out.json").read_text())

    layer = run(
        *("publish-layer-version", "--layer-name", name, "--zip-file", "fileb://layer.zip"),
        *("--compatible-runtimes", "python3.9", "--description", "words"),
    )
    assert (layer["Version"], layer["CompatibleRuntimes"]) == (1, ["python3.9"])
    created = run(
        *("create-function", *named, "--runtime", PYTHON_RUNTIME, "--role", ROLE, "--handler", "app.handler"),
        *("--zip-file", "fileb://one.zip", "--layers", layer["LayerVersionArn"], "--tags", "team=x"),
        *("--environment", "Variables={COLOUR=blue}", "--ephemeral-storage", "Size=1024"),
    )
    assert (created["FunctionArn"], created["State"], created["EphemeralStorage"]) == (arn, "Pending", {"Size": 1024})
    assert [one["Arn"] for one in created["Layers"]] == [layer["LayerVersionArn"]]
    run("wait", "function-active-v2", *named)
    assert invoke() == ("$LATEST", [1, {"a": "é"}, "of the layer"])
    assert run("publish-version", *named, "--description", "the first")["Version"] == "1"
    changed = run("update-function-code", *named, "--zip-file", "fileb://two.zip")
    assert changed["LastUpdateStatus"] == "InProgress"
    run("wait", "function-updated-v2", *named)
    changed = run("update-function-configuration", *named, "--timeout", "9", "--memory-size", "256")
    assert (changed["Timeout"], changed["MemorySize"]) == (9, 256)
    run("wait", "function-updated-v2", *named)
    assert run("publish-version", *named)["Version"] == "2"
    run("wait", "published-version-active", *named, "--qualifier", "2")
    alias = run(
        *("create-alias", *named, "--name", "live", "--function-version", "1"),
        *("--routing-config", "AdditionalVersionWeights={2=1.0}"),
    )
    assert alias["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 1.0}}
    assert invoke("--qualifier", "live") == ("2", [2, {"a": "é"}, "of the layer"])
    alias = run(
        "update-alias", *named, "--name", "live", "--routing-config", "{}", "--revision-id", alias["RevisionId"]
    )
    assert "RoutingConfig" not in alias
    allow = ("--statement-id", "public", "--action", "lambda:InvokeFunctionUrl", "--principal", "*")
    added = run("add-permission", *named, "--qualifier", "live", *allow, "--function-url-auth-type", "NONE")
    policy = json.loads(run("get-policy", *named, "--qualifier", "live")["Policy"])
    assert policy["Statement"] == [json.loads(added["Statement"])]
    made = run(
        *("create-function-url-config", *named, "--qualifier", "live", "--auth-type", "NONE"),
        *("--cors", '{"AllowOrigins":["*"],"MaxAge":60}'),
    )
    got = run("get-function-url-config", *named, "--qualifier", "live")
    assert {key: got[key] for key in made} == made
    assert made["Cors"] == {"AllowOrigins": ["*"], "MaxAge": 60}
    assert run("delete-function-url-config", *named, "--qualifier", "live") is None
    assert run("remove-permission", *named, "--qualifier", "live", "--statement-id", "public") is None
    assert run("delete-alias", *named, "--name", "live") is None
    assert run("delete-function", *named) in (None, {"StatusCode": 204})
    assert run("delete-layer-version", "--layer-name", name, "--version-number", "1") is None
