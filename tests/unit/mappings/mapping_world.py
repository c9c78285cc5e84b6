"""A public door over functions and mappings in memory, and calls of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import orjson
from tests.unit.api.doubles import Believing, Reply, send
from tests.unit.functions.house import House, code, ref, wanted

from lambent.api.door import PublicDoor
from lambent.api.resources import mappings as mappings_resource
from lambent.api.resources import tags as tags_resource
from lambent.domain.documents import DocumentStore
from lambent.mappings.service import EventSourceMappings
from lambent.stores.documents_memory import MemoryDocuments

MAPPINGS = "/2015-03-31/event-source-mappings"
FUNCTION_ARN = "arn:aws:lambda:us-east-1:123456789012:function:fn"
AT = "us-east-1:123456789012"
SOURCES: dict[str, dict[str, Any]] = {
    "sqs": {"EventSourceArn": f"arn:aws:sqs:{AT}:q"},
    "fifo": {"EventSourceArn": f"arn:aws:sqs:{AT}:q.fifo"},
    "kinesis": {"EventSourceArn": f"arn:aws:kinesis:{AT}:stream/s", "StartingPosition": "LATEST"},
    "consumer": {"EventSourceArn": f"arn:aws:kinesis:{AT}:stream/s/consumer/c:1", "StartingPosition": "LATEST"},
    "dynamodb": {
        "EventSourceArn": f"arn:aws:dynamodb:{AT}:table/t/stream/2025-01-01T00:00:00.000",
        "StartingPosition": "TRIM_HORIZON",
    },
    "msk": {
        "EventSourceArn": f"arn:aws:kafka:{AT}:cluster/c/0190a5c4-0000-7000-8000-000000000001-1",
        "StartingPosition": "LATEST",
        "Topics": ["orders"],
    },
    "kafka": {
        "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["kafka.example:9092"]}},
        "Topics": ["orders"],
        "SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": "arn:aws:secretsmanager:us-east-1:1:secret:k"}],
    },
    "mq": {
        "EventSourceArn": f"arn:aws:mq:{AT}:broker:b:b-0190a5c4",
        "Queues": ["jobs"],
        "SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": "arn:aws:secretsmanager:us-east-1:1:secret:m"}],
    },
    "documentdb": {
        "EventSourceArn": f"arn:aws:rds:{AT}:cluster:docs",
        "StartingPosition": "LATEST",
        "SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": "arn:aws:secretsmanager:us-east-1:1:secret:d"}],
        "DocumentDBEventSourceConfig": {"DatabaseName": "shop"},
    },
}
"""The least that a mapping of each source needs, beside its function."""
POLLERS = {"MinimumPollers": 2, "MaximumPollers": 4}


class Client:
    """Speaks to a door over a house with the function `fn` and its version 1."""

    def __init__(self, store: DocumentStore | None = None) -> None:
        self.house = House()
        self.store = store or MemoryDocuments()
        self.headers: dict[str, str] = {}
        self.open()

    def open(self) -> None:
        """The server anew, as after a restart."""
        self.mappings = EventSourceMappings(self.store, self.house.clock, self.house.functions.has)
        self.door = PublicDoor(Believing())
        mappings_resource.register(self.door, self.mappings)
        tags_resource.register(self.door, self.house.functions, {"event-source-mapping": self.mappings})

    async def __call__(self, method: str, path: str, document: Any = None, status: int = 200) -> Any:
        body = b"" if document is None else orjson.dumps(document)
        reply: Reply = await send(self.door, method, path, self.headers, body)
        assert reply.status == status, reply.body
        if status >= 400:
            members = reply.json
            return reply.headers[b"x-amzn-errortype"].decode(), members.get("message", members.get("Message"))
        return reply.json if reply.body else None

    async def create(self, source: str = "sqs", status: int = 202, **members: Any) -> Any:
        """Members given as `...` are left out."""
        document = {"FunctionName": "fn", **SOURCES[source], **members}
        given = {name: value for name, value in document.items() if value is not ...}
        return await self("POST", MAPPINGS, given, status)

    async def update(self, uuid: str, status: int = 202, **members: Any) -> Any:
        return await self("PUT", f"{MAPPINGS}/{uuid}", members, status)

    async def get(self, uuid: str, status: int = 200) -> Any:
        return await self("GET", f"{MAPPINGS}/{uuid}", status=status)

    async def delete(self, uuid: str, status: int = 202) -> Any:
        return await self("DELETE", f"{MAPPINGS}/{uuid}", status=status)

    async def list_mappings(self, **parameters: Any) -> Any:
        query = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in parameters.items())
        return await self("GET", f"{MAPPINGS}?{query}")

    async def refused(self, source: str, **members: Any) -> str:
        """The message of a refusal as InvalidParameterValueException."""
        error, message = await self.create(source, status=400, **members)
        assert error == "InvalidParameterValueException", (error, message)
        return str(message)


def session(scenario: Callable[[Client], Awaitable[None]]) -> None:
    """Run with the function `fn`, its version 1 and nothing else."""

    async def both() -> None:
        client = Client()
        await client.house.functions.create(ref(), wanted(), code(), publish=True)
        await scenario(client)
        await client.mappings.close()
        await client.house.functions.close()

    asyncio.run(both())
