"""The documents a caller reads when the platform, not the handler, ends an attempt. Source: the published error types."""

from __future__ import annotations

import errno

import orjson

from ..sandbox.port import Exit

_SIGNALS = {
    1: "hangup",
    2: "interrupt",
    3: "quit",
    4: "illegal instruction",
    5: "trace/breakpoint trap",
    6: "aborted",
    7: "bus error",
    8: "floating point exception",
    9: "killed",
    10: "user defined signal 1",
    11: "segmentation fault",
    12: "user defined signal 2",
    13: "broken pipe",
    14: "alarm clock",
    15: "terminated",
    24: "CPU time limit exceeded",
    25: "file size limit exceeded",
    31: "bad system call",
}


def document(error_type: str, request_id: str, text: str) -> bytes:
    """`{"errorType":…,"errorMessage":"RequestId: … Error: …"}` as the service writes it."""
    return orjson.dumps({"errorType": error_type, "errorMessage": f"RequestId: {request_id} Error: {text}"})


def timed_out(request_id: str, timeout_s: float) -> bytes:
    """The answer to an invocation that ran into its function's timeout."""
    return document("Sandbox.Timedout", request_id, f"Task timed out after {timeout_s:.2f} seconds")


def describe_exit(exit_: Exit) -> tuple[str, str]:
    """(error type, text) of a runtime process that ended while a result was awaited."""
    if exit_.error:
        return describe_exec(exit_.error)
    if exit_.out_of_memory:
        return "Runtime.OutOfMemory", "Runtime exited with error: signal: killed"
    if exit_.signal is not None:
        name = _SIGNALS.get(exit_.signal, f"signal {exit_.signal}")
        return "Runtime.ExitError", f"Runtime exited with error: signal: {name}"
    if exit_.status:
        return "Runtime.ExitError", f"Runtime exited with error: exit status {exit_.status}"
    return "Runtime.ExitError", "Runtime exited without providing a reason"


def describe_exec(error: int, path: str = "/var/task/bootstrap") -> tuple[str, str]:
    """(error type, text) of a runtime that could not be executed at all."""
    if error == errno.EACCES:
        return "PermissionDenied", f"fork/exec {path}: permission denied"
    if error == errno.ENOEXEC:
        return "Runtime.InvalidEntrypoint", f"fork/exec {path}: exec format error"
    if error == errno.ENOENT:
        return "Runtime.InvalidEntrypoint", f"fork/exec {path}: no such file or directory"
    return "Runtime.InvalidEntrypoint", f"fork/exec {path}: errno {error}"


NO_BOOTSTRAP = ("Runtime.InvalidEntrypoint", "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]")
RESPONSE_TOO_LARGE = orjson.dumps(
    {
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    }
)
