"""The context object that a handler gets as its second argument.

Field names and types: AWS Lambda Developer Guide, "Using the Lambda context object to retrieve Python function
information". `memory_limit_in_mb` is a string there, too.
"""

import os
import sys
from time import time

_W3C_FIELDS = ("traceparent", "tracestate", "baggage")


class Record:
    """What log lines carry of the invocation in hand; one for the whole process."""

    request_id = None
    tenant_id = None


class _Value:
    __slots__ = ()

    def __init__(self, given):
        for name in self.__slots__:
            setattr(self, name, given.get(name, None))

    def __repr__(self):
        fields = ",".join("{}={}".format(name, getattr(self, name)) for name in self.__slots__)
        return "{}([{}])".format(type(self).__name__, fields)


class CognitoIdentity(_Value):
    __slots__ = ["cognito_identity_id", "cognito_identity_pool_id"]


class Client(_Value):
    __slots__ = ["installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name"]


class ClientContext(_Value):
    __slots__ = ["custom", "env", "client"]


class LambdaContext(object):
    """One invocation as its handler sees it."""

    def __init__(self, facts, request_id, deadline_ms, arn, client_context, cognito_identity, tenant_id):
        members = self.__dict__
        members["aws_request_id"] = request_id
        members.update(facts)
        members["invoked_function_arn"] = arn
        members["tenant_id"] = tenant_id
        members["_w3c_fields"] = _take_w3c(client_context)
        if client_context is not None:
            client_context = ClientContext(client_context)
            if client_context.client is not None:
                client_context.client = Client(client_context.client)
        members["client_context"] = client_context
        members["identity"] = identity = CognitoIdentity({})
        if cognito_identity is not None:
            identity.cognito_identity_id = cognito_identity.get("cognitoIdentityId")
            identity.cognito_identity_pool_id = cognito_identity.get("cognitoIdentityPoolId")
        members["_epoch_deadline_time_in_ms"] = deadline_ms

    def get_remaining_time_in_millis(self):
        """Milliseconds until the invocation times out, never below 0."""
        left_ms = self._epoch_deadline_time_in_ms - int(time() * 1000)
        return left_ms if left_ms > 0 else 0

    def w3c(self):
        """The trace context fields that came with the invocation."""
        return dict(self._w3c_fields)

    def log(self, msg):
        """Write to the function's log as it is, through the root log handler where logging is in use."""
        logging = sys.modules.get("logging")
        for handler in logging.getLogger().handlers if logging is not None else ():
            if hasattr(handler, "log_sink"):
                handler.log_sink.log(str(msg))
                return
        sys.stdout.write(str(msg))

    def __repr__(self):
        fields = ",".join("{}={}".format(name, getattr(self, name)) for name in _SHOWN)
        return "{}([{}])".format(type(self).__name__, fields)


_SHOWN = (
    "aws_request_id",
    "log_group_name",
    "log_stream_name",
    "function_name",
    "memory_limit_in_mb",
    "function_version",
    "invoked_function_arn",
    "client_context",
    "identity",
    "tenant_id",
)


def facts():
    """The fields that are the same for every invocation, read from the environment once."""
    get = os.environ.get
    return {
        "log_group_name": get("AWS_LAMBDA_LOG_GROUP_NAME"),
        "log_stream_name": get("AWS_LAMBDA_LOG_STREAM_NAME"),
        "function_name": get("AWS_LAMBDA_FUNCTION_NAME"),
        "memory_limit_in_mb": get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
        "function_version": get("AWS_LAMBDA_FUNCTION_VERSION"),
    }


def _take_w3c(client_context):
    """Trace context travels in the client context, but is not part of what the handler sees there."""
    if type(client_context) is not dict or "w3c" not in client_context:
        return {}
    given = client_context.pop("w3c")
    if not isinstance(given, dict):
        return {}
    return {name: given[name] for name in _W3C_FIELDS if isinstance(given.get(name), str)}
