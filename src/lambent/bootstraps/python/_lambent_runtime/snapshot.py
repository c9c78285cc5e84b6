"""A template: a process that has initialised its function and waits to be copied. Imported under SnapStart alone.

It says what of it could not be copied, waits in a plain read of its channel, and is stopped there for good; whoever
returns from that read is a copy, in a sandbox of its own, with a channel of its own. Random state that the process would
share with its siblings is made anew; what the function itself computed is the function's to renew, in its hooks.
"""

import gc
import os
import sys
from struct import Struct

SNAPSHOT, RESTORE, REHEARSE = 20, 21, 22
SAID_MAX = 8
"""Obstacles that are named; there may be hundreds of the same kind."""

_HEAD = Struct("<IB")
_READ_ONLY = ("/usr/", "/var/", "/opt/", "/lib", "/etc/")


def hold(channel, streams):
    """Return in a copy."""
    from . import values

    gc.collect()
    gc.freeze()  # a later collection looks at none of it, and copies no page
    said = values.encode_any(obstacles()[:SAID_MAX]).encode("utf-8", "replace")
    for stream in streams:
        stream.flush()
    channel.send(_HEAD.pack(1 + len(said), SNAPSHOT) + said)
    while True:
        kind = os.read(channel.descriptor, _HEAD.size)[4:]
        if kind == bytes((RESTORE,)):
            return
        if kind != bytes((REHEARSE,)):
            raise SystemExit(0)  # the platform has gone, or has no use for a template
        rehearse()


def rehearse():
    """In a copy that was made ahead: run what a restore and an invocation run, so that the pages are its own by then."""
    from . import context as contexts
    from . import values

    renew()
    for _ in range(3):
        context = contexts.LambdaContext(contexts.facts(), "rehearsal", 0, None, None, None, None)
        context.get_remaining_time_in_millis()
        values.encode(values.decode('{"a": [1, 2.5, "b", null]}')).encode()
    sys.stdout.flush()
    sys.stderr.flush()


def obstacles():
    """What a copy would share with its siblings, or be without, in words for the function's owner."""
    found = []
    own = str(os.getpid())
    names = {}
    threading = sys.modules.get("threading")
    if threading is not None:
        names = {str(getattr(one, "native_id", None)): one.name for one in threading.enumerate()}
    for task in os.listdir("/proc/self/task"):
        if task != own:
            found.append("a thread named %s" % (names.get(task) or _read("/proc/self/task/%s/comm" % task)))
    children = _read("/proc/self/task/%s/children" % own).split()
    found.extend("a child process, %s" % _read("/proc/%s/comm" % child) for child in children)
    for number in sorted(map(int, os.listdir("/proc/self/fd"))):
        if number > 3:
            found.extend(_descriptor(number))
    for line in _read("/proc/self/maps").splitlines():
        parts = line.split(None, 5)
        path = parts[5] if len(parts) > 5 else ""
        if parts[1][3] == "s" and (parts[1][1] == "w" or not path.startswith(_READ_ONLY)):
            found.append("memory that is shared, %s" % (path or "of no file"))
    left = os.listdir("/tmp")
    if left:
        found.append("files in /tmp, %s among them" % left[0])
    return found


def _descriptor(number):
    try:
        target = os.readlink("/proc/self/fd/%d" % number)
    except OSError:
        return []  # that of the listing itself
    if target in ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"):
        return []
    if target.startswith(_READ_ONLY) and "/libffi.so" in target:
        return []  # it opens itself when ctypes is imported, and copies go on with it
    if target.startswith("socket:["):
        return [_socket(target[8:-1])]
    return ["an open file, %s" % target]


def _socket(inode):
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for line in _read("/proc/self/net/" + kind).splitlines()[1:]:
            fields = line.split()
            if fields[9] == inode:
                return "a %s socket, connected to %s" % (kind[:3].upper(), _address(fields[2]))
    return "a socket"


def _address(text):
    host, port = text.split(":")
    data = bytes.fromhex(host)
    words = [data[at : at + 4][::-1] for at in range(0, len(data), 4)]
    if len(words) == 1:
        return "%s:%d" % (".".join(map(str, words[0])), int(port, 16))
    import socket

    return "[%s]:%d" % (socket.inet_ntop(socket.AF_INET6, b"".join(words)), int(port, 16))


def _read(path):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def renew():
    """Random state and identities that copies may not have in common."""
    modules = sys.modules
    if "random" in modules:
        modules["random"].seed()
    ssl = modules.get("ssl") or modules.get("_ssl")
    if ssl is not None:
        ssl.RAND_add(os.urandom(48), 48.0)
    if "numpy.random" in modules:
        modules["numpy.random"].seed()
    if "uuid" in modules:
        modules["uuid"]._node = None
        modules["uuid"]._last_timestamp = None
    if "tempfile" in modules:
        modules["tempfile"]._name_sequence = None
    process = modules.get("multiprocessing.process")
    if process is not None:
        process.current_process().authkey = os.urandom(32)
    threading = modules.get("threading")
    if threading is not None:
        main = threading.main_thread()
        if hasattr(main, "_set_native_id"):
            main._set_native_id()
