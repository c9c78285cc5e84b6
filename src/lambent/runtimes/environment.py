"""The environment variables of a function.

Source: AWS Lambda Developer Guide, "Using Lambda environment variables" (defined runtime environment variables, reserved
and unreserved), and the values that functions see on the service. HOME is not set there, nor here.
"""

from __future__ import annotations

from collections.abc import Mapping

from lambent.domain.variables import RESERVED_VARIABLES
from lambent.sandbox.port import SANDBOX_API_ADDRESS

from .catalogue import Identifier
from .model import CHANNEL_DESCRIPTOR, LANGUAGE_DIR, RUNTIME_DIR, TASK_ROOT, VersionFacts

_PATH = "/usr/local/bin:/usr/bin/:/bin:/opt/bin"
_LIBRARIES = "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"
_XRAY_PORT = "2000"

_STARTED_BY_SHELL = ("python", "nodejs", "ruby", "dotnet")


def _unreserved(identifier: Identifier, facts: VersionFacts) -> dict[str, str]:
    """What the platform sets and an owner may set differently."""
    has_language_dir = identifier.name != "provided.al2"
    host = facts.api_address.rpartition(":")[0]
    env = {
        "TZ": ":UTC",
        "LANG": "en_US.UTF-8",
        "PATH": f"{LANGUAGE_DIR}/bin:{_PATH}" if has_language_dir else _PATH,
        "LD_LIBRARY_PATH": f"{LANGUAGE_DIR}/lib:{_LIBRARIES}" if has_language_dir else _LIBRARIES,
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": f"{host}:{_XRAY_PORT}",
        # Not on the service: it is how SDKs inside the function reach this platform.
        "AWS_ENDPOINT_URL": f"http://{facts.api_address}",
    }
    if facts.log_format == "JSON":
        env["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        env["AWS_LAMBDA_LOG_LEVEL"] = facts.log_level or "INFO"
    if identifier.family in _STARTED_BY_SHELL:
        env["PWD"] = TASK_ROOT
        env["SHLVL"] = "0"
    if identifier.family == "python":
        env["PYTHONPATH"] = RUNTIME_DIR
        if tuple(map(int, identifier.version.split("."))) >= (3, 12):
            env["LC_CTYPE"] = "C.UTF-8"
    elif identifier.family == "nodejs":
        env["NODE_PATH"] = (
            f"/opt/nodejs/node{identifier.version}/node_modules:/opt/nodejs/node_modules:"
            f"{RUNTIME_DIR}/node_modules:{RUNTIME_DIR}:{TASK_ROOT}"
        )
    return env


def _reserved(identifier: Identifier, facts: VersionFacts) -> dict[str, str]:
    """What only the platform sets."""
    host = facts.api_address.rpartition(":")[0]
    env = {
        "_HANDLER": facts.handler,
        "AWS_REGION": facts.region,
        "AWS_DEFAULT_REGION": facts.region,
        "AWS_LAMBDA_FUNCTION_NAME": facts.function_name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(facts.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": facts.version,
        "AWS_LAMBDA_INITIALIZATION_TYPE": facts.initialization_type,
        "AWS_LAMBDA_RUNTIME_API": facts.api_address,
        "LAMBDA_TASK_ROOT": TASK_ROOT,
        "LAMBDA_RUNTIME_DIR": RUNTIME_DIR,
        "_AWS_XRAY_DAEMON_ADDRESS": host,
        "_AWS_XRAY_DAEMON_PORT": _XRAY_PORT,
    }
    if identifier.family != "provided":
        env["AWS_EXECUTION_ENV"] = f"AWS_Lambda_{identifier.name}"
    if facts.initialization_type != "snap-start":
        env["AWS_LAMBDA_LOG_GROUP_NAME"] = facts.log_group
        env["AWS_LAMBDA_LOG_STREAM_NAME"] = facts.log_stream
    if facts.credentials_token is not None:
        env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"http://{facts.api_address}/2021-04-23/credentials"
        env["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = facts.credentials_token
    if facts.credentials is not None:
        env["AWS_ACCESS_KEY_ID"] = facts.credentials.access_key_id
        env["AWS_SECRET_ACCESS_KEY"] = facts.credentials.secret_access_key
        env["AWS_SESSION_TOKEN"] = facts.credentials.session_token
    return env


_NOT_FOR_EXTENSIONS = frozenset(
    (
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_XRAY_CONTEXT_MISSING",
        "AWS_XRAY_DAEMON_ADDRESS",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    )
)


def for_extensions(env: Mapping[str, str]) -> dict[str, str]:
    """What of a runtime's environment its external extensions have, too."""
    return {name: value for name, value in env.items() if not name.startswith("_") and name not in _NOT_FOR_EXTENSIONS}


_AT_START = ("PYTHON", "LD_", "NODE_", "LC_", "MALLOC_", "GLIBC_", "OPENSSL_", "UV_")
"""Beginnings of names that a program reads when it starts, and not again."""


def needs_fresh_start(own: Mapping[str, str]) -> bool:
    """Whether a function's own variables hold something that a runtime already started would not heed."""
    return any(name.startswith(_AT_START) or name in ("LANG", "LANGUAGE") for name in own)


_OF_NO_FUNCTION = (
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_RUNTIME_API",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
    "_AWS_XRAY_DAEMON_ADDRESS",
    "_AWS_XRAY_DAEMON_PORT",
)
"""Reserved variables that are the same for all functions: those that wait have them already."""


def waiting_variables(identifier: Identifier) -> dict[str, str]:
    """What a runtime starts with that has no function yet; everything else comes with the function."""
    facts = VersionFacts("", "", "", 0, "", "", "", SANDBOX_API_ADDRESS)
    env = _unreserved(identifier, facts)
    env |= {name: value for name, value in _reserved(identifier, facts).items() if name in _OF_NO_FUNCTION}
    return env | {
        "_LAMBENT_CHANNEL": str(CHANNEL_DESCRIPTOR),
        "_LAMBENT_WAITS": "1",
    }


def variables(identifier: Identifier, facts: VersionFacts, *, frames: bool) -> dict[str, str]:
    """The whole environment of the runtime process.

    An owner's variable wins over the platform's unreserved ones and loses to the reserved ones; names beginning with an
    underscore are dropped. `frames`: whether the runtime talks over the inherited channel, whose descriptor
    `_LAMBENT_CHANNEL` names.
    """
    env = _unreserved(identifier, facts)
    for name, value in facts.environment.items():
        if not name.startswith("_") and name not in RESERVED_VARIABLES:
            env[name] = value
    env.update(_reserved(identifier, facts))
    if frames:
        env["_LAMBENT_CHANNEL"] = str(CHANNEL_DESCRIPTOR)
    return env
