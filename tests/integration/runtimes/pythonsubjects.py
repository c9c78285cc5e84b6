"""Functions and events that both Python clients are asked to run; plain data, Python 3.8 syntax inside."""

from __future__ import annotations

from clientrun import Event

APP = """
import collections, decimal, enum, json, logging, os, sys, threading

Point = collections.namedtuple("Point", "x y")
CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def handler(event, context):
    return CASES[event["case"]](event, context)


class Odd(Exception):
    def __str__(self):
        return "odd:\\n  two\\n\\n lines"


class Colour(str, enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


class Real(float):
    def __repr__(self):
        return "real"


@case
def echo(event, context): return event

@case
def nothing(event, context): return None

@case
def text(event, context): return "z\\u00e9\\u2028\\U0001f600\\x7f\\x00\\"\\\\/"

@case
def numbers(event, context): return [0, -1, 10**30, 1.5, 1e100, 1e16, 0.1, -0.0, True]

@case
def not_finite(event, context): return [float("nan"), float("inf"), -float("inf")]

@case
def decimals(event, context): return {"d": [decimal.Decimal("1.10"), decimal.Decimal("-NaN"), decimal.Decimal("1E+3")]}

@case
def named(event, context): return {"p": Point(1, Point(2, [3]))}

@case
def top_named(event, context): return Point(1, 2)

@case
def tuples(event, context): return (1, (2, ()), {})

@case
def raw(event, context): return b"\\x00\\xff raw"

@case
def inner_bytes(event, context): return {"b": b"caf\\xc3\\xa9", b"k": 1}

@case
def inner_bad_bytes(event, context): return [b"\\xff"]

@case
def a_set(event, context): return {1}

@case
def an_object(event, context): return {"a": [object()]}

@case
def a_generator(event, context): return (i for i in range(3))

@case
def a_bytearray(event, context): return bytearray(b"x")

@case
def keys(event, context): return {1: 1, 2.5: 2, None: 3, False: 4, Number.ONE + 1: 5}

@case
def bad_keys(event, context): return {(1, 2): 3}

@case
def circle(event, context):
    inner = []
    inner.append({"a": inner})
    return inner

@case
def shared(event, context):
    one = {"a": 1}
    return [one, one]

@case
def enums(event, context): return [Colour.RED, Number.ONE, Real(1.5), {"c": Colour.RED}]

@case
def mapping(event, context): return collections.OrderedDict([("b", 1), ("a", collections.defaultdict(int))])

@case
def raises(event, context): raise ValueError("bad value")

@case
def raises_empty(event, context): raise RuntimeError()

@case
def raises_odd(event, context): raise Odd()

@case
def raises_key(event, context): return {}["k"]

@case
def raises_unicode(event, context): raise Exception("caf\\u00e9 \\u4e2d")

@case
def raises_deep(event, context):
    def down(n):
        return 1 / n if n == 0 else down(n - 1)
    return down(4)

@case
def raises_chained(event, context):
    try:
        {}["inner"]
    except KeyError as error:
        raise LookupError("outer") from error

@case
def raises_in_library(event, context): return json.loads("{")

@case
def prints(event, context):
    print("one")
    print("two", "three", sep="\\t")
    print("four", file=sys.stderr)
    print("")
    sys.stdout.write("five\\rsix\\n")

@case
def prints_threads(event, context):
    threads = [threading.Thread(target=lambda: [sys.stdout.write("line\\n") for _ in range(20)]) for _ in range(5)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

@case
def logs(event, context):
    log = logging.getLogger("mine")
    log.debug("debug"), log.info("info"), log.warning("warn %s", 1), log.error("error"), log.critical("critical")
    logging.getLogger().warning("root")

@case
def logs_lines(event, context): logging.error("one\\ntwo")

@case
def logs_exception(event, context):
    try:
        1 / 0
    except ZeroDivisionError:
        logging.exception("caught")

@case
def logs_extra(event, context): logging.getLogger("x").warning({"a": object.__name__}, extra={"order": 7, "when": {"b": 1}})

@case
def sets_level(event, context):
    root = logging.getLogger()
    before = root.level
    root.setLevel("INFO")
    root.info("now visible")
    root.setLevel(before)
    return [before, len(root.handlers), type(root.handlers[0]).__name__]

@case
def context_fields(event, context):
    return [
        context.aws_request_id, context.function_name, context.function_version, context.invoked_function_arn,
        context.memory_limit_in_mb, context.log_group_name, context.log_stream_name, context.tenant_id,
        context.client_context, context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id,
    ]

@case
def context_repr(event, context): return [repr(context), type(context).__name__]

@case
def client_context(event, context):
    given = context.client_context
    return [given.custom, given.env, given.client.installation_id, given.client.app_title, repr(given)]

@case
def trace_context(event, context): return [hasattr(context.client_context, "w3c"), getattr(context, "w3c", dict)()]

@case
def identity(event, context): return [context.identity.cognito_identity_id, repr(context.identity)]

@case
def remaining(event, context): return context.get_remaining_time_in_millis() // 1000000000

@case
def context_log(event, context):
    context.log("raw line\\n")
    context.log(12)
    context.log("\\n")

@case
def trace(event, context): return os.environ.get("_X_AMZN_TRACE_ID")

@case
def variables(event, context):
    return sorted(k for k in os.environ if not k.startswith("_LAMBENT") and k not in ("LC_CTYPE", "PYTHONPATH"))

@case
def interpreter(event, context): return [type(exit).__name__, __name__, sys.path[0] == os.environ["LAMBDA_TASK_ROOT"]]

@case
def leaves_exit(event, context): sys.exit(3)
"""

CLIENT_CONTEXT = '{"client":{"installation_id":"i","app_title":"t"},"custom":{"a":[1]},"env":{"locale":"de"},"w3c":{"traceparent":"00-1","other":2}}'

NAMES = [
    "echo",
    "nothing",
    "text",
    "numbers",
    "not_finite",
    "decimals",
    "named",
    "top_named",
    "tuples",
    "raw",
    "inner_bytes",
    "inner_bad_bytes",
    "a_set",
    "an_object",
    "a_generator",
    "a_bytearray",
    "keys",
    "bad_keys",
    "circle",
    "shared",
    "enums",
    "mapping",
    "raises",
    "raises_empty",
    "raises_odd",
    "raises_key",
    "raises_unicode",
    "raises_deep",
    "raises_chained",
    "raises_in_library",
    "prints",
    "prints_threads",
    "logs",
    "logs_lines",
    "logs_exception",
    "logs_extra",
    "sets_level",
    "context_fields",
    "context_repr",
    "remaining",
    "context_log",
    "trace",
    "variables",
    "interpreter",
]


def _event(name: str, number: int, **more: object) -> Event:
    request_id = f"11111111-2222-4333-8444-{number:012d}"
    return Event(f'{{"case": "{name}", "n": [1, 2.50, "\\u00e9"]}}'.encode(), request_id, **more)  # type: ignore[arg-type]


EVENTS: dict[str, Event] = {name: _event(name, number) for number, name in enumerate(NAMES)} | {
    "client context": _event("client_context", 101, client_context=CLIENT_CONTEXT),
    "client context without client": _event("client_context", 102, client_context="{}"),
    "client context that is no JSON": _event("client_context", 103, client_context="{"),
    "client context: trace fields": _event("trace_context", 104, client_context=CLIENT_CONTEXT),
    "identity": _event("identity", 105, cognito_identity='{"cognitoIdentityId":"a","cognitoIdentityPoolId":"b"}'),
    "identity that is no JSON": _event("identity", 106, cognito_identity="x"),
    "tenant": _event("context_fields", 107, tenant_id="blue"),
    "tenant in a log line": _event("logs", 108, tenant_id="blue"),
    "trace id": _event("trace", 109, trace_id="Root=1-a;Parent=b;Sampled=1"),
    "trace id gone again": _event("trace", 110),
    "deadline in the past": _event("remaining", 111, deadline_ms=1),
    "event that is no JSON": Event(b'{"case": ', "11111111-2222-4333-8444-000000000112"),
    "event that is not UTF-8": Event(b'"\xff"', "11111111-2222-4333-8444-000000000113"),
    "event with more behind it": Event(b"1 2", "11111111-2222-4333-8444-000000000114"),
    "event that is empty": Event(b"", "11111111-2222-4333-8444-000000000115"),
    "event with space around": Event(b' \n{"case": "echo"} \t', "11111111-2222-4333-8444-000000000116"),
    "event with a name twice": Event(b'{"case": "nothing", "case": "echo"}', "11111111-2222-4333-8444-000000000117"),
    "event without quotes": Event(b"{case: 1}", "11111111-2222-4333-8444-000000000118"),
    "client context with more behind it": _event("client_context", 120, client_context="{} 2"),
    "sys.exit": _event("leaves_exit", 119),
}

LIFE: dict[str, tuple[dict[str, str], str]] = {
    "no such module": ({}, "gone.handler"),
    "no such module in a package": ({"pkg/__init__.py": ""}, "pkg.gone.handler"),
    "no such function": ({"app.py": "x = 1\n"}, "app.handler"),
    "handler without a dot": ({"app.py": ""}, "app"),
    "handler is empty but for a dot": ({"app.py": ""}, ".handler"),
    "syntax error": ({"app.py": "def handler(:\n    pass\n"}, "app.handler"),
    "indentation error": ({"app.py": "def handler(e, c):\n  if e:\n return 1\n"}, "app.handler"),
    "module raises": ({"app.py": "def up():\n    raise KeyError('x')\nup()\n"}, "app.handler"),
    "module imports what is missing": ({"app.py": "import not_there_at_all\n"}, "app.handler"),
    "module imports a name that is missing": ({"app.py": "from json import nope\n"}, "app.handler"),
    "built-in module": ({}, "sys.exit"),
    "handler in a directory": ({"a/b/app.py": "def handler(e, c): return __name__\n"}, "a/b/app.handler"),
    "handler in a package": ({"a/__init__.py": "", "a/app.py": "def handler(e, c): return __name__\n"}, "a.app.handler"),
    "handler is no function": ({"app.py": "handler = 5\n"}, "app.handler"),
    "handler is a class": ({"app.py": "class handler:\n    def __init__(self, e, c): pass\n"}, "app.handler"),
    "handler takes one argument": ({"app.py": "def handler(e): return 1\n"}, "app.handler"),
    "handler is asynchronous": ({"app.py": "async def handler(e, c): return 1\n"}, "app.handler"),
    "module ends the process": ({"app.py": "import sys\nprint('bye')\nsys.exit(7)\n"}, "app.handler"),
    "module prints and logs": (
        {"app.py": "import logging\nprint('p')\nlogging.warning('w')\ndef handler(e, c): return 1\n"},
        "app.handler",
    ),
    "handler ends the process at once": ({"app.py": "import os\ndef handler(e, c): os._exit(9)\n"}, "app.handler"),
    "handler ends the process with words": (
        {"app.py": "import sys\ndef handler(e, c): sys.exit('words')\n"}, "app.handler"
    ),
    "handler is interrupted": ({"app.py": "def handler(e, c): raise KeyboardInterrupt\n"}, "app.handler"),
    "a package brings a json module": (
        {"json.py": "raise Exception('not this')\n", "app.py": "import json\ndef handler(e, c): return json.dumps([1])\n"},
        "app.handler",
    ),
}  # fmt: skip
"""Files and handler; each is one life of the runtime with one event."""

JSON_LOGS = [
    "logs",
    "logs_lines",
    "logs_exception",
    "logs_extra",
    "raises",
    "raises_odd",
    "prints",
    "tenant in a log line",
]
