"""Web applications as handlers: events of HTTP front doors become requests, their responses become results.

Chosen by the function's variable LAMBENT_WEB_ADAPTER, imported when it is set: `asgi` and `wsgi` take the application that
the handler names and serve it in this process, `port` starts a web server and passes requests on to its port. Events may
be of payload format 2.0 (function URLs, HTTP APIs), 1.0 (REST APIs), or of a load balancer; any other event is a POST to
AWS_LWA_PASS_THROUGH_PATH, whose response body is the result. Names of variables are those of AWS's Lambda Web Adapter.
"""

import json
import os
import re
from base64 import b64decode, b64encode
from urllib.parse import quote, unquote, urlencode

from .handler import Fault

MODES = ("asgi", "wsgi", "port")

_TEXTS = ("application/json", "application/javascript", "application/xml", "application/x-www-form-urlencoded")
_BROKEN_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})|[^\x21-\x7e]")
_IN_PATHS = "/:@!$&'()*+,;=~-._%"
PLAIN, V1, V2, BALANCER = "plain", "1.0", "2.0", "balancer"


class Request(object):
    """One HTTP request, as applications and servers want it."""

    def __init__(self, kind, method, path, query, headers, body, event):
        self.kind = kind
        self.method = method
        self.raw_path = quote(path, safe=_IN_PATHS) if _BROKEN_ESCAPE.search(path) else path
        """Percent-encoded."""
        self.query = query
        """As on the request line, without the question mark."""
        self.headers = headers
        """Pairs of text, names in lower case."""
        self.body = body
        self.event = event
        context = event.get("requestContext") or {} if isinstance(event, dict) else {}
        self.client_ip = (context.get("http") or context.get("identity") or {}).get("sourceIp") or "127.0.0.1"
        self.is_multi = kind in (V1, BALANCER) and event.get("multiValueHeaders") is not None
        base = os.environ.get("AWS_LWA_REMOVE_BASE_PATH", "").rstrip("/")
        self.root = ""
        if base and (self.raw_path == base or self.raw_path.startswith(base + "/")):
            self.root = base
            self.raw_path = self.raw_path[len(base) :] or "/"

    @property
    def path(self):
        return unquote(self.raw_path)

    def header(self, name, other=None):
        for key, value in self.headers:
            if key == name:
                return value
        return other

    @property
    def scheme(self):
        return self.header("x-forwarded-proto", "https")

    @property
    def server(self):
        """(host, port) that the client asked."""
        host, _, port = self.header("host", "localhost").partition(":")
        port = port or self.header("x-forwarded-port") or ("80" if self.scheme == "http" else "443")
        return host, int(port) if port.isdigit() else 443


def read(event, context):
    """The request that an event speaks of, or the one that stands for an event of another kind."""
    about = event.get("requestContext") if isinstance(event, dict) else None
    if isinstance(about, dict) and event.get("version") == "2.0" and isinstance(about.get("http"), dict):
        headers = [(name.lower(), value) for name, value in (event.get("headers") or {}).items()]
        if event.get("cookies"):
            headers = [pair for pair in headers if pair[0] != "cookie"]  # function URLs show them in both places
            headers.append(("cookie", "; ".join(event["cookies"])))
        request = Request(
            V2,
            about["http"]["method"],
            event.get("rawPath") or "/",
            event.get("rawQueryString") or "",
            headers,
            _body(event),
            event,
        )
    elif isinstance(about, dict) and "httpMethod" in event:
        many = event.get("multiValueHeaders")
        if many:
            headers = [(name.lower(), value) for name, values in many.items() for value in values]
        else:
            headers = [(name.lower(), value) for name, value in (event.get("headers") or {}).items()]
        kind = BALANCER if "elb" in about else V1
        request = Request(
            kind, event["httpMethod"], event.get("path") or "/", _query(event, kind), headers, _body(event), event
        )
    else:
        path = os.environ.get("AWS_LWA_PASS_THROUGH_PATH") or "/events"
        body = json.dumps(event, ensure_ascii=False).encode()
        request = Request(
            PLAIN, "POST", path, "", [("content-type", "application/json"), ("host", "localhost")], body, event
        )
    if isinstance(about, dict):
        request.headers.append(("x-amzn-request-context", json.dumps(about)))
    request.headers.append(("x-amzn-lambda-context", json.dumps(_shown(context))))
    return request


def _shown(context):
    return {
        "request_id": context.aws_request_id,
        "deadline": context._epoch_deadline_time_in_ms,
        "invoked_function_arn": context.invoked_function_arn,
        "env_config": {
            "function_name": context.function_name,
            "memory": int(context.memory_limit_in_mb or 0),
            "version": context.function_version,
            "log_stream": context.log_stream_name,
            "log_group": context.log_group_name,
        },
    }


def _body(event):
    body = event.get("body") or ""
    return b64decode(body) if event.get("isBase64Encoded") else body.encode("utf-8", "surrogatepass")


def _query(event, kind):
    many = event.get("multiValueQueryStringParameters")
    if not many:
        many = {name: [value] for name, value in (event.get("queryStringParameters") or {}).items()}
    pairs = [(name, value) for name, values in many.items() for value in values]
    if kind == BALANCER:  # shows them as they were sent
        return "&".join("%s=%s" % pair for pair in pairs)
    return urlencode(pairs)


def result(request, status, headers, body):
    """What the handler returns for a response: `headers` are pairs of text, `body` is bytes."""
    if request.kind == PLAIN:
        return _plain(status, body)
    headers = [(name.lower(), value) for name, value in headers]
    text, is_base64 = _text_of(headers, body)
    answer = {"statusCode": status, "body": text, "isBase64Encoded": is_base64}
    if request.kind == V2:
        answer["cookies"] = [value for name, value in headers if name == "set-cookie"]
        answer["headers"] = _joined([pair for pair in headers if pair[0] != "set-cookie"])
        return answer
    if request.kind == BALANCER:
        answer["statusDescription"] = "%d %s" % (status, _reason(status))
    if request.is_multi or request.kind == V1:
        many = {}
        for name, value in headers:
            many.setdefault(name, []).append(value)
        answer["multiValueHeaders"] = many
    else:
        answer["headers"] = _joined(headers)
    return answer


def is_streamed(request):
    """Whether responses go out as they come, by the Web Adapter's variable."""
    mode = os.environ.get("AWS_LWA_INVOKE_MODE", "buffered").lower()
    return mode == "response_stream" and request.kind != PLAIN


def metadata(status, headers):
    """What goes ahead of a streamed response."""
    headers = [(name.lower(), value) for name, value in headers]
    return {
        "statusCode": status,
        "headers": _joined([pair for pair in headers if pair[0] not in ("set-cookie", "content-length")]),
        "cookies": [value for name, value in headers if name == "set-cookie"],
    }


def _joined(headers):
    found = {}
    for name, value in headers:
        found[name] = found[name] + ", " + value if name in found else value
    return found


def _plain(status, body):
    text = body.decode("utf-8", "replace")
    if status >= 400:
        raise Fault("Runtime.WebAdapterError", "the application answered %d: %s" % (status, text[:1000]))
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


def _text_of(headers, body):
    """A body as text, or as base64 where it is none by its type, its coding or its bytes."""
    kind = coding = ""
    for name, value in headers:
        if name == "content-type":
            kind = value.partition(";")[0].strip().lower()
        elif name == "content-encoding":
            coding = value.strip().lower()
    is_text = not kind or kind.startswith("text/") or kind in _TEXTS or kind.endswith(("+json", "+xml"))
    if is_text and coding in ("", "identity"):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return b64encode(body).decode(), True


def _reason(status):
    from http.client import responses

    return responses.get(status, "Unknown")


BROKEN = 500, [("content-type", "text/plain; charset=utf-8")], b"Internal Server Error"


def log_failure():
    """An application raised; called while the exception is being handled."""
    import sys
    import traceback

    sys.stderr.write("\r".join(traceback.format_exc().splitlines()) + "\n")


def failed(request):
    """The result for an application that raised; called while the exception is being handled."""
    log_failure()
    if request.kind == PLAIN:
        raise
    return result(request, *BROKEN)


def handler(mode, find):
    """The handler of a function with this adapter. find: imports what the function's handler names.

    Raises Fault for a mode that there is not."""
    if mode not in MODES:
        raise Fault("Runtime.InvalidWebAdapter", "LAMBENT_WEB_ADAPTER is one of %s, not %r" % (", ".join(MODES), mode))
    if mode != "port" and "AWS_EXECUTION_ENV" not in os.environ:
        raise Fault(
            "Runtime.InvalidWebAdapter", "LAMBENT_WEB_ADAPTER=%s is for Python; an OS-only function has port" % mode
        )
    if mode == "port":
        from . import web_port

        return web_port.handler()
    application = find(os.environ["_HANDLER"])
    if mode == "wsgi":
        from . import web_wsgi

        return web_wsgi.handler(application)
    from . import web_asgi

    return web_asgi.handler(application)
