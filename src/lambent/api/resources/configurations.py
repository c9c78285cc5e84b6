"""A function's configuration in the API's words: read from a request, shown in an answer."""

from __future__ import annotations

import time
from typing import Any

from lambent.domain.names import runtime_version_arn
from lambent.functions.model import Configuration, FileSystem, FunctionVersion, Image, LayerReference, Vpc
from lambent.functions.wanted import Wanted, WantedDurable, WantedLogging, WantedVpc


def read_wanted(values: dict[str, Any]) -> Wanted:
    """The configuration members of CreateFunction and UpdateFunctionConfiguration, as given."""
    environment = values.get("Environment")
    architectures = values.get("Architectures")
    layers = values.get("Layers")
    file_systems = values.get("FileSystemConfigs")
    return Wanted(
        role=values.get("Role"),
        runtime=values.get("Runtime"),
        handler=values.get("Handler"),
        description=values.get("Description"),
        timeout_s=values.get("Timeout"),
        memory_mb=values.get("MemorySize"),
        ephemeral_mb=values.get("EphemeralStorage", {}).get("Size"),
        environment=None if environment is None else environment.get("Variables", {}),
        architecture=architectures[0] if architectures else None,
        package_type=values.get("PackageType"),
        tracing_mode=values.get("TracingConfig", {}).get("Mode"),
        snap_start=values.get("SnapStart", {}).get("ApplyOn"),
        logging=_read_logging(values.get("LoggingConfig")),
        layers=None if layers is None else tuple(layers),
        vpc=_read_vpc(values.get("VpcConfig")),
        dead_letter_arn=values.get("DeadLetterConfig", {}).get("TargetArn"),
        kms_key_arn=values.get("KMSKeyArn"),
        file_systems=None if file_systems is None else tuple(_read_file_system(one) for one in file_systems),
        image=_read_image(values.get("ImageConfig")),
        tenancy=values.get("TenancyConfig", {}).get("TenantIsolationMode"),
        durable=_read_durable(values.get("DurableConfig")),
    )


def show(version: FunctionVersion, qualifier: str | None, pinned: str | None = None) -> dict[str, Any]:
    """A FunctionConfiguration with its states. qualifier: what FunctionArn is to carry. pinned: the runtime version that
    the function is held at by its runtime management."""
    shown = show_in_list(version, qualifier)
    shown["State"] = version.state
    if version.state_reason is not None:
        shown["StateReason"] = version.state_reason
        shown["StateReasonCode"] = version.state_reason_code
    if version.update_status is not None:
        shown["LastUpdateStatus"] = version.update_status
    if version.update_reason is not None:
        shown["LastUpdateStatusReason"] = version.update_reason
        shown["LastUpdateStatusReasonCode"] = version.update_reason_code
    runtime = version.configuration.runtime
    if runtime is not None:
        arn = pinned or runtime_version_arn(version.ref.region, runtime)
        shown["RuntimeVersionConfig"] = {"RuntimeVersionArn": arn}
    return shown


def show_in_list(version: FunctionVersion, qualifier: str | None) -> dict[str, Any]:
    """The same as lists show it: without the six members of state and without the runtime's version."""
    ref, configuration, code = version.ref, version.configuration, version.code
    shown: dict[str, Any] = {
        "FunctionName": ref.name,
        "FunctionArn": ref.arn(qualifier),
        "Role": configuration.role,
        "CodeSize": code.size_bytes,
        "Description": configuration.description,
        "Timeout": configuration.timeout_s,
        "MemorySize": configuration.memory_mb,
        "LastModified": show_time(version.last_modified_ms),
        "CodeSha256": code.sha256_base64,
        "Version": version.version,
        "TracingConfig": {"Mode": configuration.tracing_mode},
        "RevisionId": version.revision_id,
        "PackageType": configuration.package_type,
        "Architectures": [configuration.architecture],
        "EphemeralStorage": {"Size": configuration.ephemeral_mb},
        "SnapStart": _show_snap_start(version),
        "LoggingConfig": _show_logging(configuration),
    }
    if configuration.runtime is not None:
        shown["Runtime"] = configuration.runtime
    if configuration.handler is not None:
        shown["Handler"] = configuration.handler
    _show_optional(configuration, shown)
    if code.signing_job_arn is not None:
        shown["SigningProfileVersionArn"] = code.signing_profile_arn
        shown["SigningJobArn"] = code.signing_job_arn
    return shown


def _show_optional(configuration: Configuration, shown: dict[str, Any]) -> None:
    """Members that are absent unless set."""
    if configuration.environment is not None:
        shown["Environment"] = {"Variables": dict(configuration.environment)}
    if configuration.vpc is not None:
        shown["VpcConfig"] = _show_vpc(configuration.vpc)
    if configuration.dead_letter_arn is not None:
        shown["DeadLetterConfig"] = {"TargetArn": configuration.dead_letter_arn}
    if configuration.kms_key_arn is not None:
        shown["KMSKeyArn"] = configuration.kms_key_arn
    if configuration.layers:
        shown["Layers"] = [_show_layer(layer) for layer in configuration.layers]
    if configuration.file_systems:
        shown["FileSystemConfigs"] = [_show_file_system(one) for one in configuration.file_systems]
    if configuration.image is not None:
        shown["ImageConfigResponse"] = {"ImageConfig": _show_image(configuration.image)}
    if configuration.tenancy is not None:
        shown["TenancyConfig"] = {"TenantIsolationMode": configuration.tenancy}
    if configuration.durable is not None:
        durable = configuration.durable
        shown["DurableConfig"] = _present(
            ExecutionTimeout=durable.execution_timeout_s,
            RetentionPeriodInDays=durable.retention_days,
            KMSKeyArn=durable.kms_key_arn,
        )


def _show_layer(layer: LayerReference) -> dict[str, Any]:
    return _present(
        Arn=layer.arn,
        CodeSize=layer.size_bytes,
        SigningProfileVersionArn=layer.signing_profile_arn,
        SigningJobArn=layer.signing_job_arn,
    )


def show_time(epoch_ms: int) -> str:
    """2025-11-25T02:26:54.123+0000, always UTC."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(epoch_ms // 1_000))}.{epoch_ms % 1_000:03d}+0000"


def _read_logging(values: dict[str, Any] | None) -> WantedLogging | None:
    if values is None:
        return None
    return WantedLogging(
        values.get("LogFormat"),
        values.get("ApplicationLogLevel"),
        values.get("SystemLogLevel"),
        values.get("LogGroup"),
    )


def _read_vpc(values: dict[str, Any] | None) -> WantedVpc | None:
    if values is None:
        return None
    return WantedVpc(
        tuple(values.get("SubnetIds", ())),
        tuple(values.get("SecurityGroupIds", ())),
        values.get("Ipv6AllowedForDualStack", False),
    )


def _read_file_system(values: dict[str, Any]) -> FileSystem:
    return FileSystem(values["Arn"], values["LocalMountPath"], values.get("S3FilesConfig", {}).get("DirectS3Read"))


def _read_image(values: dict[str, Any] | None) -> Image | None:
    if values is None:
        return None
    entry_point, command = values.get("EntryPoint"), values.get("Command")
    return Image(
        None if entry_point is None else tuple(entry_point),
        None if command is None else tuple(command),
        values.get("WorkingDirectory"),
    )


def _read_durable(values: dict[str, Any] | None) -> WantedDurable | None:
    if values is None:
        return None
    return WantedDurable(values.get("ExecutionTimeout"), values.get("RetentionPeriodInDays"), values.get("KMSKeyArn"))


def _show_snap_start(version: FunctionVersion) -> dict[str, str]:
    apply_on = version.configuration.snap_start
    optimised = version.is_snapshotted and version.snapshot_refusal is None
    return {"ApplyOn": apply_on, "OptimizationStatus": "On" if optimised else "Off"}


def _show_logging(configuration: Configuration) -> dict[str, Any]:
    logging = configuration.logging
    return _present(
        LogFormat=logging.format,
        ApplicationLogLevel=logging.application_level,
        SystemLogLevel=logging.system_level,
        LogGroup=logging.group,
    )


def _show_vpc(vpc: Vpc) -> dict[str, Any]:
    return {
        "SubnetIds": list(vpc.subnet_ids),
        "SecurityGroupIds": list(vpc.security_group_ids),
        "VpcId": vpc.vpc_id,
        "Ipv6AllowedForDualStack": vpc.ipv6_allowed,
    }


def _show_file_system(one: FileSystem) -> dict[str, Any]:
    shown: dict[str, Any] = {"Arn": one.arn, "LocalMountPath": one.local_mount_path}
    if one.direct_s3_read is not None:
        shown["S3FilesConfig"] = {"DirectS3Read": one.direct_s3_read}
    return shown


def _show_image(image: Image) -> dict[str, Any]:
    return _present(
        EntryPoint=None if image.entry_point is None else list(image.entry_point),
        Command=None if image.command is None else list(image.command),
        WorkingDirectory=image.working_directory,
    )


def _present(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
