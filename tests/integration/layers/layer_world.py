"""Layers published for a test, and what functions see of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.support import package, unique

EXECUTABLE = ("bootstrap", "wrapper", "bin/tool")


@contextmanager
def layer(lambda_: Any, files: Mapping[str, str | bytes], **options: Any) -> Iterator[str]:
    """A layer version for the length of the block; answers its ARN."""
    name = unique("layer")
    content = {"ZipFile": package(files, executable=EXECUTABLE)}
    published = lambda_.publish_layer_version(LayerName=name, Content=content, **options)
    try:
        yield published["LayerVersionArn"]
    finally:
        lambda_.delete_layer_version(LayerName=name, VersionNumber=published["Version"])


def delete(lambda_: Any, arn: str) -> None:
    name, _, number = arn.rpartition(":")
    lambda_.delete_layer_version(LayerName=name, VersionNumber=int(number))


def invoke(lambda_: Any, name: str, payload: Any = None) -> Any:
    answer = lambda_.invoke(FunctionName=name, Payload=json.dumps(payload).encode())
    body = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, body
    return body
