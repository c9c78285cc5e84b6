"""Where a request's code comes from: ZipFile, or an object in S3. Read when everything cheaper has been checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambent.domain.errors import InvalidParameterValue
from lambent.functions.model import Code
from lambent.layers.service import Content
from lambent.packages.archive import LAYERS_ROOT, TASK_ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from lambent.functions.service import CodeSource
    from lambent.layers.service import ContentSource
    from lambent.packages.source import S3Source
    from lambent.packages.store import ArchiveCheck, Package, Packages
    from lambent.signing.deployments import Check, Publication


class CodeReader:
    """Turns the code members of CreateFunction, UpdateFunctionCode and PublishLayerVersion into stored packages."""

    def __init__(self, packages: Packages, s3: S3Source) -> None:
        self._packages = packages
        self._s3 = s3

    def check_size(self, code: dict[str, Any]) -> None:
        """The limit of an archive in the request; comes before everything else."""
        archive = code.get("ZipFile")
        if archive is not None:
            self._packages.check_direct(len(archive))

    def source(
        self, code: dict[str, Any], package_type: str, checking: Callable[[], AbstractContextManager[Check]]
    ) -> CodeSource:
        """What fetches, checks and stores the code when it is called. checking: what looks at its signature."""

        async def fetch() -> Code:
            if package_type == "Image" or code.get("ImageUri") is not None:
                raise _no_images(code, package_type)
            with checking() as check:
                package = await self._fetch(code, check)
            return Code(
                package.digest,
                package.sha256_base64,
                package.size_bytes,
                package.unpacked_bytes,
                code.get("SourceKMSKeyArn") or None,
                check.profile_arn,
                check.job_arn,
            )

        return fetch

    def content(
        self, content: dict[str, Any], publishing: Callable[[], AbstractContextManager[Publication]]
    ) -> ContentSource:
        """The same for the content of a layer version."""

        async def fetch() -> Content:
            with publishing() as publication:
                package = await self._fetch(content, publication, LAYERS_ROOT)
            return Content(package, publication.profile_arn, publication.job_arn)

        return fetch

    async def _fetch(self, code: dict[str, Any], check: ArchiveCheck, root: str = TASK_ROOT) -> Package:
        archive, bucket, key = code.get("ZipFile"), code.get("S3Bucket"), code.get("S3Key")
        if code.get("S3ObjectStorageMode") == "REFERENCE":
            # An object that can change or go under a deployed function would be code that nobody has checked.
            raise InvalidParameterValue(
                "S3ObjectStorageMode REFERENCE is not served by this release of Lambent. "
                "Leave it away or use COPY: the object is copied when the function is created or updated."
            )
        if archive is not None:
            if bucket is not None or key is not None or code.get("S3ObjectVersion") is not None:
                raise InvalidParameterValue(
                    "Please do not provide other FunctionCode parameters when providing a ZipFile."
                )
            return await self._packages.put(archive, check, root=root)
        if bucket is None and key is None:
            raise InvalidParameterValue("Please provide a source for function code.")
        if bucket is None or key is None:
            raise InvalidParameterValue("S3Bucket and S3Key name an object together; one of them is missing.")
        async with self._s3.fetched(bucket, key, code.get("S3ObjectVersion")) as path:
            return await self._packages.put(path, check, root=root)


def _no_images(code: dict[str, Any], package_type: str) -> InvalidParameterValue:
    if package_type == "Zip":
        return InvalidParameterValue("Please don't provide ImageUri when the PackageType of the function is Zip.")
    if code.get("ImageUri") is None:
        return InvalidParameterValue("Please provide a source for function code.")
    return InvalidParameterValue(
        "Container images are not served by this release of Lambent. "
        "Deploy the function as a .zip file archive (PackageType Zip); its runtime may be provided.al2023."
    )
