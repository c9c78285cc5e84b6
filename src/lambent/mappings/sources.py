"""The sources of event source mappings as tables: what each needs, takes, fills in and shows.

A source's region and account are not compared with the mapping's: its ARN is a name, and where it leads is for whoever
polls. A broker's ARN does not tell RabbitMQ from ActiveMQ, so VIRTUAL_HOST is taken for both and required for neither.
Source: API documentation of CreateEventSourceMapping, by parameter; Developer guide, by source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .model import Kind

PARAMETERS: Mapping[str, str] = {
    "source_arn": "eventSourceArn",
    "bootstrap_servers": "selfManagedEventSource",
    "batch_size": "batchSize",
    "filters": "filterCriteria",
    "kms_key_arn": "kmsKeyArn",
    "metrics": "metricsConfig",
    "log_level": "loggingConfig",
    "scaling": "scalingConfig",
    "window_s": "maximumBatchingWindowInSeconds",
    "parallelization": "parallelizationFactor",
    "starting_position": "startingPosition",
    "starting_ms": "startingPositionTimestamp",
    "on_failure": "destinationConfig",
    "record_age_s": "maximumRecordAgeInSeconds",
    "bisect": "bisectBatchOnFunctionError",
    "retries": "maximumRetryAttempts",
    "tumbling_window_s": "tumblingWindowInSeconds",
    "topics": "topics",
    "queues": "queues",
    "access": "sourceAccessConfigurations",
    "response_types": "functionResponseTypes",
    "msk": "amazonManagedKafkaEventSourceConfig",
    "kafka": "selfManagedKafkaEventSourceConfig",
    "document_db": "documentDBEventSourceConfig",
    "pollers": "provisionedPollerConfig",
}
"""Settings by field, as refusals name them, in the model's order: the first wrong one is the one refused."""

_EVERYWHERE = frozenset({"batch_size", "filters", "kms_key_arn", "window_s"})
_SQS_ARN = re.compile(r"arn:[^:]+:sqs:[^:]+:[^:]+:[^:/]+")
_ARNS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    (Kind.SQS_FIFO, re.compile(_SQS_ARN.pattern + r"\.fifo")),
    (Kind.SQS, _SQS_ARN),
    (Kind.KINESIS_CONSUMER, re.compile(r"arn:[^:]+:kinesis:[^:]+:[^:]+:stream/[^:/]+/consumer/[^:/]+:\d+")),
    (Kind.KINESIS, re.compile(r"arn:[^:]+:kinesis:[^:]+:[^:]+:stream/[^:/]+")),
    (Kind.DYNAMODB, re.compile(r"arn:[^:]+:dynamodb:[^:]+:[^:]+:table/[^:/]+/stream/[^/]+")),
    (Kind.MSK, re.compile(r"arn:[^:]+:kafka:[^:]+:[^:]+:(cluster|vpc-connection)/.+")),
    (Kind.MQ, re.compile(r"arn:[^:]+:mq:[^:]+:[^:]+:broker:.+")),
    (Kind.DOCUMENTDB, re.compile(r"arn:[^:]+:rds:[^:]+:[^:]+:cluster:.+")),
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of the pollers of provisioned mode, and the defaults of what is not given."""

    least_min: int
    most_max: int
    least: int
    least_max: int = 200
    most: int = 200


@dataclass(frozen=True, slots=True)
class Source:
    """One row: what mappings of a kind need, take and show."""

    reason: str
    """StateTransitionReason."""
    needs: tuple[str, ...] = ()
    """Fields without which there is no mapping, beyond the source itself."""
    takes: frozenset[str] = frozenset()
    """Further fields, beyond those of every source."""
    batch_max: int = 10_000
    positions: tuple[str, ...] = ()
    """Starting positions; with any, one is required unless `defaults` has it."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Fields filled in, and shown, when not given."""
    access: frozenset[str] = frozenset()
    """Types of SourceAccessConfigurations."""
    access_needed: str | None = None
    destinations: tuple[str, ...] = ()
    """Services that take the records of failed batches."""
    metrics: tuple[str, ...] = ()
    pollers: Bounds | None = None
    provisioned_only: frozenset[str] = frozenset()
    """Fields that only provisioned mode has."""

    def allows(self, name: str) -> bool:
        """Whether mappings of this kind take the setting."""
        if name in ("starting_position", "starting_ms"):
            return bool(self.positions)
        return name in _EVERYWHERE or name in self.takes or name in self.needs


_USER = "USER_INITIATED"
_ACTION = "User action"
_ALL = ("TRIM_HORIZON", "LATEST", "AT_TIMESTAMP")
_DESTINATIONS = ("sqs", "sns", "s3")
_KAFKA_ERRORS = frozenset({"record_age_s", "bisect", "retries", "response_types"})

_QUEUE = Source(
    reason=_USER,
    needs=("source_arn",),
    takes=frozenset({"response_types", "scaling", "pollers", "metrics"}),
    defaults={"batch_size": 10, "window_s": 0, "response_types": ()},
    metrics=("EventCount",),
    pollers=Bounds(least_min=2, most_max=10_000, least=2),
)
_FIFO = Source(
    reason=_QUEUE.reason,
    needs=_QUEUE.needs,
    takes=_QUEUE.takes,
    batch_max=10,
    defaults=_QUEUE.defaults,
    metrics=_QUEUE.metrics,
    pollers=_QUEUE.pollers,
)
_STREAM_TAKES = frozenset(
    {"parallelization", "bisect", "tumbling_window_s", "record_age_s", "retries", "on_failure", "response_types"}
) | {"metrics"}
_STREAM_DEFAULTS: Mapping[str, Any] = {
    "batch_size": 100,
    "window_s": 0,
    "response_types": (),
    "parallelization": 1,
    "record_age_s": -1,
    "retries": -1,
    "bisect": False,
    "tumbling_window_s": 0,
    "on_failure": "",
}
_KINESIS = Source(
    reason=_ACTION,
    needs=("source_arn",),
    takes=_STREAM_TAKES,
    positions=_ALL,
    defaults=_STREAM_DEFAULTS,
    destinations=_DESTINATIONS,
    metrics=("EventCount",),
)
_DYNAMODB = Source(
    reason=_ACTION,
    needs=("source_arn",),
    takes=_STREAM_TAKES,
    positions=("TRIM_HORIZON", "LATEST"),
    defaults=_STREAM_DEFAULTS,
    destinations=_DESTINATIONS,
    metrics=("EventCount",),
)
_KAFKA_TAKES = _KAFKA_ERRORS | {"on_failure", "access", "log_level", "metrics", "pollers"}
_MSK = Source(
    reason=_USER,
    needs=("source_arn", "topics"),
    takes=_KAFKA_TAKES | {"msk"},
    positions=_ALL,
    defaults={"batch_size": 100},
    access=frozenset({"SASL_SCRAM_512_AUTH", "CLIENT_CERTIFICATE_TLS_AUTH"}),
    destinations=(*_DESTINATIONS, "kafka"),
    metrics=("EventCount", "ErrorCount", "KafkaMetrics"),
    pollers=Bounds(least_min=1, most_max=2_000, least=1),
    provisioned_only=_KAFKA_ERRORS,
)
_KAFKA = Source(
    reason=_USER,
    needs=("bootstrap_servers", "topics", "access"),
    takes=_KAFKA_TAKES | {"kafka"},
    positions=_ALL,
    defaults={"batch_size": 100, "starting_position": "TRIM_HORIZON"},
    access=frozenset(
        {
            *("BASIC_AUTH", "VPC_SUBNET", "VPC_SECURITY_GROUP", "SASL_SCRAM_512_AUTH", "SASL_SCRAM_256_AUTH"),
            *("CLIENT_CERTIFICATE_TLS_AUTH", "SERVER_ROOT_CA_CERTIFICATE", "OAUTHBEARER_AUTH", "OAUTHBEARER_SCOPE"),
            *("OAUTHBEARER_AUDIENCE", "OAUTHBEARER_LOGICAL_CLUSTER", "OAUTHBEARER_IDENTITY_POOL", "IAM_AUTH"),
            "IAM_OAUTHBEARER_AUTH",
        }
    ),
    destinations=_MSK.destinations,
    metrics=_MSK.metrics,
    pollers=_MSK.pollers,
    provisioned_only=_KAFKA_ERRORS,
)
_MQ = Source(
    reason=_USER,
    needs=("source_arn", "queues", "access"),
    takes=frozenset({"pollers"}),
    defaults={"batch_size": 100},
    access=frozenset({"BASIC_AUTH", "VIRTUAL_HOST"}),
    access_needed="BASIC_AUTH",
    pollers=_MSK.pollers,
)
_DOCUMENTDB = Source(
    reason=_ACTION,
    needs=("source_arn", "access", "document_db"),
    positions=_ALL,
    defaults={"batch_size": 100},
    access=frozenset({"BASIC_AUTH"}),
    access_needed="BASIC_AUTH",
)

SOURCES: Mapping[Kind, Source] = {
    Kind.SQS: _QUEUE,
    Kind.SQS_FIFO: _FIFO,
    Kind.KINESIS: _KINESIS,
    Kind.KINESIS_CONSUMER: _KINESIS,
    Kind.DYNAMODB: _DYNAMODB,
    Kind.MSK: _MSK,
    Kind.KAFKA: _KAFKA,
    Kind.MQ: _MQ,
    Kind.DOCUMENTDB: _DOCUMENTDB,
}

SECRETLESS = frozenset({"IAM_AUTH", "IAM_OAUTHBEARER_AUTH"})
"""Types of SourceAccessConfigurations without a URI."""


def recognise(source_arn: str | None, bootstrap_servers: tuple[str, ...] | None) -> Kind | None:
    """The kind of source that a caller names; None: none that is known."""
    if source_arn is None:
        return Kind.KAFKA if bootstrap_servers else None
    return next((kind for kind, pattern in _ARNS if pattern.fullmatch(source_arn)), None)
