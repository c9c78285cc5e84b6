"""The documents a caller reads when the platform, not the handler, ends an attempt. Source: the published error types."""

from __future__ import annotations

import errno
from typing import Any

import orjson

from ..domain.limits import INVOKE_RESPONSE_BYTES_MAX, STREAM_RESPONSE_BYTES_MAX
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


def describe_init(kind: str, detail: Any, request_id: str) -> tuple[str, bytes]:
    """(error type, document) of an init phase that did not end in `ready`.

    detail: with `error` these two, as the runtime said them; with `refused` and `extension` (error type, text); with `exit`
    how the program ended."""
    if kind == "error":
        error_type, body = detail
        return error_type, body
    error_type, text = detail if kind in ("refused", "extension") else describe_exit(detail)
    return error_type, document(error_type, request_id, text)


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


def describe_extension_exit(name: str, exit_: Exit) -> tuple[str, str]:
    """(error type, text) of an external extension that ended, or never ran, while its environment was to go on."""
    if exit_.error:
        _, text = describe_exec(exit_.error, f"/opt/extensions/{name}")
        return "Extension.LaunchError", text
    if exit_.signal is not None:
        return "Extension.Crash", f"signal: {_SIGNALS.get(exit_.signal, f'signal {exit_.signal}')}"
    return "Extension.Crash", f"exit status {exit_.status}" if exit_.status else "exit code 0"


def launch_error_type(error: int) -> str:
    """How the log calls the reason why an extension could not be executed."""
    return "PermissionDenied" if error == errno.EACCES else "UnknownError"


NO_BOOTSTRAP = ("Runtime.InvalidEntrypoint", "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]")


def _too_large(bytes_max: int) -> bytes:
    text = f"Response payload size exceeded maximum allowed payload size ({bytes_max} bytes)."
    return orjson.dumps({"errorMessage": text, "errorType": "Function.ResponseSizeTooLarge"})


RESPONSE_TOO_LARGE = _too_large(INVOKE_RESPONSE_BYTES_MAX)
STREAM_TOO_LARGE = _too_large(STREAM_RESPONSE_BYTES_MAX)
"""What a streamed response ends with that exceeds what may be streamed."""
