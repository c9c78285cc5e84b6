"""Functions and events that both Node.js clients are asked to run; plain data."""

from __future__ import annotations

from clientrun import Event

APP = r"""
class Odd extends Error {
  constructor(message) { super(message); this.name = "Odd"; this.code = "E_ODD"; this.more = { a: [1] }; }
}
const CASES = {
  echo: (event) => event,
  nothing: () => undefined,
  nil: () => null,
  text: () => "z\u00e9\u2028\ud83d\ude00\x7f\0\"\\/",
  numbers: () => [0, -0, 1.5, 1e21, NaN, Infinity],
  dates: () => ({ d: new Date(0), m: new Map([[1, 2]]), u: undefined, r: /x/ }),
  json: () => ({ toJSON: () => "made" }),
  bytes: () => Buffer.from("ab"),
  a_function: () => () => 1,
  a_symbol: () => Symbol("s"),
  half: () => "\ud800",
  bigint: () => ({ n: 1n }),
  circle: () => { const a = []; a.push(a); return a; },
  throws: () => { throw new TypeError("bad \u00e9"); },
  throws_empty: () => { throw new Error(); },
  throws_own: () => { throw new Odd("own"); },
  throws_lines: () => { throw new Error("one\ntwo"); },
  throws_del: () => { throw new Error("a\x7fb"); },
  throws_text: () => { throw "words"; },
  throws_number: () => { throw 7; },
  throws_object: () => { throw { message: "m", name: "N", a: 1 }; },
  throws_lookalike: () => { throw { message: "m", name: "N", stack: "N: m\n    at nowhere" }; },
  throws_cause: () => { throw new Error("outer", { cause: new Error("inner") }); },
  throws_no_stack: () => { const error = new Error("bare"); error.stack = "Error: bare"; throw error; },
  throws_circle: () => { const error = new Error("round"); error.self = error; throw error; },
  throws_deep: () => { const down = (n) => { if (n === 0) { null.x; } down(n - 1); }; down(3); },
  rejects_late: async () => { await new Promise((resolve) => setTimeout(resolve, 5)); throw new RangeError("late"); },
  logs: () => {
    console.log("log %s %d %j", "a", 1, { b: 2 }); console.info("info"); console.warn("warn"); console.error("error");
    console.debug("debug"); console.trace("trace"); console.log(); console.log("a\nb\r\nc"); console.log({ a: { b: [1] } });
    console.log("x", 1, null, undefined, [1, "2"]); console.log(1);
  },
  logs_fatal: () => { console.fatal("fatal"); },
  logs_error: () => { const error = new Odd("logged"); error.stack = "Odd: logged"; console.error(error); console.error("with", error); },
  logs_circle: () => { const a = {}; a.a = a; console.log(a); },
  logs_other: () => { console.table([{ a: 1 }]); console.dir({ a: 1 }); console.group("g"); console.log("in"); console.groupEnd(); },
  raw: () => { process.stdout.write("one\ntwo\n"); process.stderr.write("three\n"); },
  context: (event, context) => {
    const fields = { ...context };
    return Object.keys(fields).sort().filter((key) => typeof fields[key] !== "function").map((key) => [key, fields[key]]);
  },
  functions: (event, context) => Object.keys(context).filter((key) => typeof context[key] === "function").sort(),
  remaining: (event, context) => Math.floor(context.getRemainingTimeInMillis() / 1e12),
  trace: () => process.env._X_AMZN_TRACE_ID ?? "none",
  variables: () => Object.keys(process.env).filter((key) => !key.startsWith("_LAMBENT")).sort(),
  global: () => Object.keys(globalThis.awslambda).sort(),
  timers: async () => { setTimeout(() => {}, 1); return "done"; },
  loop: () => new Promise((resolve) => setImmediate(() => resolve("turned"))),
};
exports.handler = async (event, context) => CASES[event.case](event, context);
"""

NAMES = [
    "a_function",
    "a_symbol",
    "echo",
    "nothing",
    "nil",
    "text",
    "numbers",
    "dates",
    "json",
    "bytes",
    "half",
    "bigint",
    "circle",
    "throws",
    "throws_empty",
    "throws_own",
    "throws_lines",
    "throws_del",
    "throws_text",
    "throws_number",
    "throws_object",
    "throws_lookalike",
    "throws_cause",
    "throws_no_stack",
    "throws_circle",
    "throws_deep",
    "rejects_late",
    "logs",
    "logs_fatal",
    "logs_error",
    "logs_circle",
    "logs_other",
    "raw",
    "context",
    "functions",
    "remaining",
    "trace",
    "variables",
    "global",
    "timers",
    "loop",
]

CLIENT_CONTEXT = '{"client":{"installation_id":"i"},"custom":{"a":[1]},"env":{"locale":"de"}}'


def _event(name: str, number: int, **more: object) -> Event:
    request_id = f"22222222-2222-4333-8444-{number:012d}"
    return Event(f'{{"case": "{name}", "n": [1, 2.50, "\\u00e9"]}}'.encode(), request_id, **more)  # type: ignore[arg-type]


EVENTS: dict[str, Event] = {name: _event(name, number) for number, name in enumerate(NAMES)} | {
    "client context": _event("context", 101, client_context=CLIENT_CONTEXT),
    "identity": _event("context", 102, cognito_identity='{"cognitoIdentityId":"a","cognitoIdentityPoolId":"b"}'),
    "tenant": _event("context", 103, tenant_id="blue"),
    "trace id": _event("trace", 104, trace_id="Root=1-a;Parent=b;Sampled=1"),
    "trace id gone again": _event("trace", 105),
    "deadline in the past": _event("remaining", 106, deadline_ms=1),
}

JSON_LOGS = ["logs", "logs_fatal", "logs_error", "logs_circle", "throws", "throws_text", "throws_own", "raw"]

_ONE = "exports.handler = async () => 1;\n"

LIFE: dict[str, tuple[dict[str, str], str]] = {
    "no such module": ({}, "gone.handler"),
    "no such export": ({"index.js": "exports.x = 1;\n"}, "index.handler"),
    "export is no function": ({"index.js": "exports.handler = 5;\n"}, "index.handler"),
    "nested export": ({"index.js": "exports.a = { b: { c: async () => 'abc' } };\n"}, "index.a.b.c"),
    "nested export that is missing": ({"index.js": "exports.a = {};\n"}, "index.a.b.c"),
    "no dot in the name": ({"index.js": _ONE}, "index"),
    "two dots in the name": ({"index.js": _ONE}, "../index.handler"),
    "syntax error": ({"index.js": "exports.handler = async ( => 1;\n"}, "index.handler"),
    "module throws": ({"index.js": "throw new TypeError('at load');\n"}, "index.handler"),
    "module throws words": ({"index.js": "throw 'words';\n"}, "index.handler"),
    "module requires what is missing": ({"index.js": "require('not-there-at-all');\n"}, "index.handler"),
    "module imports what is missing": ({"index.mjs": "import 'not-there-at-all';\n"}, "index.handler"),
    "ES module": ({"index.mjs": "export const handler = async () => import.meta.url.slice(-9);\n"}, "index.handler"),
    "ES module by package": (
        {"index.js": "export const handler = async () => 'es';\n", "package.json": '{"type":"module"}'}, "index.handler"
    ),
    "CommonJS by package": ({"index.js": _ONE, "package.json": '{"type":"commonjs"}'}, "index.handler"),
    "broken package.json": ({"index.js": _ONE, "package.json": "{"}, "index.handler"),
    "top-level await": (
        {"index.mjs": "const x = await new Promise((r) => setTimeout(() => r(5), 5));\nexport const handler = async () => x;\n"},
        "index.handler",
    ),
    "cjs file": ({"index.cjs": _ONE}, "index.handler"),
    "js before mjs": ({"index.js": _ONE, "index.mjs": "export const handler = async () => 2;\n"}, "index.handler"),
    "default export": ({"index.mjs": "export default { handler: async () => 'd' };\n"}, "index.handler"),
    "handler in a directory": ({"a/b/index.js": "exports.handler = async () => __dirname.slice(-4);\n"}, "a/b/index.handler"),
    "handler in node_modules": ({"node_modules/pkg/index.js": _ONE}, "pkg.handler"),
    "module logs": ({"index.js": "console.log('at load');\n" + _ONE}, "index.handler"),
    "module ends the process": ({"index.js": "process.exit(7);\n"}, "index.handler"),
    "handler ends the process": ({"index.js": "exports.handler = async () => { process.exit(9); };\n"}, "index.handler"),
    "plain value from a plain function": ({"index.js": "exports.handler = () => 'ignored before 24';\n"}, "index.handler"),
    "plain function throws": ({"index.js": "exports.handler = () => { throw new Error('sync'); };\n"}, "index.handler"),
    "thenable": ({"index.js": "exports.handler = () => ({ then: (ok) => ok('then') });\n"}, "index.handler"),
    "callback": ({"index.js": "exports.handler = (e, c, cb) => cb(null, 'called');\n"}, "index.handler"),
    "streaming of something else": (
        {"index.js": "const h = async () => 1; h[Symbol.for('aws.lambda.runtime.handler.streaming')] = 'x'; exports.handler = h;\n"},
        "index.handler",
    ),
}  # fmt: skip
"""Files and handler; each is one life with one event, on every version."""

CLASSIC: dict[str, str] = {
    "callback with an error": "(e, c, cb) => cb(new Error('told'))",
    "callback with words": "(e, c, cb) => cb('words')",
    "callback later": "(e, c, cb) => { setTimeout(() => cb(null, 'later'), 5); }",
    "callback, then work": "(e, c, cb) => { cb(null, 'waits'); setTimeout(() => console.log('work'), 5); }",
    "callback that does not wait": (
        "(e, c, cb) => { c.callbackWaitsForEmptyEventLoop = false; cb(null, 'now'); setTimeout(() => {}, 1e6).unref(); }"
    ),
    "callback twice": "(e, c, cb) => { cb(null, 1); cb(null, 2); }",
    "callback never": "(e, c, cb) => { console.log('nothing'); }",
    "callback with what is no JSON": "(e, c, cb) => { cb(null, 1n); }",
    "succeed": "(e, c) => { c.succeed({ a: 1 }); }",
    "fail": "(e, c) => { c.fail(new RangeError('failed')); }",
    "fail without a reason": "(e, c) => { c.fail(); }",
    "done": "(e, c) => { c.done(null, 'done'); }",
    "done with an error": "(e, c) => { c.done(new Error('undone')); }",
    "done and callback": "(e, c, cb) => { c.done(null, 1); cb(null, 2); }",
    "promise never settles": "() => new Promise(() => {})",
    "rejection that nobody handles": (
        "async () => { Promise.reject(new Error('lost')); await new Promise((r) => setTimeout(r, 50)); }"
    ),
    "rejection with words": "async () => { Promise.reject('lost words'); await new Promise((r) => setTimeout(r, 50)); }",
    "exception that nobody catches": (
        "async () => { setTimeout(() => { throw new Error('loose'); }, 1); await new Promise((r) => setTimeout(r, 50)); }"
    ),
}
"""Handlers up to Node.js 22: what ends an invocation, or the process."""

_S = "awslambda.streamifyResponse(async (event, stream, context) => { %s })"
STREAMS: dict[str, str] = {
    "stream": _S % "stream.write('one '); stream.write(Buffer.from('two ')); stream.end('three');",
    "stream with a content type": _S % "stream.setContentType('text/html'); stream.write('<p>'); stream.end();",
    "stream with a prelude": _S
    % "stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201, headers: { a: 'b' } }); stream.write('x'); stream.end();",
    "stream of objects": _S % "stream.write({ a: 1 }); stream.end();",
    "stream later": _S % "await new Promise((r) => setTimeout(r, 5)); stream.write('late'); stream.end();",
    "stream, empty": _S % "stream.end();",
    "stream by pipeline": _S
    % "await require('node:stream/promises').pipeline(require('node:stream').Readable.from(['a', 'b']), stream);",
    "stream with a return value": _S % "stream.write('x'); stream.end(); return 5;",
}
"""Streaming handlers."""

FAILING_STREAMS: dict[str, str] = {
    "fails at once": _S % "throw new TypeError('at once');",
    "fails midway": _S % "stream.write('begun'); throw new TypeError('midway');",
    "fails midway, later": _S
    % "stream.write('begun'); await new Promise((r) => setTimeout(r, 20)); throw new TypeError('later');",
    "fails with much unsent": _S % "stream.write(Buffer.alloc(3000000, 'x')); throw new TypeError('much');",
    "fails with a string": _S % "stream.write('begun'); throw 'plain';",
    "sets its content type too late": _S % "stream.write('begun'); stream.setContentType('a/b');",
    "prelude, then fails": _S
    % "stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201 }); stream.write('x'); throw new Error('p');",
    "not async": "awslambda.streamifyResponse((event, stream) => { stream.write('begun'); })",
}
"""Streaming handlers that fail, most of them after something was sent."""
