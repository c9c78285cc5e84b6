"""What `lambent up` prints when it listens. On the way to listening: no import but the standard library's cheapest."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 100
INDENT = 12


def render(facts: Mapping[str, Any], *, colour: bool) -> str:
    """The banner as text, with a newline at its end.

    facts: `version`, `endpoint` (URL), `tier` (name), `tier_reasons` (sentences: why not a stronger one), `runtimes`
    (identifiers found), `missing` (sentences: what is not here and how to get it), `data_dir`, and where they are known
    `secure_endpoint` (URL of HTTPS), `authority` (file of the certificate that clients are to trust), `is_boundary` (of the
    tier), `data_note` (what is wrong with the data directory's disk), `started_ms` (process start to listening), `trusts`
    (a sentence on who may call), `region` (that clients are told) and `access_key` (one that is verified; its secret is not
    for a terminal). colour: whether to use ANSI.
    """
    ready = f" · ready in {facts['started_ms']:.0f} ms" if facts.get("started_ms") is not None else ""
    lines = [_styled(f"lambent {facts['version']}", "1", colour) + ready, ""]
    lines += _field("endpoint", [_styled(str(facts["endpoint"]), "1;36", colour)])
    if facts.get("secure_endpoint"):
        lines += _field(
            "https", [_styled(str(facts["secure_endpoint"]), "1;36", colour), *_trust(facts.get("authority"))]
        )
    lines += _field(
        "tier",
        [_tier(str(facts["tier"]), facts.get("is_boundary", True), colour), *_wrapped(facts.get("tier_reasons", ()))],
    )
    found = ", ".join(facts["runtimes"])
    lines += _field("runtimes", _wrapped([found]) if found else ["none found on this machine"])
    missing = _wrapped(facts.get("missing", ()))
    if missing:
        lines += _field("missing", missing)
    note = facts.get("data_note")
    lines += _field(
        "data", [str(facts["data_dir"]), *(_styled(line, "1;33", colour) for line in _wrapped([note] if note else []))]
    )
    if facts.get("trusts"):
        lines += _field("callers", _wrapped([str(facts["trusts"])]))
    key = facts.get("access_key")
    keys = (key, f"'the secret of {key}'") if key else ("test", "test")
    region = facts.get("region", "us-east-1")
    lines += [
        "",
        f"  export AWS_ENDPOINT_URL={facts['endpoint']} AWS_ACCESS_KEY_ID={keys[0]} AWS_SECRET_ACCESS_KEY={keys[1]} "
        f"AWS_REGION={region} AWS_DEFAULT_REGION={region}",  # boto3 and the AWS CLI v1 know the second one alone
        "",
    ]
    return "\n".join(lines) + "\n"


def _trust(authority: Any) -> list[str]:
    """How clients come to trust a development authority; nothing to say where the certificate is the user's."""
    if authority is None:
        return []
    return [f"development authority: curl --cacert {authority}", f"SDKs: export AWS_CA_BUNDLE={authority}"]


def _tier(name: str, is_boundary: bool, colour: bool) -> str:
    if name == "process":
        return _styled("process: functions are NOT isolated from this user's files", "1;33", colour)
    if not is_boundary:
        return _styled(f"{name}: functions are NOT isolated from this machine's readable files", "1;33", colour)
    return _styled(name, "1;32", colour)


def _field(name: str, lines: Sequence[str]) -> list[str]:
    return [f"  {name if index == 0 else '':<{INDENT - 2}}{line}" for index, line in enumerate(lines)]


def _wrapped(sentences: Sequence[str]) -> list[str]:
    """Sentences as lines of a readable width. Commands in them stay whole: a broken one cannot be copied."""
    lines: list[str] = []
    for sentence in sentences:
        lines += textwrap.wrap(sentence, WIDTH - INDENT, break_long_words=False, break_on_hyphens=False) or [""]
    return lines


def _styled(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text
