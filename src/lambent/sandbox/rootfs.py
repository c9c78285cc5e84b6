"""The plan of a root image: what of the host is bound read-only and which small files are generated.

The spawner carries the plan out in a private mount namespace; nothing here touches anything. Records are tuples of
words: ("bind", source, target), ("link", path, target), ("file", path, content), ("dir", path), ("mask", path).
Nothing of the host's homes, keys, sockets or environment is in it.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator

from .port import Image

FUNCTION_UID = 993
FUNCTION_USER = "sbx_user1051"
HOST_NAME = "sandbox.localdomain"
NAME_SERVER = "169.254.169.253"

_TOP = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC_BINDS = (
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/mime.types",
    "/etc/protocols",
    "/etc/services",
    "/etc/java-*",
)
_HOST_PACKAGES = (
    "/usr/lib/python3*/dist-packages",
    "/usr/lib/python3*/site-packages",
    "/usr/lib64/python3*/site-packages",
    "/usr/local/lib/python3*/dist-packages",
    "/usr/local/lib/python3*/site-packages",
)
_FILES = {
    "/etc/passwd": (
        "root:x:0:0:root:/:/sbin/nologin\n"
        f"{FUNCTION_USER}:x:{FUNCTION_UID}:{FUNCTION_UID}::/home/{FUNCTION_USER}:/sbin/nologin\n"
        "nobody:x:65534:65534:nobody:/:/sbin/nologin\n"
    ),
    "/etc/group": f"root:x:0:\n{FUNCTION_USER}:x:{FUNCTION_UID}:\nnogroup:x:65534:\n",
    "/etc/hosts": f"127.0.0.1 localhost {HOST_NAME} sandbox\n::1 localhost ip6-localhost\n",
    "/etc/hostname": f"{HOST_NAME}\n",
    # Where VPCs have theirs. Inside a sandbox every address is answered by the way out, where there is one.
    "/etc/resolv.conf": f"nameserver {NAME_SERVER}\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
}

Record = tuple[str, ...]


def image_records(image: Image) -> Iterator[Record]:
    """The records of one image, in the order in which they are to be carried out."""
    yield ("image", image.name)
    yield ("bind", "/usr", "/usr")
    for name in _TOP:
        path = f"/{name}"
        if os.path.islink(path):
            yield ("link", path, os.readlink(path))
        elif os.path.isdir(path):
            yield ("bind", path, path)
    for path, content in _FILES.items():
        yield ("file", path, content)
    yield ("link", "/etc/localtime", "/usr/share/zoneinfo/UTC")
    for pattern in _ETC_BINDS:
        for path in sorted(glob.glob(pattern)):
            yield ("bind", path, path)
    for pattern in _HOST_PACKAGES:
        for path in sorted(glob.glob(pattern)):
            if os.path.isdir(path) and not os.path.islink(path):
                yield ("mask", path)
    for mount in image.mounts:
        yield ("bind", mount.source, mount.target)


_CONFINED_ETC = (
    *_ETC_BINDS,
    *_FILES,
    "/etc/group",
    "/etc/localtime",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/os-release",
    "/etc/python3*",
)


def confined_records(image: Image) -> Iterator[Record]:
    """The same where nothing can be mounted: what of the host's own files a function may read. A second word is asked for
    and not used."""
    yield ("image", image.name)
    for pattern in ("/usr", *(f"/{name}" for name in _TOP), *dict.fromkeys(_CONFINED_ETC)):
        for path in sorted(glob.glob(pattern)):
            yield ("bind", path, path)
    for mount in image.mounts:
        yield ("bind", mount.source, mount.target)


def pack(records: Iterator[Record]) -> bytes:
    """Records as the spawner reads them: every word ended by a zero byte."""
    return b"".join(os.fsencode(word) + b"\0" for record in records for word in record)
