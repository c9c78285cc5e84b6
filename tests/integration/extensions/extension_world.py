"""Extensions for tests: one program that does what its function's variables say, in a layer of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.integration.environments.live_node import LiveNode
from tests.support import function, package, unique

EXTENSION = r'''#!/usr/bin/python3
import http.client, json, os, signal, sys, time

name = os.path.basename(sys.argv[0])
plan = json.loads(os.environ.get("PLAN", "{}")).get(name, {})
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])

def call(method, path, body=None, **headers):
    fields = {key.replace("_", "-"): value for key, value in headers.items()}
    api.request(method, "/2020-01-01/extension/" + path, body, fields)
    answer = api.getresponse()
    return answer, answer.read()

def say(*words):
    print(name, *words, flush=True)

def act(what):
    """What a plan says to do at this point, several words apart."""
    for word in plan.get(what, "").split():
        if word.startswith("sleep:"):
            time.sleep(float(word[6:]))
        elif word.startswith("exit:"):
            sys.exit(int(word[5:]))
        elif word == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif word in ("init/error", "exit/error"):
            answer, body = call("POST", word, json.dumps({"errorMessage": "no luck", "errorType": "Extension.Luck"}),
                                Lambda_Extension_Identifier=me, Lambda_Extension_Function_Error_Type="Extension.Luck")
            say(word, answer.status, body.decode())

say("starts in", os.getcwd(), json.dumps(sorted(os.environ)) if plan.get("tell") else "")
act("start")
events = plan.get("events", ["INVOKE", "SHUTDOWN"])
answer, body = call("POST", "register", json.dumps({"events": events}), Lambda_Extension_Name=plan.get("name", name),
                    Lambda_Extension_Accept_Feature="accountId")
me = answer.getheader("Lambda-Extension-Identifier")
say("registered", answer.status, body.decode())
act("registered")
while True:
    answer, body = call("GET", "event/next", Lambda_Extension_Identifier=me)
    told = json.loads(body)
    say("told", answer.status, json.dumps(told), answer.getheader("Lambda-Extension-Event-Identifier"))
    left_ms = told["deadlineMs"] - time.time() * 1000
    act(told["eventType"])
    say("did", told["eventType"], "with", round(left_ms))
    if told["eventType"] == "SHUTDOWN":
        sys.exit(0)
'''

HANDLER = """
import os, time
count = 0
def handler(event, context):
    global count
    count += 1
    time.sleep(event.get("sleep", 0))
    if event.get("exit"):
        os._exit(3)
    if event.get("raise"):
        raise ValueError("raised")
    print("the handler ran")
    return {"count": count, "pid": os.getpid()}
"""


@contextmanager
def extended(
    node: LiveNode,
    *names: str,
    plan: Mapping[str, Any] | None = None,
    code: str | Mapping[str, str | bytes] = HANDLER,
    programs: Mapping[str, str] | None = None,
    executable: bool = True,
    variables: Mapping[str, str] | None = None,
    **options: Any,
) -> Iterator[str]:
    """A function with extensions of these names for the length of the block.

    plan: by name, what each does. programs: other extensions, by name."""
    files: dict[str, str | bytes] = {f"extensions/{name}": EXTENSION for name in names}
    files |= {f"extensions/{name}": text for name, text in (programs or {}).items()}
    layer = unique("extension")
    zipped = package(files, executable=tuple(files) if executable else ())
    published = node.lambda_.publish_layer_version(LayerName=layer, Content={"ZipFile": zipped})
    own = {"PLAN": json.dumps(plan or {}), **(variables or {})}
    options.setdefault("Layers", [published["LayerVersionArn"]])
    try:
        with function(node.lambda_, code, Environment={"Variables": own}, **options) as name:
            yield name
    finally:
        node.lambda_.delete_layer_version(LayerName=layer, VersionNumber=published["Version"])


def said(log: list[str], name: str, word: str) -> list[str]:
    """What an extension said after this word, in order."""
    start = f"{name} {word} "
    return [line[len(start) :].strip() for line in log if line.startswith(start)]
