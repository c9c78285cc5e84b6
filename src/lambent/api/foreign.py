"""Errors in the shapes of other services' protocols.

One port serves clients of many services. A client whose service is not served here must get an error its SDK can read,
or it fails with a parse error after long retries: JSON for the JSON protocols, XML for the query protocols and for S3,
CBOR for the newest. Which one a request speaks is in its headers, else in its service.
Source: Smithy specification, AWS protocols, "Operation error serialization"; Amazon S3 API reference, "REST error responses".
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING

import orjson

from lambent.domain.errors import NotServed

if TYPE_CHECKING:
    from lambent.http import Request

Headers = list[tuple[bytes, bytes]]


class Protocol(Enum):
    """How a client of some service writes and reads."""

    JSON = auto()
    REST_JSON = auto()
    QUERY = auto()
    EC2_QUERY = auto()
    REST_XML = auto()
    CBOR = auto()


REST_XML_SERVICES = frozenset({"s3", "s3-object-lambda", "s3express", "cloudfront", "route53"})

ENDPOINT_VARIABLES = {
    "cloudformation": "CLOUDFORMATION",
    "dynamodb": "DYNAMODB",
    "ecr": "ECR",
    "events": "EVENTBRIDGE",
    "execute-api": "APIGATEWAYMANAGEMENTAPI",
    "iam": "IAM",
    "kinesis": "KINESIS",
    "kms": "KMS",
    "logs": "CLOUDWATCH_LOGS",
    "monitoring": "CLOUDWATCH",
    "s3": "S3",
    "secretsmanager": "SECRETS_MANAGER",
    "sns": "SNS",
    "sqs": "SQS",
    "ssm": "SSM",
    "states": "SFN",
    "sts": "STS",
    "xray": "XRAY",
}
"""Signing name → the suffix of the SDKs' `AWS_ENDPOINT_URL_…` variable, where one is not simply the other's capitals."""


def protocol_of(request: Request, service: str | None) -> Protocol:
    """The protocol a request speaks."""
    if request.header(b"smithy-protocol") == b"rpc-v2-cbor":
        return Protocol.CBOR
    content_type = (request.header(b"content-type") or b"").lower()
    if request.header(b"x-amz-target") is not None or content_type.startswith(b"application/x-amz-json"):
        return Protocol.JSON
    if content_type.startswith(b"application/x-www-form-urlencoded"):
        return Protocol.EC2_QUERY if service == "ec2" else Protocol.QUERY
    if service in REST_XML_SERVICES:
        return Protocol.REST_XML
    return Protocol.REST_JSON


def service_not_served(service: str) -> NotServed:
    """The error for a request meant for a service that this server does not serve."""
    variable = "AWS_ENDPOINT_URL_" + ENDPOINT_VARIABLES.get(service, service.upper().replace("-", "_"))
    return NotServed(
        f"Lambent does not serve '{service}'. Name a real endpoint for it to the client, for example "
        f"{variable}=https://{service}.us-east-1.amazonaws.com, or leave AWS_ENDPOINT_URL to Lambda alone by setting "
        "AWS_ENDPOINT_URL_LAMBDA instead."
    )


def foreign_error(
    protocol: Protocol,
    status: int,
    code: str,
    message: str | None,
    request_id: str,
    *,
    head_only: bool = False,
    namespace: str | None = None,
) -> tuple[Headers, bytes]:
    """Headers (content type, request id, error type) and body of an error in a protocol's shape.

    code: the bare code. head_only: leave the body away, for an answer to HEAD. namespace: of the query protocol's XML,
    where the service is known.
    """
    if message is not None:
        message = message.encode("utf-8", "replace").decode()  # it may quote a lone surrogate
    text = message or ""
    fault = "Sender" if status < 500 else "Receiver"
    headers: Headers = [(b"x-amzn-requestid", request_id.encode())]
    match protocol:
        case Protocol.JSON:
            content_type = b"application/x-amz-json-1.1"
            body = orjson.dumps({"__type": code, "message": message})
            headers.append((b"x-amzn-errortype", code.encode()))
        case Protocol.REST_JSON:
            content_type = b"application/json"
            body = orjson.dumps({"message": message})
            headers.append((b"x-amzn-errortype", code.encode()))
        case Protocol.CBOR:
            content_type = b"application/cbor"
            body = _cbor_map({"__type": code, "message": text})
            headers.append((b"smithy-protocol", b"rpc-v2-cbor"))
        case Protocol.QUERY:
            content_type = b"text/xml"
            named = "" if namespace is None else f' xmlns="{namespace}"'
            body = (
                f"<ErrorResponse{named}><Error><Type>{fault}</Type><Code>{xml_text(code)}</Code>"
                f"<Message>{xml_text(text)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
            ).encode()
        case Protocol.EC2_QUERY:
            content_type = b"text/xml"
            body = (
                f"<Response><Errors><Error><Code>{xml_text(code)}</Code><Message>{xml_text(text)}</Message></Error></Errors>"
                f"<RequestID>{request_id}</RequestID></Response>"
            ).encode()
        case Protocol.REST_XML:
            content_type = b"application/xml"
            headers.append((b"x-amz-request-id", request_id.encode()))
            body = (
                f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{xml_text(code)}</Code>'
                f"<Message>{xml_text(text)}</Message><RequestId>{request_id}</RequestId></Error>"
            ).encode()
    headers.append((b"content-type", content_type))
    return headers, b"" if head_only else body


_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def xml_text(text: str) -> str:
    """Text between tags. What XML can't carry becomes a question mark, or no client could read the rest."""
    text = _NOT_IN_XML.sub("?", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#xD;")


def _cbor_map(document: dict[str, str]) -> bytes:
    """A map of text strings in CBOR. Source: RFC 8949, section 3.1."""
    out = bytearray([0xA0 | len(document)])
    for text in (text for pair in document.items() for text in pair):
        raw = text.encode()
        out += _cbor_head(0x60, len(raw)) + raw
    return bytes(out)


def _cbor_head(major: int, length: int) -> bytes:
    if length < 24:
        return bytes([major | length])
    if length < 256:
        return bytes([major | 24, length])
    return bytes([major | 25]) + length.to_bytes(2, "big")
