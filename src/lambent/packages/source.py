"""Code named by bucket and key: fetched from the S3-compatible endpoint of the settings, in a thread.

The client library is imported on the first fetch, not at start. Errors are told in the service's words.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..domain.errors import InvalidParameterValue
from ..domain.limits import UNZIPPED_BYTES_MAX
from .archive import UnzippedTooLarge
from .store import INCOMING

if TYPE_CHECKING:
    from types import ModuleType

OBJECT_BYTES_MAX = UNZIPPED_BYTES_MAX
"""An object larger than what may come out of it is refused before it is read."""
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5, 30
ATTEMPTS_MAX = 3
FETCHES_MAX = 4
"""Objects being fetched at once; more wait for their turn."""

_CHUNK_BYTES = 1_048_576


class S3Source:
    """Objects of one S3 endpoint. Used from one event loop."""

    def __init__(
        self, endpoint: str, directory: Path, *, access_key: str = "", secret_key: str = "", region: str = "us-east-1"
    ) -> None:
        """endpoint: URL, empty when none is configured. directory: where objects are kept while they are looked at,
        best that of the packages. access_key: empty for unsigned requests."""
        self._directory = directory
        self._endpoint = endpoint
        self._access_key = access_key
        self._secret_key = secret_key
        self._region = region
        self._room = asyncio.Semaphore(FETCHES_MAX)
        self._client: Any = None

    @asynccontextmanager
    async def fetched(self, bucket: str, key: str, version: str | None = None) -> AsyncIterator[Path]:
        """The object as a temporary file for the length of the block.

        Raises InvalidParameterValue for everything that keeps it from being fetched, UnzippedTooLarge for its size.
        """
        if not self._endpoint:
            raise InvalidParameterValue(
                "S3Bucket and S3Key need an S3-compatible server: name its URL in the setting s3.endpoint, "
                "or send the code as ZipFile."
            )
        descriptor, name = tempfile.mkstemp(prefix=INCOMING, dir=self._directory)
        os.close(descriptor)
        try:
            async with self._room:
                await asyncio.to_thread(self._fetch, bucket, key, version, name)
            yield Path(name)
        finally:
            os.unlink(name)

    def close(self) -> None:
        """Let go of the connections that are kept for the next fetch."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _fetch(self, bucket: str, key: str, version: str | None, name: str) -> None:
        botocore = _botocore()
        request = {"Bucket": bucket, "Key": key} | ({} if version is None else {"VersionId": version})
        # For update, never made anew: a caller that was cancelled has removed the file by now.
        with open(name, "r+b") as file:
            try:
                answer = self._connect(botocore).get_object(**request)
                with closing(answer["Body"]) as body:
                    if answer["ContentLength"] > OBJECT_BYTES_MAX:
                        raise UnzippedTooLarge(OBJECT_BYTES_MAX)
                    for chunk in body.iter_chunks(_CHUNK_BYTES):
                        if file.tell() + len(chunk) > OBJECT_BYTES_MAX:
                            raise UnzippedTooLarge(OBJECT_BYTES_MAX)
                        file.write(chunk)
            except botocore.exceptions.ClientError as error:
                raise _refused(error, bucket, key) from error
            except (botocore.exceptions.BotoCoreError, botocore.exceptions.HTTPClientError) as error:
                raise InvalidParameterValue(
                    f"The S3 server of the setting s3.endpoint did not answer GetObject for {bucket}/{key}: {error}"
                ) from error

    def _connect(self, botocore: ModuleType) -> Any:
        if self._client is None:
            from botocore.config import Config
            from botocore.session import Session

            signed = bool(self._access_key)
            self._client = Session().create_client(
                "s3",
                endpoint_url=self._endpoint,
                region_name=self._region,
                aws_access_key_id=self._access_key if signed else None,
                aws_secret_access_key=self._secret_key if signed else None,
                config=Config(
                    signature_version="s3v4" if signed else botocore.UNSIGNED,
                    s3={"addressing_style": "path"},  # names of buckets rarely resolve as hosts of somebody's server
                    connect_timeout=CONNECT_TIMEOUT_S,
                    read_timeout=READ_TIMEOUT_S,
                    retries={"total_max_attempts": ATTEMPTS_MAX, "mode": "standard"},
                ),
            )
        return self._client


def _botocore() -> ModuleType:
    try:
        import botocore
        import botocore.exceptions
        import botocore.session
    except ImportError as error:
        raise InvalidParameterValue(
            "Fetching code from S3 needs the package botocore in the server's environment: pip install botocore. "
            "Without it, send the code as ZipFile."
        ) from error
    return botocore  # type: ignore[no-any-return]


def _refused(error: Any, bucket: str, key: str) -> InvalidParameterValue:
    """What S3 said, in the words the service uses for it."""
    said = error.response.get("Error", {})
    code, message = said.get("Code", "Unknown"), said.get("Message", "")
    if code in ("AccessDenied", "403"):
        return InvalidParameterValue(
            "Your access has been denied by S3, please make sure your request credentials have permission to GetObject "
            f"for {bucket}/{key}. S3 Error Code: AccessDenied. S3 Error Message: Access Denied"
        )
    if code == "PermanentRedirect" or code == "301":
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        region = headers.get("x-amz-bucket-region", said.get("Endpoint", "unknown"))
        code = "PermanentRedirect"
        message = f"The bucket is in this region: {region}. Please use this region to retry the request"
    return InvalidParameterValue(f"Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}")
