"""Signing an archive: a copy of it with the signature as its last entry. What was there stays byte for byte."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from lambent.packages.archive import reading

from .envelope import Claims, SigningKey, seal
from .manifest import DIRECTORY, SIGNATURE, digests

_EPOCH = (1980, 1, 1, 0, 0, 0)


class NotSignable(Exception):
    """The archive cannot be signed as it is; the text says why."""


def sign_archive(source: Path, target: Path, claims: Claims, key: SigningKey, now_ms: int) -> None:
    """Write a signed copy of `source`; `target` appears complete or not at all, and may be the same file.

    Raises NotSignable; BrokenZip and its kin for what a server would refuse as well.
    """
    from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    os.close(descriptor)
    copy = Path(name)
    try:
        shutil.copyfile(source, copy)
        copy.chmod(0o666 & ~_umask())
        with reading(copy) as opened:
            paths = [entry.path for entry in opened.entries]
        if SIGNATURE in paths:
            raise NotSignable("it is signed already")
        if len(set(paths)) != len(paths):
            raise NotSignable("a name stands in it twice")
        with ZipFile(copy, "a") as archive:
            if DIRECTORY not in paths:  # the service's signer adds it, too, and signs it
                directory = ZipInfo(f"{DIRECTORY}/", _EPOCH)
                directory.external_attr = 0o40755 << 16 | 0x10
                archive.writestr(directory, b"")
        with reading(copy) as opened:
            found = digests(opened)
        file = ZipInfo(SIGNATURE, _EPOCH)
        file.external_attr = 0o100644 << 16
        file.compress_type = ZIP_DEFLATED
        with ZipFile(copy, "a") as archive:
            archive.writestr(file, seal(found, claims, key, now_ms))
        os.replace(copy, target)
    finally:
        copy.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
