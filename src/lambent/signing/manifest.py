"""What a signature covers: every entry of the archive, as it comes out when it is unpacked.

Two digests are signed. The *content digest* is the service's: names and contents of all entries but the signature, one
behind the other in the archive's order, SHA-384 of SHA-384. It has no frames: moving bytes between a name and a content
does not change it, nor does a mode. So the *manifest digest* is signed beside it, which has frames and holds everything
that decides what the function sees: path, kind, permissions, time and content, in the archive's order. How an entry is
packed (method, comment, extra fields) is in neither.
"""

from __future__ import annotations

import hashlib
import stat
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lambent.packages.archive import Entry, Reading

DIRECTORY = "META_INF"
SIGNATURE = f"{DIRECTORY}/aws_signer_signature_v1.0.SF"
"""Where the service's signer puts a signature, and Lambent's."""
MANIFEST_HEAD = b"lambent manifest 1\n"

_KINDS = {stat.S_IFREG: b"f", stat.S_IFDIR: b"d", stat.S_IFLNK: b"l"}


@dataclass(frozen=True, slots=True)
class Digests:
    """Of an archive without its signature; SHA-384 both."""

    content: bytes
    manifest: bytes


def digests(archive: Reading) -> Digests:
    """Read all of the archive but the signature. Raises BrokenZip."""
    content, manifest = hashlib.sha384(), hashlib.sha384(MANIFEST_HEAD)
    for entry in archive.entries:
        if entry.path == SIGNATURE:
            continue
        content.update(_raw_name(entry))
        own = hashlib.sha384()
        for chunk in archive.chunks(entry):
            content.update(chunk)
            own.update(chunk)
        path = entry.path.encode()
        manifest.update(struct.pack("<I", len(path)) + path + _KINDS[entry.kind])
        manifest.update(struct.pack("<7HQ", entry.mode, *entry.info.date_time, entry.info.file_size))
        manifest.update(own.digest())
    return Digests(hashlib.sha384(content.digest()).digest(), manifest.digest())


def _raw_name(entry: Entry) -> bytes:
    """The name's bytes as they stand in the archive."""
    return entry.info.orig_filename.encode("utf-8" if entry.info.flag_bits & 0x800 else "cp437")
