"""What a function may be given: the service's parameter rules and messages, and how an update merges.

The order of checks is part of the contract. `check_request` needs nothing but the request; `new_configuration` and
`updated` decide with the function's name or its stored configuration in hand. All raise the domain's errors.
Source: the published API documentation and the service's own messages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from ..domain.egress import BadEgress, function_layer
from ..domain.errors import InvalidParameterValue, ValidationFailed
from ..domain.limits import (
    ENVIRONMENT_JSON_BYTES_MAX,
    EPHEMERAL_MB_DEFAULT,
    EPHEMERAL_MB_MAX,
    FUNCTION_NAME_CHARS_MAX,
    MEMORY_MB_MAX,
    TIMEOUT_S_MAX,
)
from ..domain.names import FunctionRef, Scope
from ..domain.variables import RESERVED_VARIABLES
from .attaching import NO_LAYERS, LayerIndex, attached
from .model import (
    EGRESS_LIST_VARIABLE,
    EGRESS_VARIABLE,
    PRELOAD_VARIABLE,
    PRELOADS,
    RUNTIME_CLIENT_VARIABLE,
    RUNTIME_CLIENTS,
    WEB_ADAPTER_VARIABLE,
    WEB_ADAPTERS,
    Configuration,
    Durable,
    Image,
    Logging,
    Vpc,
)
from .runtime_values import SNAP_START, check_runtime
from .tenancy import refuse_isolated
from .wanted import Wanted, WantedDurable, WantedLogging, WantedVpc

_DEAD_LETTER = re.compile(r"arn:[^:]+:(sqs|sns):.*(?<!\.fifo)")


def check_name(text: str) -> None:
    """The 64-character limit of a bare name on creation (names inside ARNs are bounded by the model, then by this)."""
    name = text.rsplit("function:", 1)[-1].split(":", 1)[0]
    if len(name) > FUNCTION_NAME_CHARS_MAX:
        raise InvalidParameterValue(
            f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: "
            f"Member must have length less than or equal to {FUNCTION_NAME_CHARS_MAX}"
        )


def check_request(wanted: Wanted, scope: Scope, caller_arn: str, layers: LayerIndex = NO_LAYERS) -> Wanted:
    """The checks that come before anybody looks at the function: environment, layers, runtime, ranges.

    Answers what is wanted with its layers looked up.
    """
    if wanted.environment is not None:
        check_environment(wanted.environment)
    if wanted.layers is not None:
        wanted = replace(wanted, attached=attached(wanted.layers, scope, caller_arn, layers))
    if wanted.runtime is not None and wanted.package_type != "Image":
        check_runtime(wanted.runtime)
    if wanted.memory_mb is not None and wanted.memory_mb > MEMORY_MB_MAX:
        raise InvalidParameterValue(_too_large("'MemorySize' value", MEMORY_MB_MAX))
    if wanted.timeout_s is not None and wanted.timeout_s > TIMEOUT_S_MAX:
        raise InvalidParameterValue(_too_large("'Timeout' value", TIMEOUT_S_MAX))
    if wanted.ephemeral_mb is not None and wanted.ephemeral_mb > EPHEMERAL_MB_MAX:
        # The model allows more, with accelerators only.
        value = f"Value '{wanted.ephemeral_mb}' at 'ephemeralStorage.size'"
        raise ValidationFailed(f"1 validation error detected: {_too_large(value, EPHEMERAL_MB_MAX)}")
    return wanted


def check_environment(variables: Mapping[str, str]) -> None:
    """Reserved names, the 4 KB measured on the compact JSON, and our own variable's values."""
    prefix = "Lambda was unable to configure your environment variables because the environment variables you have "
    reserved = [name for name in variables if name in RESERVED_VARIABLES]
    if reserved:
        raise InvalidParameterValue(
            f"{prefix}provided contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    measured = orjson.dumps(dict(variables))
    if len(measured) > ENVIRONMENT_JSON_BYTES_MAX:
        raise InvalidParameterValue(f"{prefix}provided exceeded the 4KB limit. String measured: {measured.decode()}")
    client = variables.get(RUNTIME_CLIENT_VARIABLE)
    if client is not None and client not in RUNTIME_CLIENTS:
        raise InvalidParameterValue(
            f"The environment variable {RUNTIME_CLIENT_VARIABLE} chooses the runtime client: "
            f"{' or '.join(RUNTIME_CLIENTS)}, not {client!r}."
        )
    preload = variables.get(PRELOAD_VARIABLE)
    if preload is not None and preload not in PRELOADS:
        raise InvalidParameterValue(
            f"The environment variable {PRELOAD_VARIABLE} is {' or '.join(PRELOADS)}, not {preload!r}."
        )
    adapter = variables.get(WEB_ADAPTER_VARIABLE)
    if adapter is not None and adapter not in WEB_ADAPTERS:
        raise InvalidParameterValue(
            f"The environment variable {WEB_ADAPTER_VARIABLE} is {', '.join(WEB_ADAPTERS[:-1])} or {WEB_ADAPTERS[-1]}, "
            f"not {adapter!r}."
        )
    if adapter is not None and client == "official":
        raise InvalidParameterValue(
            f"{WEB_ADAPTER_VARIABLE} is what Lambent's own runtime client does: leave {RUNTIME_CLIENT_VARIABLE} out."
        )
    try:
        function_layer(variables.get(EGRESS_VARIABLE), variables.get(EGRESS_LIST_VARIABLE))
    except BadEgress as error:
        raise InvalidParameterValue(
            f"The environment variables {EGRESS_VARIABLE} and {EGRESS_LIST_VARIABLE} say where a function may connect "
            f"to: {error}."
        ) from None


def check_package(wanted: Wanted) -> str:
    """Whether a creation's runtime, handler and layers go with its package type; answers Zip or Image."""
    package_type = wanted.package_type or "Zip"
    if package_type == "Zip" and (wanted.runtime is None or wanted.handler is None):
        raise InvalidParameterValue(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages."
        )
    if package_type == "Image" and (wanted.runtime or wanted.handler or wanted.layers):
        raise InvalidParameterValue(
            "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image."
        )
    return package_type


def new_configuration(ref: FunctionRef, wanted: Wanted) -> Configuration:
    """The configuration of a function to be created, complete with defaults."""
    package_type = check_package(wanted)
    if wanted.role is None:
        raise ValidationFailed(
            "1 validation error detected: Value null at 'role' failed to satisfy constraint: Member must not be null"
        )
    empty = Configuration(
        role=wanted.role,
        runtime=wanted.runtime,
        handler=wanted.handler,
        logging=Logging("Text", None, None, f"/aws/lambda/{ref.name}"),
        package_type=package_type,
    )
    durable = None if wanted.durable is None else _new_durable(wanted.durable)
    return _settle(replace(empty, durable=durable, tenancy=wanted.tenancy), replace(wanted, durable=None, tenancy=None))


def updated(stored: Configuration, wanted: Wanted) -> Configuration:
    """`stored` with what is wanted merged in, member by member as the API documents it."""
    if wanted.durable is not None:
        stored = replace(stored, durable=_changed_durable(stored.durable, wanted.durable))
        wanted = replace(wanted, durable=None)
    if stored.package_type == "Image" and (wanted.runtime or wanted.handler or wanted.layers):
        raise InvalidParameterValue(
            "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image."
        )
    return _settle(stored, wanted)


def _settle(stored: Configuration, wanted: Wanted) -> Configuration:
    """Merge, then check what only the whole configuration can tell."""
    apart = ("logging", "layers", "attached", "vpc", "image")
    members: dict[str, Any] = {name: value for name, value in wanted.given().items() if name not in apart}
    for name in ("dead_letter_arn", "kms_key_arn"):
        if members.get(name) == "":
            members[name] = None
    if wanted.attached is not None:
        members["layers"] = wanted.attached
    if wanted.logging is not None:
        members["logging"] = _merged_logging(stored.logging, wanted.logging)
    if wanted.vpc is not None:
        members["vpc"] = _new_vpc(stored.vpc, wanted.vpc)
    if wanted.image is not None:
        members["image"] = _new_image(stored, wanted.image)
    merged = replace(stored, **members)
    _check_whole(merged)
    return merged


def _check_whole(configuration: Configuration) -> None:
    if configuration.snap_start == "PublishedVersions":
        _check_snap_start(configuration)
    arn = configuration.dead_letter_arn
    if arn is not None and _DEAD_LETTER.fullmatch(arn) is None:
        raise InvalidParameterValue(
            f"DeadLetterConfig.TargetArn names a standard SQS queue or a standard SNS topic, not {arn}"
        )
    for one in configuration.file_systems:
        if one.direct_s3_read is not None and ":s3files:" not in one.arn:
            raise InvalidParameterValue(
                f"S3FilesConfig is only valid for an access point of Amazon S3 Files, not for {one.arn}"
            )
    if configuration.file_systems and not (configuration.vpc and configuration.vpc.subnet_ids):
        raise InvalidParameterValue("FileSystemConfigs needs a VpcConfig with subnets and security groups.")


def _check_snap_start(configuration: Configuration) -> None:
    if configuration.package_type == "Zip" and configuration.runtime not in SNAP_START:
        raise InvalidParameterValue(f"{configuration.runtime} is not supported for SnapStart enabled functions.")
    if configuration.ephemeral_mb > EPHEMERAL_MB_DEFAULT:
        raise InvalidParameterValue(
            f"SnapStart is not supported for functions with more than {EPHEMERAL_MB_DEFAULT} MB of ephemeral storage."
        )
    if configuration.file_systems:
        raise InvalidParameterValue("SnapStart is not supported for functions with file systems.")
    refuse_isolated(configuration, "SnapStart")


def _merged_logging(stored: Logging, wanted: WantedLogging) -> Logging:
    form = wanted.format or stored.format
    if form == "Text":
        if wanted.application_level is not None or wanted.system_level is not None:
            raise InvalidParameterValue(
                'LogLevel is not supported when LogFormat is set to "Text". '
                'Remove LogLevel from your request or change the LogFormat to "JSON" and try again.'
            )
        return Logging("Text", None, None, wanted.group or stored.group)
    return Logging(
        "JSON",
        wanted.application_level or stored.application_level or "INFO",
        wanted.system_level or stored.system_level or "INFO",
        wanted.group or stored.group,
    )


def _new_vpc(stored: Vpc | None, wanted: WantedVpc) -> Vpc | None:
    if bool(wanted.subnet_ids) != bool(wanted.security_group_ids):
        raise InvalidParameterValue("SubnetIds and SecurityIds must coexist or be both empty list.")
    if stored is None and not wanted.subnet_ids:
        return None  # nothing to detach from
    return Vpc(wanted.subnet_ids, wanted.security_group_ids, wanted.ipv6_allowed)


def _new_image(stored: Configuration, wanted: Image) -> Image | None:
    given = Image(wanted.entry_point or None, wanted.command or None, wanted.working_directory or None)
    if given == Image():
        return None
    if stored.package_type != "Image":
        raise InvalidParameterValue("ImageConfig is only supported for functions with PackageType Image.")
    return given


def _new_durable(wanted: WantedDurable) -> Durable:
    if wanted.execution_timeout_s is None:
        raise InvalidParameterValue(
            "You cannot create a function with a durable configuration without an executionTimeout"
        )
    return Durable(wanted.execution_timeout_s, wanted.retention_days, wanted.kms_key_arn)


def _changed_durable(stored: Durable | None, wanted: WantedDurable) -> Durable:
    if stored is None:
        raise InvalidParameterValue(
            "DurableConfig can only be given when a function is created; this function was created without one."
        )
    return Durable(
        wanted.execution_timeout_s or stored.execution_timeout_s,
        wanted.retention_days or stored.retention_days,
        stored.kms_key_arn if wanted.kms_key_arn is None else wanted.kms_key_arn or None,
    )


def _too_large(subject: str, most: int) -> str:
    return f"{subject} failed to satisfy constraint: Member must have value less than or equal to {most}"
