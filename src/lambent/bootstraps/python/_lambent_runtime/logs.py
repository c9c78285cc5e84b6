"""The root log handler of a managed runtime. Imported, and `configure` called, once the function imports `logging`."""

import logging
import os
import sys
import time

from .context import Record
from .faults import is_json

_TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_LINE_FORMAT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
_STANDARD_FIELDS = frozenset(
    "name msg args levelname levelno pathname filename module exc_info exc_text stack_info lineno funcName created "
    "msecs relativeCreated thread threadName processName process aws_request_id tenant_id _frame_type".split()
)


class LogSink(object):
    """Where finished lines go: whatever standard output is at that moment."""

    def log(self, msg, frame_type=None):
        sys.stdout.write(msg)


class LambdaLoggerHandler(logging.Handler):
    def __init__(self, log_sink):
        logging.Handler.__init__(self)
        self.log_sink = log_sink

    def emit(self, record):
        self.log_sink.log(self.format(record))


class LambdaLoggerFilter(logging.Filter):
    """Adds what the formats need of the current invocation."""

    def filter(self, record):
        record.aws_request_id = Record.request_id or ""
        record.tenant_id = Record.tenant_id
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a record; `extra` members are added, members without a value stay away."""

    def __init__(self):
        import json

        logging.Formatter.__init__(self, datefmt=_TIME_FORMAT)
        # What JSON has no form for is written as its text: a log line is never lost over it.
        self._encode = json.JSONEncoder(ensure_ascii=False, default=str).encode

    def format(self, record):
        record.levelno = min(50, max(0, record.levelno)) // 10 * 10
        record.levelname = logging.getLevelName(record.levelno)
        members = {
            "timestamp": self.formatTime(record, self.datefmt),
            "level": record.levelname,
            "message": record.msg if isinstance(record.msg, dict) and not record.args else record.getMessage(),
            "logger": record.name,
        }
        failure = record.exc_info
        if failure:
            import traceback

            members["stackTrace"] = traceback.format_tb(failure[2])
            members["errorType"] = failure[0].__name__ if failure[0] else None
            members["errorMessage"] = str(failure[1])
        members["requestId"] = getattr(record, "aws_request_id", None)
        if failure:
            members["location"] = "{}:{}:{}".format(record.pathname, record.funcName, record.lineno)
        members["tenantId"] = getattr(record, "tenant_id", None)
        for name, value in record.__dict__.items():
            if name not in _STANDARD_FIELDS and name not in members:
                members[name] = value
        return self._encode({name: value for name, value in members.items() if value is not None}) + "\n"


def configure():
    """Give the root logger its handler, format and level (WARNING unless AWS_LAMBDA_LOG_LEVEL says otherwise)."""
    logging.Formatter.converter = time.gmtime
    handler = LambdaLoggerHandler(LogSink())
    handler.setFormatter(JsonFormatter() if is_json() else logging.Formatter(_LINE_FORMAT, "%Y-%m-%dT%H:%M:%S"))
    handler.addFilter(LambdaLoggerFilter())
    level = (os.environ.get("AWS_LAMBDA_LOG_LEVEL") or "").upper()
    level = "DEBUG" if level == "TRACE" else level
    root = logging.getLogger()
    if level in logging._nameToLevel:
        root.setLevel(level)
    root.addHandler(handler)


def reconfigure():
    """The same once more, for a function that asks for another format or level than it was done with."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.setLevel(logging.WARNING)
    configure()
