"""Code from a real S3 server (moto's), and what is said when it cannot be had."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import boto3
import pytest
from tests.unit.packages.test_archive import zipped

from lambent.domain.errors import InvalidParameterValue
from lambent.packages import source as source_module
from lambent.packages.archive import UnzippedTooLarge
from lambent.packages.source import S3Source

ZIP = zipped(("app.py", b"code"))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    s3 = boto3.client("s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    s3.create_bucket(Bucket="bucket")
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="bucket", Key="dir/a b.zip", Body=b"old")
    s3.put_object(Bucket="bucket", Key="dir/a b.zip", Body=ZIP)
    s3.close()
    yield url
    server.stop()


def fetch(source: S3Source, bucket: str, key: str, version: str | None = None) -> bytes:
    async def session() -> bytes:
        async with source.fetched(bucket, key, version) as path:
            return path.read_bytes()

    try:
        return asyncio.run(session())
    finally:
        source.close()


def open_source(endpoint: str, directory: Path) -> S3Source:
    return S3Source(endpoint, directory, access_key="test", secret_key="test")


@pytest.mark.leaves_session_state
def test_an_object_is_fetched_and_leaves_no_file(endpoint: str, tmp_path: Path) -> None:
    assert fetch(open_source(endpoint, tmp_path), "bucket", "dir/a b.zip") == ZIP
    assert list(tmp_path.iterdir()) == []


@pytest.mark.leaves_session_state
def test_a_version_is_fetched(endpoint: str, tmp_path: Path) -> None:
    s3 = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    versions = s3.list_object_versions(Bucket="bucket")["Versions"]
    s3.close()
    (old,) = (one["VersionId"] for one in versions if not one["IsLatest"])
    assert fetch(open_source(endpoint, tmp_path), "bucket", "dir/a b.zip", old) == b"old"


@pytest.mark.leaves_session_state
@pytest.mark.parametrize(
    ("bucket", "key", "text"),
    [
        ("missing", "k", "NoSuchBucket. S3 Error Message: The specified bucket does not exist"),
        ("bucket", "nope", "NoSuchKey. S3 Error Message: The specified key does not exist."),
    ],
)
def test_what_is_missing_is_told_in_the_services_words(
    endpoint: str, tmp_path: Path, bucket: str, key: str, text: str
) -> None:
    with pytest.raises(InvalidParameterValue) as error:
        fetch(open_source(endpoint, tmp_path), bucket, key)
    assert error.value.message == f"Error occurred while GetObject. S3 Error Code: {text}"
    assert list(tmp_path.iterdir()) == []


@contextmanager
def refusing(status: int, code: str, message: str) -> Iterator[str]:
    """The address of a server that refuses every object, as S3 does it."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()

    class Refusal(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("x-amz-bucket-region", "eu-west-1")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the test looks at what its caller reads."""

    with HTTPServer(("127.0.0.1", 0), Refusal) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.leaves_session_state
@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (
            403,
            "AccessDenied",
            "Your access has been denied by S3, please make sure your request credentials have permission to GetObject "
            "for bucket/k. S3 Error Code: AccessDenied. S3 Error Message: Access Denied",
        ),
        (
            301,
            "PermanentRedirect",
            "Error occurred while GetObject. S3 Error Code: PermanentRedirect. S3 Error Message: The bucket is in this "
            "region: eu-west-1. Please use this region to retry the request",
        ),
    ],
)
def test_what_is_refused_is_told_in_the_services_words(tmp_path: Path, status: int, code: str, text: str) -> None:
    with refusing(status, code, "no") as url, pytest.raises(InvalidParameterValue) as error:
        fetch(open_source(url, tmp_path), "bucket", "k")
    assert error.value.message == text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.leaves_session_state
def test_an_object_that_is_too_large_is_not_read(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "OBJECT_BYTES_MAX", len(ZIP) - 1)
    with pytest.raises(UnzippedTooLarge):
        fetch(open_source(endpoint, tmp_path), "bucket", "dir/a b.zip")


@pytest.mark.leaves_session_state
def test_a_server_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "ATTEMPTS_MAX", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(InvalidParameterValue, match=r"setting s3\.endpoint did not answer GetObject for bucket/k"):
        fetch(open_source(url, tmp_path), "bucket", "k")


def test_without_an_endpoint_the_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterValue, match=r"s3\.endpoint"):
        fetch(S3Source("", tmp_path), "bucket", "k")
