"""Event source mappings as frozen values: what is kept of one, and what a caller asks of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ..domain.names import FunctionRef, Scope


class Kind(StrEnum):
    """What a mapping reads from: its parameters, defaults and words depend on it."""

    SQS = "sqs"
    SQS_FIFO = "sqs-fifo"
    KINESIS = "kinesis"
    KINESIS_CONSUMER = "kinesis-consumer"
    DYNAMODB = "dynamodb"
    MSK = "msk"
    KAFKA = "kafka"
    """Self-managed Apache Kafka."""
    MQ = "mq"
    """ActiveMQ and RabbitMQ: a broker's ARN does not say which."""
    DOCUMENTDB = "documentdb"


@dataclass(frozen=True, slots=True)
class Access:
    """One way to authenticate with a source, or to reach it."""

    type: str | None
    uri: str | None = None


@dataclass(frozen=True, slots=True)
class Kafka:
    """What only Kafka sources have."""

    consumer_group: str | None = None
    schema_registry: Mapping[str, Any] | None = None
    """Its members by the API's names; empty: to be cleared."""
    consumption_mode: str | None = None
    """Stream or Queue; self-managed clusters only."""


@dataclass(frozen=True, slots=True)
class DocumentDb:
    """What of a DocumentDB cluster is read."""

    database: str | None = None
    collection: str | None = None
    full_document: str | None = None


@dataclass(frozen=True, slots=True)
class Scaling:
    """The scaling of a queue's mapping; empty: to be cleared."""

    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class Pollers:
    """Provisioned mode; empty: to be cleared."""

    least: int | None = None
    most: int | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that can be set of a mapping but its function and whether it is enabled.

    As wanted: None is "not given", an empty value "to be cleared". As kept: None is "not shown".
    """

    source_arn: str | None = None
    bootstrap_servers: tuple[str, ...] | None = None
    batch_size: int | None = None
    filters: tuple[str | None, ...] | None = None
    """Patterns as given; a filter without a pattern is None, and refused."""
    kms_key_arn: str | None = None
    metrics: tuple[str, ...] | None = None
    log_level: str | None = None
    scaling: Scaling | None = None
    window_s: int | None = None
    parallelization: int | None = None
    starting_position: str | None = None
    starting_ms: int | None = None
    """Epoch, with AT_TIMESTAMP."""
    on_failure: str | None = None
    """ARN or kafka:// address of the destination."""
    record_age_s: int | None = None
    bisect: bool | None = None
    retries: int | None = None
    tumbling_window_s: int | None = None
    topics: tuple[str, ...] | None = None
    queues: tuple[str, ...] | None = None
    access: tuple[Access, ...] | None = None
    response_types: tuple[str, ...] | None = None
    msk: Kafka | None = None
    kafka: Kafka | None = None
    document_db: DocumentDb | None = None
    pollers: Pollers | None = None


EMPTY: tuple[Any, ...] = ((), "", Scaling(), Pollers(), Kafka(), DocumentDb())
"""Values that ask for nothing: as good as absent on creation, clearing on update."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a caller asks for; None: not given."""

    settings: Settings
    function: FunctionRef | None = None
    """Always given on creation."""
    qualifier: str | None = None
    enabled: bool | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    invocation_id: str | None = None
    """Names the client's request, to recognise its repetition."""


@dataclass(frozen=True, slots=True)
class EventSourceMapping:
    """One mapping, as it stands: the states on the way between two of its records are seen in answers only."""

    scope: Scope
    uuid: str
    kind: Kind
    function: str
    """The function's name; it may have been deleted since."""
    qualifier: str | None
    """As named by the caller: None where no qualifier was given."""
    enabled: bool
    modified_ms: int
    settings: Settings
    tags: Mapping[str, str] = field(default_factory=dict)
    invocation_id: str | None = None

    @property
    def arn(self) -> str:
        scope = self.scope
        return f"arn:{scope.partition}:lambda:{scope.region}:{scope.account}:event-source-mapping:{self.uuid}"

    @property
    def function_ref(self) -> FunctionRef:
        return FunctionRef(self.scope.account, self.scope.region, self.function)

    @property
    def function_arn(self) -> str:
        """The ARN of exactly what was named."""
        return self.function_ref.arn(self.qualifier)

    @property
    def state(self) -> str:
        return "Enabled" if self.enabled else "Disabled"
