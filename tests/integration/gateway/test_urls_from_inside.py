"""A function that calls another function's URL through its own sandbox's endpoint, unsigned and signed with its role's keys."""

from __future__ import annotations

import json
from typing import Any

from tests.integration.gateway.url_world import SITE, Url, id_in, permit, server_of
from tests.support import function

CALLER = '''
import datetime, hashlib, hmac, json, os, urllib.error, urllib.parse, urllib.request

def signed(url, secret=None):
    """Signature Version 4 as SDKs write it, with the keys in the environment."""
    parts = urllib.parse.urlsplit(url)
    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{os.environ['AWS_REGION']}/lambda/aws4_request"
    token = os.environ["AWS_SESSION_TOKEN"]
    names = "host;x-amz-date;x-amz-security-token"
    lines = f"host:{parts.netloc}\\nx-amz-date:{stamp}\\nx-amz-security-token:{token}\\n"
    canonical = f"GET\\n{parts.path}\\n\\n{lines}\\n{names}\\n{hashlib.sha256(b'').hexdigest()}"
    text = f"AWS4-HMAC-SHA256\\n{stamp}\\n{scope}\\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = ("AWS4" + (secret or os.environ["AWS_SECRET_ACCESS_KEY"])).encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"Credential={os.environ['AWS_ACCESS_KEY_ID']}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {"X-Amz-Date": stamp, "X-Amz-Security-Token": token, "Authorization": f"AWS4-HMAC-SHA256 {credential}"}

def ask(url, headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return [answer.status, json.loads(answer.read())]
    except urllib.error.HTTPError as error:
        return [error.code, json.loads(error.read())]

def handler(event, context):
    url = os.environ["AWS_ENDPOINT_URL"] + event["path"]
    return {"bare": ask(url, {}), "signed": ask(url, signed(url)), "forged": ask(url, signed(url, "wrong"))}
'''


def test_a_function_reaches_urls_as_whoever_it_is(lambda_: Any, endpoint: str) -> None:
    with function(lambda_, SITE) as site, function(lambda_, CALLER, Timeout=20) as caller:
        made = lambda_.create_function_url_config(FunctionName=site, AuthType="AWS_IAM")
        url = Url(server_of(endpoint), id_in(made["FunctionUrl"]))
        asked = json.dumps({"path": f"/_lambent/url/{url.id}/event"}).encode()

        def answers() -> Any:
            return json.loads(lambda_.invoke(FunctionName=caller, Payload=asked)["Payload"].read())

        found = answers()
        assert found["bare"][0] == 403
        assert found["forged"][0] == 403, "its listener is known, and its signature is wrong"
        status, event = found["signed"]
        assert status == 200
        who = event["requestContext"]["authorizer"]["iam"]
        assert who["userArn"].startswith("arn:aws:sts::000000000000:assumed-role/test/")
        assert who["userId"].endswith(f":{caller}")
        assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"
        lambda_.update_function_url_config(FunctionName=site, AuthType="NONE")
        permit(lambda_, site)
        assert answers()["bare"][0] == 200
