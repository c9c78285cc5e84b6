"""Errors: the document that the caller gets and the lines that the log gets. Imported on the first error."""

import os
import sys
import time
import traceback

from . import values

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_NO_BREAK_SPACE = "\u00a0"


def document(kind, text, trace, request_id):
    """The error document's members in their published order."""
    return {
        "errorMessage": text or "",
        "errorType": kind or "",
        "requestId": request_id or "",
        "stackTrace": trace or [],
    }


def from_exception(request_id):
    """The document of the exception being handled, its stack without this package's own frames at the top."""
    kind, error, stack = sys.exc_info()
    frames = [(frame.filename, frame.lineno, frame.name, frame.line) for frame in traceback.extract_tb(stack)]
    for first, frame in enumerate(frames):
        if not frame[0].startswith(_HERE):
            frames = frames[first:]
            break
    return document(kind.__name__, str(error), traceback.format_list(frames), request_id)


def text_of(found):
    """The document as JSON bytes. A lone surrogate has no UTF-8 form; it becomes a question mark."""
    return values.encode_any(found).encode("utf-8", "replace")


def log(found):
    """Write the error to the log: one line of JSON, or one event of several lines that end in carriage returns."""
    if is_json():
        stamped = {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "level": "ERROR"}
        stamped.update(found)
        sys.stdout.write(values.encode_any(stamped) + "\n")
        return
    head = "[ERROR]"
    if found["errorType"]:
        head += " " + found["errorType"]
    if found["errorMessage"]:
        head += (": " if found["errorType"] else " ") + found["errorMessage"]
    lines = [head, "Traceback (most recent call last):"]
    for entry in found["stackTrace"]:
        lines.extend(map(_indent, entry.splitlines()) if entry else [""])
    sys.stdout.write("\r".join(lines) + "\n")


def _indent(line):
    """Log viewers swallow leading spaces; no-break spaces stay."""
    bare = line.lstrip(" ")
    return _NO_BREAK_SPACE * (len(line) - len(bare)) + bare


def is_json():
    """Whether the function's logs are to be JSON."""
    return (os.environ.get("AWS_LAMBDA_LOG_FORMAT") or "").upper() == "JSON"


INIT_WARNING = (
    "LAMBDA_WARNING: Unhandled exception. The most likely cause is an issue in the function code. "
    "However, in rare cases, a Lambda runtime update can cause unexpected function behavior. "
    "For functions using managed runtimes, runtime updates can be triggered by a function change, or can be applied "
    "automatically. To determine if the runtime has been updated, check the runtime version in the INIT_START log "
    "entry. If this error correlates with a change in the runtime version, you may be able to mitigate this error by "
    "temporarily rolling back to the previous runtime version. For more information, see "
    "https://docs.aws.amazon.com/lambda/latest/dg/runtimes-update.html\r"
)
"""The service's own words before an init error in the log."""
