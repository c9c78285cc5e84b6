"""A runtime that waits for its function, or a zygote whose copies do.

Everything that needs no function is done before one comes, and rehearsed: what an init phase and an invocation touch is
then in memory, and in a copy it is the copy's own.
"""

import gc
import json
import os
import sys
import time

from . import context as contexts
from . import logs, loop

PRELOADED = (
    "json logging datetime decimal re base64 hashlib hmac uuid random collections functools itertools enum dataclasses "
    "typing pathlib tempfile traceback urllib.parse urllib.request http.client ssl socket"
).split()
"""What most functions import: a runtime that waits for its function has it loaded already."""

SDK = "boto3 botocore.auth botocore.client botocore.endpoint botocore.httpsession botocore.session s3transfer".split()
"""What the SDK's flavour has loaded beside that."""

_SDK_PARTS = frozenset("boto3 botocore s3transfer jmespath dateutil six urllib3".split())
"""Who brings one of them brings its own SDK: nothing of the preloaded one is kept."""
_kept = []
"""What is not needed any more and not given back: that would write to every page that its parts lie on."""
_WAITING = b"\1\0\0\0\x0c"
_ASSIGNED_ELSEWHERE = "_LAMBENT_CHANNEL", "_LAMBENT_LAYERS", "_LAMBENT_SDK"
"""Of a function's start, what a runtime that waited had when it started."""


class Preloaded:
    """What was loaded while waiting, by top-level name; the runtime relies on the rest."""

    def __init__(self, before):
        self.names = {}
        for name in sys.modules:
            top = name.partition(".")[0]
            if name not in before and top not in loop.OWN_IMPORTS:
                self.names.setdefault(top, []).append(name)

    def forget_shipped(self, directories):
        """Modules that were loaded while waiting do not take the place of the function's own."""
        brings_sdk = False
        for directory in directories:
            try:
                shipped = os.listdir(directory)
            except OSError:
                continue  # no layer brings such a directory
            for file in shipped:
                top = file.partition(".")[0]
                brings_sdk = brings_sdk or top in _SDK_PARTS
                self._forget(top)
        if brings_sdk and "botocore" in self.names:
            for top in _SDK_PARTS:
                self._forget(top)

    def _forget(self, top):
        for name in self.names.get(top, ()):
            sys.modules.pop(name, None)


def wait(channel, environ, forks):
    """Get ready for whatever function comes, then take its environment; ends the process where the platform has gone.

    forks: the fork object of a zygote, which goes on in its copies alone; None: this very process waits.
    """
    before = set(sys.modules)
    _kept.append(before)
    for name in PRELOADED:
        __import__(name)
    from . import faults  # noqa: F401

    if forks is not None:
        from . import zygote
    preloads_sdk = environ.pop("_LAMBENT_PRELOAD_SDK", None) is not None
    loop.prepare_interpreter(environ)
    if preloads_sdk:
        for name in SDK:
            __import__(name)
    preloaded = Preloaded(before)
    _kept.append(preloaded)
    logs.configure()
    _rehearse(environ, preloaded)
    if forks is None:
        _settle()
        channel.send(_WAITING)
    else:
        channel.send(_WAITING)
        if zygote.serve(forks):
            _rehearse(environ, preloaded)
            _settle()
            channel.send(_WAITING)
    frame = channel.receive()
    if frame[4] != loop.ASSIGN:
        raise SystemExit("lambent: a frame of type %d where an assignment was expected" % frame[4])
    _become(frame, environ, preloaded)


def _settle():
    """What is here now stays: a later collection need not look at it, and copies no page of it."""
    gc.collect()
    gc.freeze()


def _become(frame, environ, preloaded):
    """Take the variables, the directory and the modules of the function that was assigned."""
    assigned = json.loads(frame[5:].decode())
    env = assigned["env"]
    for name in _ASSIGNED_ELSEWHERE:
        env.pop(name, None)
    if "LC_CTYPE" in environ:  # by the interpreter itself, where the locale that is asked for is not there
        env.setdefault("LC_CTYPE", environ["LC_CTYPE"])
    _set_variables(environ, env)
    os.chdir(assigned["cwd"])
    task = env.get("LAMBDA_TASK_ROOT", "/var/task")
    # What was looked up while nothing was there is not remembered. The first is seeded: nobody has to ask whether it is a
    # zip file.
    directories = sys.path[:3]
    for directory in directories:
        sys.path_importer_cache.pop(directory, None)
    sys.path_importer_cache[task] = sys.path_hooks[-1](task)
    preloaded.forget_shipped(directories)
    if env.get("AWS_LAMBDA_LOG_FORMAT") or env.get("AWS_LAMBDA_LOG_LEVEL"):
        logs.reconfigure()


def _set_variables(environ, env):
    zone = environ.get("TZ")
    for name in [name for name in environ if name not in env]:
        del environ[name]
    for name, value in env.items():
        if environ.get(name) != value:
            environ[name] = value
    if env.get("TZ") != zone:
        time.tzset()


def _rehearse(environ, preloaded):
    """Run what an init phase and an invocation run, on a channel of its own, and undo what they leave behind."""
    import socket

    kept = dict(environ)
    ours, theirs = socket.socketpair()
    streams = sys.stdout, sys.stderr
    event, request_id = b'{"a": [1, 2.5, "b", null]}', b"rehearsal"
    size = loop.EVENT.size - 4 + len(request_id) + len(event)
    invoke = loop.EVENT.pack(size, loop.INVOKE, 0, len(request_id), 0, 0, 0, 0, 0) + request_id + event
    try:
        for _ in range(3):
            env = {"_LAMBENT_REHEARSAL_%d" % number: "x" * 24 for number in range(28)}
            assigned = json.dumps({"env": dict(kept, **env), "cwd": "/"}).encode()
            _become(b"12345" + assigned, environ, preloaded)
            handler = loop.find_without_bytecode("_lambent_runtime.source_only.handler")
            ours.sendall(invoke)
            serving = loop.Channel(theirs.fileno())
            serving.receive = _once(serving.receive)
            try:
                loop.serve(serving, handler, streams)
            except EOFError:
                pass
            del sys.modules["_lambent_runtime.source_only"]
            ours.recv(65536)
    finally:
        ours.close()
        theirs.close()
        contexts.Record.request_id = contexts.Record.tenant_id = None
        _set_variables(environ, kept)


def _once(receive):
    """As `receive`, the first time; then the end."""
    calls = [receive]

    def limited():
        if not calls:
            raise EOFError
        return calls.pop()()

    return limited
