"""Signature Version 4: who claims to be calling, and whether it is true.

`identify` reads the credential scope of a header or a presigned query and believes it. `verify` does nothing unless
signatures are verified; then it computes the signature over what was received. Requests through a sandbox's listener
are known by the listener and act for that sandbox's account; no key they carry changes that, so none is checked.

Caches: callers by the raw credential string, signing keys by the same string and filled only after a signature was
found right; both hold at most `CACHE_MAX` entries and are emptied when full.

Temporary credentials that this server issued are known by themselves, verified signatures or not: their holder acts as
their token says, and they are refused once they have ended. (Whoever holds a token has been given it: it can't be made
up.) Through a sandbox's listener they may name another role, never another account.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import time
from collections.abc import Awaitable
from datetime import datetime

from lambent.domain.clock import Clock
from lambent.domain.errors import AccessDenied, Unauthenticated
from lambent.domain.names import Scope, is_account
from lambent.http import Request

from .canonical import canonical_headers, canonical_paths, canonical_query, query_parameters
from .model import Caller, Credential, Credentials, MemoryCredentials, SandboxOrigin, root_arn
from .temporary import TemporaryCredentials

CACHE_MAX = 4_096
SKEW_S = 300
"""How far a request's time may be from ours; the published five minutes."""
PRESIGNED_S_MAX = 604_800
HASH_THREAD_BYTES = 262_144
"""Bodies over this are hashed in a thread: SHA-256 of 6 MB takes 4 ms, in which the loop would stand still."""

_ALGORITHM = b"AWS4-HMAC-SHA256"
_HEADER = re.compile(
    rb"AWS4-HMAC-SHA256[ ]+Credential=([^,\s]+)[ ]*,[ ]*SignedHeaders=([^,\s]+)[ ]*,[ ]*Signature=([0-9a-f]{64})"
)
_REGION = re.compile(r"[a-z0-9-]{1,32}")
_SERVICE = re.compile(r"[a-z0-9-]{1,64}")
_UNSIGNED_PAYLOAD = b"UNSIGNED-PAYLOAD"
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest().encode()

BAD_SIGNATURE = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key"
    " and signing method. Consult the service documentation for details."
)
UNKNOWN_TOKEN = "The security token included in the request is invalid."
EXPIRED_TOKEN = "The security token included in the request is expired"


def _refuse(code: str, message: str) -> Unauthenticated:
    return Unauthenticated(code, message)


class Signature:
    """What a request carries to prove itself."""

    __slots__ = ("credential", "expires_s", "signature", "signed_headers", "timestamp", "token")

    def __init__(
        self,
        credential: bytes,
        signed_headers: bytes,
        signature: bytes,
        timestamp: bytes,
        token: bytes | None,
        expires_s: int | None,
    ) -> None:
        self.credential = credential
        """access key/date/region/service/aws4_request, as it came"""
        self.signed_headers = signed_headers
        self.signature = signature
        self.timestamp = timestamp
        self.token = token
        self.expires_s = expires_s
        """Validity of a presigned request; None for one signed by a header."""


def read_signature(request: Request) -> Signature:
    """The signature of a header or a presigned query. Raises Unauthenticated when there is none, or half of one."""
    authorization = request.header(b"authorization")
    if authorization is not None and authorization.startswith(b"AWS4-"):
        match = _HEADER.fullmatch(authorization)
        timestamp = request.header(b"x-amz-date") or request.header(b"date")
        if match is None or timestamp is None:
            raise _incomplete(authorization, timestamp)
        return Signature(match[1], match[2], match[3], timestamp, request.header(b"x-amz-security-token"), None)
    if b"X-Amz-Algorithm=" in request.query:
        found = query_parameters(request.query)
        try:
            credential, names = found[b"X-Amz-Credential"], found[b"X-Amz-SignedHeaders"]
            signature, timestamp = found[b"X-Amz-Signature"], found[b"X-Amz-Date"]
            expires = found[b"X-Amz-Expires"]
        except KeyError as missing:
            name = missing.args[0].decode("latin-1")
            raise _refuse(
                "IncompleteSignatureException", f"AWS query-string parameters must include '{name}'."
            ) from None
        if found[b"X-Amz-Algorithm"] != _ALGORITHM:
            raise _refuse("IncompleteSignatureException", "Unsupported AWS 'algorithm'.")
        if not expires.isdigit() or len(expires) > 6 or not 0 < int(expires) <= PRESIGNED_S_MAX:
            raise _refuse("InvalidSignatureException", "X-Amz-Expires must be between 1 and 604800 seconds")
        return Signature(credential, names, signature, timestamp, found.get(b"X-Amz-Security-Token"), int(expires))
    raise _refuse("MissingAuthenticationTokenException", "Missing Authentication Token")


def _incomplete(authorization: bytes, timestamp: bytes | None) -> Unauthenticated:
    """The published sentence for each part that is missing."""
    parts = [
        f"Authorization header requires '{name}' parameter."
        for name in ("Credential", "Signature", "SignedHeaders")
        if f"{name}=".encode() not in authorization
    ]
    if timestamp is None:
        parts.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if not parts:
        return _refuse("InvalidSignatureException", BAD_SIGNATURE)
    parts.append("Authorization=" + authorization.partition(b" ")[0].decode("latin-1"))
    return _refuse("IncompleteSignatureException", " ".join(parts))


class SigV4:
    """The authenticator of the public door."""

    def __init__(
        self,
        clock: Clock,
        credentials: Credentials | None = None,
        *,
        default_account: str = "000000000000",
        default_region: str = "us-east-1",
        is_verifying: bool = False,
        temporary: TemporaryCredentials | None = None,
    ) -> None:
        """credentials: whose keys are known; needed to verify, and to tell the account of keys that are no account id.
        default_account, default_region: for unsigned requests, and for keys that name no account.
        temporary: credentials that this server issues; None: it issues none."""
        self._clock = clock
        self._credentials = credentials if credentials is not None else MemoryCredentials()
        self._default_account = default_account
        self._default_region = default_region
        self._is_verifying = is_verifying
        self._temporary = temporary
        self._is_fixed = credentials is None  # whose a key is can't change: callers may be cached
        self._callers: dict[bytes, Caller] = {}
        self._keys: dict[tuple[bytes, str], bytes] = {}
        self._names: dict[bytes, tuple[bytes, ...]] = {}
        self._unsigned = self._caller(None, None, None)

    # -- who

    def identify(self, request: Request) -> Caller:
        """What the head claims: account, region, service. Never raises for a request without a signature."""
        if request.origin is not None:
            return self._identify_sandbox(request)
        raw = _raw_credential(request)
        if raw is None:
            return self._unsigned if not _is_signed_for_s3_of_old(request) else self._caller(None, None, "s3")
        if not self._is_fixed:
            claimed = _scope(raw)
            return self._temporary_caller(request, *claimed) or self._caller(*claimed)
        caller = self._callers.get(raw)
        if caller is None:
            claimed = _scope(raw)
            temporary = self._temporary_caller(request, *claimed)
            if temporary is not None:
                return temporary  # who it is stands in the token, not in the credential string
            caller = self._caller(*claimed)
            if len(self._callers) >= CACHE_MAX:
                self._callers.clear()
            self._callers[raw] = caller
        return caller

    def _caller(self, access_key: str | None, region: str | None, service: str | None) -> Caller:
        account, arn = self._default_account, None
        if access_key is not None:
            credential = self._credentials.find(access_key)
            if credential is not None:
                account, arn = credential.account, credential.arn
            elif is_account(access_key):
                account = access_key
        region = region or self._default_region
        return Caller(Scope(account, region), access_key, service, arn or root_arn(account, region), None)

    def _is_temporary(self, access_key: str | None) -> bool:
        """Whether an access key is one of those that this server issues, in force or not."""
        return (
            self._temporary is not None
            and access_key is not None
            and access_key.startswith("ASIA")
            and self._temporary.account_of(access_key) is not None
        )

    def _temporary_caller(
        self, request: Request, access_key: str | None, region: str | None, service: str | None
    ) -> Caller | None:
        """The caller behind temporary credentials of ours; without their token the account alone is known."""
        if not self._is_temporary(access_key):
            return None
        assert self._temporary is not None
        assert access_key is not None
        credential = self._temporary.find(access_key, _token(request))
        region = region or self._default_region
        if credential is not None:
            return Caller(Scope(credential.account, region), access_key, service, credential.arn or "", None)
        account = self._temporary.account_of(access_key) or self._default_account
        return Caller(Scope(account, region), access_key, service, root_arn(account, region), None)

    def _identify_sandbox(self, request: Request) -> Caller:
        origin = request.origin
        if not isinstance(origin, SandboxOrigin):
            raise TypeError(f"a request's origin is a SandboxOrigin, not {type(origin).__name__}")
        raw = _raw_credential(request)
        access_key, region, service = (None, None, None) if raw is None else _scope(raw)
        region = region or origin.region
        scope = Scope(origin.account, region)
        arn = origin.arn or root_arn(origin.account, region)
        claimed = self._temporary_caller(request, access_key, region, service)
        if claimed is not None and claimed.scope.account == origin.account and _token(request) is not None:
            arn = claimed.arn
        return Caller(scope, access_key, service, arn, origin.environment)

    # -- whether

    def verify(self, request: Request, caller: Caller) -> Awaitable[None] | None:
        """Check the signature over head and body, where signatures are verified. None: it is right, or not asked for.

        An awaitable when a large body is hashed in a thread. Raises Unauthenticated, at once or when awaited.
        """
        if not self._is_verifying or caller.sandbox is not None:
            if self._is_temporary(caller.access_key):
                self._check_temporary(request, caller)
            return None
        return self._verify_whole(request, caller)

    def prove(self, request: Request, caller: Caller) -> Awaitable[None] | None:
        """As `verify`, for what lets in only who has proved who they are: the signature is checked wherever the secret is
        known, also where signatures are not verified otherwise and through a sandbox's listener. A key that nobody knows
        is taken at its word there, as everywhere on such a server, if its signature is whole and of now."""
        if caller.sandbox is None and self._is_verifying:
            return self._verify_whole(request, caller)
        signature = read_signature(request)
        if self._is_temporary(caller.access_key):
            self._check_temporary(request, caller)
            if signature.token is not None:
                return self._verify_whole(request, caller)
        elif caller.access_key is not None and self._credentials.find(caller.access_key) is not None:
            return self._verify_whole(request, caller)
        self._check_time(signature)
        return None

    def _verify_whole(self, request: Request, caller: Caller) -> Awaitable[None] | None:
        signature = read_signature(request)
        credential = self._check_credential(signature, caller)
        self._check_time(signature)
        declared = request.header(b"x-amz-content-sha256")
        if declared is None and signature.expires_s is not None and caller.service == "s3":
            declared = _UNSIGNED_PAYLOAD
        if declared is not None and (declared == _UNSIGNED_PAYLOAD or declared.startswith(b"STREAMING-")):
            self._check_signature(request, caller, signature, credential, declared)
            return None
        body = request.body
        if len(body) > HASH_THREAD_BYTES:
            return self._verify_large(request, caller, signature, credential, declared)
        digest = hashlib.sha256(body).hexdigest().encode() if body else _EMPTY_SHA256
        self._check_digest(declared, digest)
        self._check_signature(request, caller, signature, credential, digest)
        return None

    async def _verify_large(
        self, request: Request, caller: Caller, signature: Signature, credential: Credential, declared: bytes | None
    ) -> None:
        digest = (await asyncio.to_thread(_hash, request.body)).encode()
        self._check_digest(declared, digest)
        self._check_signature(request, caller, signature, credential, digest)

    @staticmethod
    def _check_digest(declared: bytes | None, digest: bytes) -> None:
        if declared is not None and declared.lower() != digest:
            raise _refuse("InvalidSignatureException", BAD_SIGNATURE)

    def _check_credential(self, signature: Signature, caller: Caller) -> Credential:
        if self._is_temporary(caller.access_key):
            token = None if signature.token is None else signature.token.decode("latin-1")
            return self._temporary_credential(caller, token)
        credential = None if caller.access_key is None else self._credentials.find(caller.access_key)
        if credential is None:
            raise _refuse("UnrecognizedClientException", UNKNOWN_TOKEN)
        if not hmac.compare_digest((credential.token or "").encode(), signature.token or b""):
            raise _refuse("UnrecognizedClientException", UNKNOWN_TOKEN)
        if credential.expires_ms is not None and self._clock.wall_ms() >= credential.expires_ms:
            raise _refuse("ExpiredTokenException", EXPIRED_TOKEN)
        return credential

    def _temporary_credential(self, caller: Caller, token: str | None) -> Credential:
        """Credentials of ours that are in force."""
        assert self._temporary is not None
        assert caller.access_key is not None
        credential = self._temporary.find(caller.access_key, token)
        if credential is None:
            raise _refuse("UnrecognizedClientException", UNKNOWN_TOKEN)
        if not self._temporary.is_in_force(credential):
            raise _refuse("ExpiredTokenException", EXPIRED_TOKEN)
        return credential

    def _check_temporary(self, request: Request, caller: Caller) -> None:
        """Where signatures are not verified: credentials of ours must be whole and in force nevertheless."""
        token = _token(request)
        if caller.sandbox is not None and token is None:
            return  # known by the listener; the key alone changes nothing
        credential = self._temporary_credential(caller, token)
        if credential.account != caller.scope.account:
            raise AccessDenied(
                f"A function acts in its own account, {caller.scope.account}: credentials of account "
                f"{credential.account} are not taken through its sandbox's endpoint."
            )

    def _check_time(self, signature: Signature) -> None:
        stamp = signature.timestamp.decode("latin-1")
        signed_s = _epoch_s(stamp)
        if signed_s is None:
            raise _refuse(
                "IncompleteSignatureException",
                f"Date must be in ISO-8601 'basic format'. Got '{stamp}'. See http://en.wikipedia.org/wiki/ISO_8601",
            )
        parts = signature.credential.rsplit(b"/", 4)
        if len(parts) != 5:
            raise _refuse(
                "IncompleteSignatureException", "Credential must have the form KEY/DATE/REGION/SERVICE/aws4_request."
            )
        date = parts[1].decode("latin-1")
        if not stamp.startswith(date) or len(date) != 8:
            raise _refuse(
                "InvalidSignatureException",
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP:"
                f" '{date}' != '{stamp[:8]}', from '{stamp}'.",
            )
        now_s = self._clock.wall_ms() // 1000
        valid_s = SKEW_S if signature.expires_s is None else signature.expires_s
        if signed_s < now_s - valid_s:
            limit = f"{valid_s // 60} min." if valid_s % 60 == 0 else f"{valid_s} s."
            raise _refuse(
                "InvalidSignatureException",
                f"Signature expired: {stamp} is now earlier than {_stamp(now_s - valid_s)} ({_stamp(now_s)} - {limit})",
            )
        if signed_s > now_s + SKEW_S:
            raise _refuse(
                "InvalidSignatureException",
                f"Signature not yet current: {stamp} is still later than {_stamp(now_s + SKEW_S)}"
                f" ({_stamp(now_s)} + 5 min.)",
            )

    def _check_signature(
        self, request: Request, caller: Caller, signature: Signature, credential: Credential, payload: bytes
    ) -> None:
        raw = signature.credential
        names = self._names.get(signature.signed_headers)
        if names is None:
            names = tuple(signature.signed_headers.split(b";"))
        scope = raw[raw.index(b"/") + 1 :] if b"/" in raw else b""
        key = self._keys.get((raw, credential.secret))
        derived = key if key is not None else _derive(credential.secret, scope)
        headers = canonical_headers(request, names)
        query = canonical_query(request.query)
        for path in canonical_paths(request.path, caller.service or ""):
            canonical = b"%b\n%b\n%b\n%b\n%b\n%b" % (
                request.method.encode(),
                path,
                query,
                headers,
                signature.signed_headers,
                payload,
            )
            digest = hashlib.sha256(canonical).hexdigest().encode()
            to_sign = b"AWS4-HMAC-SHA256\n%b\n%b\n%b" % (signature.timestamp, scope, digest)
            expected = hmac.digest(derived, to_sign, "sha256").hex().encode()
            if b"host" in names and hmac.compare_digest(expected, signature.signature):
                break
        else:
            raise _refuse("InvalidSignatureException", BAD_SIGNATURE)
        if key is None:
            if len(self._keys) >= CACHE_MAX:
                self._keys.clear()
            self._keys[raw, credential.secret] = derived
        if len(self._names) < CACHE_MAX:
            self._names[signature.signed_headers] = names


def _raw_credential(request: Request) -> bytes | None:
    """The credential string of a header or a presigned query, as it came; None when there is none."""
    authorization = request.header(b"authorization")
    if authorization is not None:
        if not authorization.startswith(b"AWS4-"):
            return None
        at = authorization.find(b"Credential=") + 11
        if at < 11:
            return None
        end = authorization.find(b",", at)
        return authorization[at:].strip() if end < 0 else authorization[at:end]
    if b"X-Amz-Credential=" in request.query:
        return query_parameters(request.query).get(b"X-Amz-Credential")
    return None


def _token(request: Request) -> str | None:
    """The session token of a header or a presigned query."""
    token = request.header(b"x-amz-security-token")
    if token is None and b"X-Amz-Security-Token=" in request.query:
        token = query_parameters(request.query).get(b"X-Amz-Security-Token")
    return None if token is None else token.decode("latin-1")


def _scope(raw: bytes) -> tuple[str | None, str | None, str | None]:
    """Access key, region and service of a credential string; None for what is not there or not well-formed (the region
    becomes part of names, and must not carry anything odd into them)."""
    parts = raw.decode("latin-1").rsplit("/", 4)
    if len(parts) != 5 or parts[4] != "aws4_request":
        return (parts[0] or None) if len(parts) == 1 else None, None, None
    access_key, _, region, service, _ = parts
    return (
        access_key or None,
        region if _REGION.fullmatch(region) else None,
        service if _SERVICE.fullmatch(service) else None,
    )


def _is_signed_for_s3_of_old(request: Request) -> bool:
    """Signature version 2, which only S3 still meets: presigned URLs of some SDKs."""
    authorization = request.header(b"authorization")
    if authorization is not None:
        return authorization.startswith(b"AWS ")
    return b"AWSAccessKeyId=" in request.query and b"Signature=" in request.query


def _derive(secret: str, scope: bytes) -> bytes:
    """The signing key of a scope `date/region/service/aws4_request`."""
    key = b"AWS4" + secret.encode()
    for part in scope.split(b"/"):
        key = hmac.digest(key, part, "sha256")
    return key


def _hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


_STAMP = re.compile(r"\d{8}T\d{6}Z")


def _epoch_s(stamp: str) -> int | None:
    """Seconds of an ISO 8601 basic time stamp, or None."""
    if _STAMP.fullmatch(stamp) is None:
        return None
    try:
        return int(datetime.fromisoformat(stamp).timestamp())
    except ValueError:
        return None


def _stamp(epoch_s: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(epoch_s))
