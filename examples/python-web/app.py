"""A small site behind a function URL: pages and assets from the package, and two addresses that compute something."""

import base64
import json
import mimetypes
import posixpath
import time
from pathlib import Path
from urllib.parse import parse_qs, unquote

STATIC = Path(__file__).resolve().parent / "static"
FILES = {f"/{path.relative_to(STATIC)}": path for path in STATIC.rglob("*") if path.is_file()}
BEGAN = time.time()
seen = 0


def handler(event, context):
    """One request, payload format 2.0."""
    global seen
    seen += 1
    path = unquote(event["rawPath"])
    method = event["requestContext"]["http"]["method"]
    if path == "/api/facts":
        return answer(facts(event, context), cookies=[f"visits={visits(event)}; Max-Age=3600; SameSite=Lax"])
    if path == "/api/greeting" and method == "POST":
        body = event.get("body", "")
        form = parse_qs(base64.b64decode(body).decode() if event["isBase64Encoded"] else body)
        name = form.get("name", ["nobody"])[0][:80]
        return answer({"greeting": f"Hello, {name}!", "bytes": len(body)})
    return asset("/index.html" if path == "/" else path)


def asset(path):
    """A file of the package; binary ones travel as base64."""
    file = FILES.get(posixpath.normpath(path))
    if file is None:
        return {"statusCode": 404, "headers": {"content-type": "text/plain"}, "body": "There is no such page.\n"}
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    headers = {"content-type": kind, "cache-control": "max-age=60"}
    if kind.startswith("text/") or kind in ("image/svg+xml", "application/javascript"):
        headers["content-type"] += "; charset=utf-8"
        return {"statusCode": 200, "headers": headers, "body": file.read_text(encoding="utf-8")}
    body = base64.b64encode(file.read_bytes()).decode()
    return {"statusCode": 200, "headers": headers, "body": body, "isBase64Encoded": True}


def facts(event, context):
    return {
        "function": context.function_name,
        "version": context.function_version,
        "memory": f"{context.memory_limit_in_mb} MB",
        "request": context.aws_request_id,
        "requests served by this environment": seen,
        "environment began": f"{time.time() - BEGAN:.1f} s ago",
        "your address": event["requestContext"]["http"]["sourceIp"],
        "your visits": visits(event),
    }


def visits(event):
    cookies = dict(cookie.split("=", 1) for cookie in event.get("cookies", []) if "=" in cookie)
    return int(cookies["visits"]) + 1 if cookies.get("visits", "").isdigit() else 1


def answer(document, cookies=()):
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json", "cache-control": "no-store"},
        "cookies": list(cookies),
        "body": json.dumps(document),
    }
