"""A runtime that forks itself into sandboxes, started once for many functions of one account.

Nothing of a function is ever here: what a copy needs to know comes over its own channel, after the fork. Everything that
two copies must not have in common is renewed in the copy, before any code but ours runs.
"""

import _imp
import gc
import os
import sys
from importlib.machinery import ModuleSpec

AHEAD = 2
"""Of the flags that a copy begins with: it is for nobody yet (FORK_AHEAD in launcher/fork/fork.h)."""


def serve(library):
    """Wait for orders and fork. Answers in each copy whether it is made ahead; ends the process when there is nobody left
    to serve.

    library: path of the fork object, a module that is never there: its import is the service, and fails with the answer.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # What a copy renews is there to be renewed: OpenSSL's generator, made anew in each copy, cost it half a millisecond.
    renew()
    # What is here now stays: a copy's collection need not look at it, and copies no page of it.
    gc.collect()
    gc.freeze()
    try:
        _imp.create_dynamic(ModuleSpec("lambent_fork", None, origin=library))
        flags = -1
    except ImportError as told:
        flags = int(told.msg)
    if flags < 0:
        os._exit(0)
    renew()
    return bool(flags & AHEAD)


def renew():
    """What copies of one process would have in common."""
    modules = sys.modules
    if "ssl" in modules:
        # It knows a fork by the process id, which differs for that reason. Both, because one that repeats is a disaster.
        modules["ssl"].RAND_add(os.urandom(48), 48.0)
    if "random" in modules:
        modules[
            "random"
        ].seed()  # from the system; instances that modules of the library keep see the fork by themselves
    if "tempfile" in modules:
        modules["tempfile"]._name_sequence = None
    if "uuid" in modules:
        modules["uuid"]._last_timestamp = None
    if "logging" in modules:
        # `relativeCreated` counts from here, in the unit of this version.
        logging, time = modules["logging"], modules["time"]
        logging._startTime = time.time_ns() if isinstance(logging._startTime, int) else time.time()
