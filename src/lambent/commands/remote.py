"""What the commands that talk to a server share: its address, the keys, and how its refusals are told."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .failures import Failed

if TYPE_CHECKING:
    from lambent.client import Client

DEFAULT_ENDPOINT = "http://127.0.0.1:4566"
DEFAULT_REGION = "us-east-1"
DEFAULT_KEY = "test"
COMPLETION_LIMIT_S = 1.0

_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-[0-9]+")
"""What every region's name looks like. The server acts in its own where it is told of none, also by a typing error."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


def endpoint_of(environ: Mapping[str, str]) -> str:
    """The most specific variable that is set: LAMBENT_ENDPOINT, AWS_ENDPOINT_URL_LAMBDA, AWS_ENDPOINT_URL."""
    for variable in ("LAMBENT_ENDPOINT", "AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL"):
        if environ.get(variable):
            return environ[variable]
    return DEFAULT_ENDPOINT


def remote(command: _Command) -> _Command:
    """Give a command --endpoint and --region, and --json."""
    command = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")(command)
    command = click.option("--region", metavar="REGION", help="Region to act in (default: AWS_REGION, or us-east-1).")(
        command
    )
    return click.option(
        "--endpoint",
        metavar="URL",
        help="Server to talk to (default: LAMBENT_ENDPOINT, AWS_ENDPOINT_URL, or http://127.0.0.1:4566).",
    )(command)


@contextmanager
def client(endpoint: str | None, region: str | None, *, answer_limit_s: float | None = None) -> Iterator[Client]:
    """A client for the length of the block; what the server refuses, and its absence, become one sentence."""
    from lambent.client import ANSWER_LIMIT_S, ApiError, Client, Credentials, Unreachable

    environ = os.environ
    address = endpoint or endpoint_of(environ)
    if region is not None and not _REGION.fullmatch(region):
        raise Failed(f"{region!r} is not a region; it looks like {DEFAULT_REGION}.")
    region = region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION
    credentials = Credentials(
        environ.get("AWS_ACCESS_KEY_ID", DEFAULT_KEY),
        environ.get("AWS_SECRET_ACCESS_KEY", DEFAULT_KEY),
        environ.get("AWS_SESSION_TOKEN") or None,
    )
    try:
        opened = Client(
            address, region=region, credentials=credentials, answer_limit_s=answer_limit_s or ANSWER_LIMIT_S
        )
    except ValueError as error:
        raise Failed(f"{error}.") from None
    try:
        yield opened
    except Unreachable as error:
        raise Failed(
            f"{error}. Is the server running? Start it with `lambent up`, or name it with --endpoint."
        ) from None
    except ApiError as error:
        words = " ".join(line.strip() for line in str(error).splitlines())  # a parser's words have two lines
        raise Failed(f"{words} ({error.code})") from None
    finally:
        opened.close()


def find(server: Client, name: str) -> dict[str, Any] | None:
    """The function's configuration, or None where there is no such function."""
    from lambent.client import ApiError, function_path

    try:
        found: dict[str, Any] = server.call("GET", function_path(name, "configuration"))
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    return found


def function_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Shell completion of a function's name. A shell that is being typed in must not see errors, so none are shown."""
    try:
        with client(ctx.params.get("endpoint"), ctx.params.get("region"), answer_limit_s=COMPLETION_LIMIT_S) as opened:
            names = [str(function["FunctionName"]) for function in opened.functions()]
    except Failed:
        return []
    return [name for name in names if name.startswith(incomplete)]


def name_argument(*, many: bool = False) -> Callable[[_Command], _Command]:
    """The argument NAME (or NAME...), completed by the server."""
    if many:
        return click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=function_names)
    return click.argument("name", metavar="NAME", shell_complete=function_names)
