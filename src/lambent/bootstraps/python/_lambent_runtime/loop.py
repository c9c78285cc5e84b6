"""The runtime's life: take the channel, import the handler, then one event after another until the platform goes.

Frames, little-endian: `u32` length of what follows, `u8` type, payload (see ARCHITECTURE.md). An invocation costs one
read and one write as long as its payloads are small.
"""

import os
import select
import sys
from struct import Struct

from . import context as contexts
from . import values
from .handler import Fault, find

READ_BYTES = 65536
"""Bytes asked for by the first read of a frame; a longer frame is read into one buffer of its own size."""
FRAME_BYTES_MAX = 1 << 28
"""Longest frame taken for real; beyond it the channel is out of step."""

INVOKE, RESPONSE, ERROR, INIT_ERROR, READY, ASSIGN, WAITING = 1, 2, 3, 4, 5, 11, 12

EVENT = Struct("<IBQ6H")
_HEAD = Struct("<IBH")
_SHORT = Struct("<H")
_JSON = _SHORT.pack(16) + b"application/json"
_UNKNOWN = _SHORT.pack(19) + b"application/unknown"

OWN_IMPORTS = frozenset(
    "collections contextlib copyreg datetime decimal enum functools heapq importlib json keyword linecache logging "
    "numbers operator re reprlib string textwrap threading token tokenize traceback types warnings weakref".split()
)
"""Modules that the runtime relies on: a file of that name in a package does not take their place."""


_YIELDING = ("generator", "async_generator")
"""Types that JSON has no form for, and that are answered as a stream."""


class _Finder:
    """Sees the imports of `OWN_IMPORTS` first; sets up logging when the function imports it, and not before."""

    def __init__(self, directory):
        self._path = [directory]

    def find_spec(self, name, path=None, target=None):
        if name not in OWN_IMPORTS:
            return None
        spec = sys.modules["_frozen_importlib_external"].PathFinder.find_spec(name, self._path)
        if name == "logging" and spec is not None:
            spec.loader = _LoggingLoader(spec.loader)
        return spec


class _LoggingLoader:
    """Loads `logging` as its own loader would, then gives the root logger its handler."""

    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        from . import logs

        logs.configure()


class Channel:
    """The runtime's end of the socketpair."""

    def __init__(self, descriptor):
        os.set_inheritable(descriptor, False)
        os.set_blocking(descriptor, True)
        self.descriptor = descriptor
        # Whoever sleeps in a read on a Unix socket is also woken when the other end takes what was written before: once
        # per answer, for nothing. A poll for input is not.
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        self.wait = poll.poll

    def receive(self):
        """The next frame as bytes, head included; ends the process where the platform has gone."""
        self.wait()
        frame = os.read(self.descriptor, READ_BYTES)
        if len(frame) < 4:
            frame = self._fill(bytearray(4), frame)
        size = int.from_bytes(frame[:4], "little") + 4
        if len(frame) == size:
            return frame
        if len(frame) > size or size > FRAME_BYTES_MAX:
            raise SystemExit("lambent: a frame of %d bytes where one event was expected" % size)
        return self._fill(bytearray(size), frame)

    def _fill(self, frame, start):
        have = len(start)
        if not have:
            raise SystemExit(0)
        frame[:have] = start
        view = memoryview(frame)
        while have < len(frame):
            more = os.readv(self.descriptor, [view[have:]])
            if not more:
                raise SystemExit(0)
            have += more
        return frame

    def send(self, data):
        """Write all of `data`."""
        sent = os.write(self.descriptor, data)
        while sent < len(data):
            data = memoryview(data)[sent:]
            sent = os.write(self.descriptor, data)

    def send_init_error(self, kind, body):
        kind = kind.encode("utf-8", "replace")
        self.send(_HEAD.pack(3 + len(kind) + len(body), INIT_ERROR, len(kind)) + kind + body)


def main():
    """Run the function named by `_HANDLER` for the platform at the other end of `_LAMBENT_CHANNEL`."""
    environ = os.environ
    channel = Channel(int(environ.pop("_LAMBENT_CHANNEL")))
    is_template = environ.pop("_LAMBENT_TEMPLATE", None) is not None
    forks = environ.pop("_LAMBENT_FORKS", None)
    if forks is not None or environ.pop("_LAMBENT_WAITS", None) is not None:
        from . import waiting

        waiting.wait(channel, environ, forks)
    else:
        prepare_interpreter(environ)
    # Kept here: a function may put something else in their place, and what it wrote before must not be lost.
    streams = sys.stdout, sys.stderr
    handler = _initialise(channel, environ, streams, is_template)
    for stream in streams:
        stream.flush()
    channel.send(_HEAD.pack(1, READY, 0)[:5])
    serve(channel, handler, streams)


def prepare_interpreter(environ):
    """What `site` would do that functions rely on (it is skipped: 5 ms, and the host's packages), and the paths."""
    import builtins
    from _sitebuiltins import Quitter, _Helper

    builtins.exit = Quitter("exit", "Ctrl-D (i.e. EOF)")
    builtins.quit = Quitter("quit", "Ctrl-D (i.e. EOF)")
    builtins.help = _Helper()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)

    # `os` may be frozen: its file is then known all the same, unless the library is a zip.
    sys.meta_path.insert(0, _Finder(os.path.dirname(os.__file__)))
    layers = environ.pop("_LAMBENT_LAYERS", "/opt") + "/python"
    packages = layers + "/lib/python%d.%d/site-packages" % sys.version_info[:2]
    own = environ.get("LAMBDA_RUNTIME_DIR", "/var/runtime")
    paths = [path for path in sys.path if path != own]
    sys.path[:] = [environ.get("LAMBDA_TASK_ROOT", "/var/task"), packages, layers, own] + paths
    sdk = environ.pop("_LAMBENT_SDK", None)
    if sdk:
        sys.path.append(sdk)
    if environ.get("PYTHONPATH", own) != own:
        # Wrapper scripts of tracing layers bring a sitecustomize this way.
        try:
            import sitecustomize  # noqa: F401
        except ModuleNotFoundError as error:
            if error.name != "sitecustomize":
                raise


def find_without_bytecode(name):
    """The handler. Its module lies where nothing can be written, and finding that out for each costs a tenth of a start."""
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        return find(name)
    finally:
        sys.dont_write_bytecode = kept


def _initialise(channel, environ, streams, is_template):
    """The handler, or the end of the process with the reason posted and logged. Of a template, each copy returns."""
    status, kind = 1, None
    try:
        adapter = environ.get("LAMBENT_WEB_ADAPTER")
        if adapter:
            from . import web

            handler = web.handler(adapter, find_without_bytecode)
        else:
            handler = find_without_bytecode(environ["_HANDLER"])
        if environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
            import snapshot_restore_py as hooks

            status, kind = 64, "Runtime.BeforeSnapshotError"
            registered = hooks.get_before_snapshot()
            while registered:
                call, args, named = registered.pop()
                call(*args, **named)
            if is_template:
                from . import snapshot

                snapshot.hold(channel, streams)
                snapshot.renew()
            status, kind = 65, "Runtime.AfterRestoreError"
            for call, args, named in hooks.get_after_restore():
                call(*args, **named)
        return handler
    except Fault as fault:
        from . import faults

        found = faults.document(fault.kind, fault.text, fault.trace, None)
    except Exception:
        from . import faults

        found = faults.from_exception(None)
    if status == 1:
        import logging

        logging.warning(faults.INIT_WARNING)
    faults.log(found)
    for stream in streams:
        stream.flush()
    channel.send_init_error(kind or found["errorType"], faults.text_of(found))
    sys.exit(status)


def serve(channel, handler, streams):
    """Events, for ever."""
    receive, send = channel.receive, channel.send
    unpack = EVENT.unpack_from
    decode, encode, new_context = values.decode, values.encode, contexts.LambdaContext
    facts, record, environ = contexts.facts(), contexts.Record, os.environ
    flush_out, flush_err = (stream.flush for stream in streams)
    last_trace = None
    start = EVENT.size
    while True:
        frame = receive()
        _, kind, deadline_ms, of_id, of_arn, of_trace, of_client, of_identity, of_tenant = unpack(frame)
        if kind != INVOKE:
            raise SystemExit("lambent: a frame of type %d where an event was expected" % kind)
        at = start + of_id
        id_bytes = bytes(frame[start:at])
        request_id = id_bytes.decode()
        arn = frame[at : at + of_arn].decode() or None
        at += of_arn
        trace = frame[at : at + of_trace]
        at += of_trace
        if trace != last_trace:
            last_trace = bytes(trace)
            if last_trace:
                environ["_X_AMZN_TRACE_ID"] = last_trace.decode()
            else:
                environ.pop("_X_AMZN_TRACE_ID", None)
        client = identity = tenant = None
        if of_client or of_identity or of_tenant:
            client = frame[at : at + of_client].decode()
            at += of_client
            identity = frame[at : at + of_identity].decode()
            at += of_identity
            tenant = frame[at : at + of_tenant].decode() or None
            at += of_tenant
        record.request_id = request_id
        record.tenant_id = tenant
        try:
            if client or identity:
                client = _parse(client, "Client Context")
                identity = _parse(identity, "Cognito Identity")
            else:
                client = identity = None
            context = new_context(facts, request_id, deadline_ms, arn, client, identity, tenant)
            try:
                text = frame[at:].decode() if type(frame) is bytes else str(memoryview(frame)[at:], "utf-8")
                event = decode(text)
            except Exception as error:
                raise Fault("Runtime.UnmarshalError", "Unable to unmarshal input: {}".format(error))
            frame = text = None
            result = handler(event, context)
            if isinstance(result, bytes):
                content_type, body = _UNKNOWN, result
            else:
                content_type = _JSON
                try:
                    body = encode(result).encode()
                except Exception as error:
                    if type(result).__name__ not in _YIELDING:
                        raise Fault("Runtime.MarshalError", "Unable to marshal response: {}".format(error))
                    body = None
                if body is None:
                    from . import streams

                    streams.respond(channel, result, request_id, lambda: (flush_out(), flush_err()))
                    event = context = result = None
                    continue
            answer = _HEAD.pack(3 + of_id + len(content_type) + len(body), RESPONSE, of_id) + id_bytes + content_type
        except Exception as error:
            answer, body = _failed(error, request_id, id_bytes)
        flush_out()
        flush_err()
        if len(body) < READ_BYTES:
            send(answer + body)
        else:
            send(answer)
            send(body)
        event = context = result = body = answer = None


def _parse(text, what):
    if not text:
        return None
    import json

    try:
        return json.loads(text)
    except Exception as error:
        raise Fault("Runtime.LambdaContextUnmarshalError", "Unable to parse {} JSON: {}".format(what, error))


def _failed(error, request_id, id_bytes):
    """Log what was raised; the two parts of its ERROR frame. Called while the exception is being handled."""
    from . import faults

    if isinstance(error, Fault):
        found = faults.document(error.kind, error.text, error.trace, request_id)
    else:
        found = faults.from_exception(request_id)
    faults.log(found)
    body = faults.text_of(found)
    kind = found["errorType"].encode("utf-8", "replace")
    size = 5 + len(id_bytes) + len(kind) + len(body)
    return _HEAD.pack(size, ERROR, len(id_bytes)) + id_bytes + _SHORT.pack(len(kind)) + kind, body
