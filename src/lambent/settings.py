"""One frozen tree of settings, read once at start and passed down.

Each field carries its unit in the name, a default, bounds and a sentence. A value comes from the last of these that
names it: the default, the TOML file (`--config` or LAMBENT_CONFIG), a `LAMBENT_*` variable, the command line. Nothing
else in the project reads the environment, and no module reads settings at import.

The variable of `section.field` is LAMBENT_SECTION_FIELD; for the section `server` the section is left out, so
`server.port` is LAMBENT_PORT. A variable of that shape which names no field is refused: a typing error in a limit must
not pass unseen. LAMBENT_ENDPOINT and LAMBENT_CONFIG belong to the commands, LAMBENT_TEST_* to the tests.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any

PREFIX = "LAMBENT_"
NOT_SETTINGS = frozenset({"LAMBENT_ENDPOINT", "LAMBENT_CONFIG"})
DEFAULT = "default"

_ACCOUNT = re.compile(r"\d{12}")
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]{2,5})*-[a-z]+-\d{1,2}")
_DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*)?")
_LOG_GROUP = re.compile(r"[.\-_/#A-Za-z0-9]{0,512}")
_HTTP_URL = re.compile(r"(https?://[^/\s]+/?)?")
_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})


class SettingsError(Exception):
    """A setting that cannot be used. The text names the field, where the value came from, and the bound it broke."""

    def __init__(self, name: str, origin: str, problem: str) -> None:
        super().__init__(f"{name} (from {origin}): {problem}" if name else f"{origin}: {problem}")
        self.name = name
        self.origin = origin


def about(
    sentence: str,
    *,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    pattern: re.Pattern[str] | None = None,
    secret: bool = False,
) -> dict[str, Any]:
    """What a field says of itself: its sentence and its bounds, both ends included."""
    return {
        "sentence": sentence,
        "least": least,
        "most": most,
        "choices": choices,
        "pattern": pattern,
        "secret": secret,
    }


def default_data_dir(environ: Mapping[str, str], uid: int) -> Path:
    """/var/lib/lambent for root, else `lambent` in the user's XDG data directory."""
    if uid == 0:
        return Path("/var/lib/lambent")
    base = environ.get("XDG_DATA_HOME", "")
    # Source: XDG Base Directory Specification; a relative path there is to be ignored.
    root = Path(base) if base.startswith("/") else Path(environ.get("HOME", "/")) / ".local" / "share"
    return root / "lambent"


def _data_dir() -> Path:
    return default_data_dir(os.environ, os.geteuid())


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The public door and the server's identity."""

    host: str = field(default="127.0.0.1", metadata=about("Address the server listens on; callers there are trusted."))
    port: int = field(
        default=4566, metadata=about("TCP port of the endpoint; 0 takes a free one.", least=0, most=65_535)
    )
    data_dir: Path = field(
        default_factory=_data_dir, metadata=about("Directory that holds functions, queue, logs and the ledger.")
    )
    default_account: str = field(
        default="000000000000",
        metadata=about("Account of a caller whose access key is not itself a 12-digit account id.", pattern=_ACCOUNT),
    )
    default_region: str = field(
        default="us-east-1", metadata=about("Region of a request that is not signed for one.", pattern=_REGION)
    )
    verify_signatures: bool = field(
        default=False, metadata=about("Whether a request with a wrong or missing signature is refused.")
    )
    access_keys: str = field(
        default="",
        repr=False,
        metadata=about(
            "Keys that verified callers may use: KEY:SECRET or KEY:SECRET:ACCOUNT, separated by commas. A 12-digit key is "
            "its own account.",
            secret=True,
        ),
    )
    run_as: str = field(
        default="",
        metadata=about(
            "User, by name or number, that the server becomes when root starts it; empty: `lambent` if there is one, "
            "else a number that is nobody's; root: it stays root."
        ),
    )
    ready_file: str = field(
        default="", metadata=about("File that is written, in one step, when the server listens; empty: none.")
    )
    url_domain: str = field(
        default="",
        metadata=about(
            "Domain whose names lead to this server: function URLs are told as ID.lambda-url.REGION.DOMAIN. Empty: below "
            "localhost for callers on this machine where such names resolve, else a path at the address the caller used.",
            pattern=_DOMAIN,
        ),
    )
    url_log_group: str = field(
        default="",
        metadata=about(
            "Log group that gets a line for each request of a function URL, in the function's account and region; empty: "
            "none is written.",
            pattern=_LOG_GROUP,
        ),
    )
    url_log_format: str = field(
        default=(
            '$context.identity.sourceIp - $context.identity.caller [$context.requestTime] "$context.httpMethod '
            '$context.path $context.protocol" $context.status $context.responseLength $context.requestId'
        ),
        metadata=about("Such a line, with the $context variables of HTTP APIs' access logs."),
    )
    trusted_proxies: str = field(
        default="",
        metadata=about(
            "Addresses and networks of proxies whose X-Forwarded-For, -Proto and -Port are believed, separated by commas."
        ),
    )
    connections_max: int = field(
        default=8_192,
        metadata=about("Client connections open at once; more wait to be accepted.", least=1, most=1_000_000),
    )
    awake_us: int = field(
        default=250,
        metadata=about(
            "How long the answer of a quick function, or the next request after one, is looked for without sleeping, in "
            "microseconds: it saves what waking a processor costs. 0: never; so it is with less than two processors.",
            least=0,
            most=10_000,
        ),
    )
    drain_s: float = field(
        default=10.0, metadata=about("How long a stopping server waits for running invocations.", least=0, most=900)
    )


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """HTTPS, on a port of its own."""

    port: int = field(
        default=0, metadata=about("Port on which HTTPS is spoken, beside server.port; 0: none.", least=0, most=65_535)
    )
    certificate: str = field(
        default="",
        metadata=about(
            "PEM file of the certificate and its chain; empty: certificates of a development authority, which is made in "
            "the data directory (tls/ca.pem) and takes the package cryptography."
        ),
    )
    key: str = field(
        default="", metadata=about("PEM file of the certificate's key; empty: it is in the certificate's file.")
    )


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """How much may run, and for how long what is idle is kept."""

    account_concurrency: int = field(
        default=1_000,
        metadata=about(
            "Concurrent executions of one account in one region; more is throttled.", least=1, most=1_000_000
        ),
    )
    idle_timeout_s: float = field(
        default=14_400.0,
        metadata=about(
            "An idle execution environment is kept this long at most. It goes earlier when, by what is known of its "
            "function, it is worth less than the memory it holds.",
            least=1,
            most=86_400,
        ),
    )
    memory_budget_mb: int = field(
        default=0,
        metadata=about(
            "What all execution environments should hold together, in MB of 2**20 bytes: over it idle ones go, and the "
            "nearer it is, the more an idle one must be worth. It also decides how many may exist, one for each 4 MB. "
            "0: three quarters of the machine's memory. Each environment's own limit is its function's MemorySize.",
            least=0,
            most=16_777_216,
        ),
    )
    environments_max: int = field(
        default=0,
        metadata=about("Execution environments at once; 0: as many as memory_budget_mb allows.", least=0, most=100_000),
    )
    stream_bytes_per_s: int = field(
        default=0,
        metadata=about(
            "Bandwidth of each streamed response after its first 6 MB, in bytes a second: 2097152 is the service's; "
            "0: as fast as its client takes it.",
            least=0,
            most=67_108_864,
        ),
    )
    queued_events_max: int = field(
        default=1_000_000,
        metadata=about("Events that may wait for asynchronous invocation; more is refused.", least=1, most=100_000_000),
    )


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """How functions are isolated."""

    tier: str = field(
        default="auto",
        metadata=about(
            "Isolation to use; auto takes the strongest that works here, a name insists on it.",
            choices=("auto", "container", "rootless", "confined", "process"),
        ),
    )
    blanks: int = field(
        default=4,
        metadata=about("Sandboxes kept ready for the next cold start, of each runtime in use.", least=0, most=1_000),
    )
    waiting_max: int = field(
        default=32,
        metadata=about(
            "Runtimes started ahead that wait in those sandboxes for a function, in all; 0: each cold start starts its own.",
            least=0,
            most=1_000,
        ),
    )
    zygotes: str = field(
        default="account",
        metadata=about(
            "Whose Python environments are forked from one process that has everything loaded: those of an account, of all "
            "accounts (shared), or nobody's (off). They have its memory layout and hash seed in common, and no data.",
            choices=("account", "shared", "off"),
        ),
    )
    pool_mb: int = field(
        default=512,
        metadata=about(
            "What ready sandboxes, runtimes that wait in them and zygotes hold together at most, in MB of 2**20 bytes; "
            "0: no bound.",
            least=0,
            most=1_048_576,
        ),
    )
    templates_max: int = field(
        default=64,
        metadata=about(
            "Versions with SnapStart of which an initialised process is held; beyond it, the one goes that was unused for "
            "longest, and is made again when it is needed.",
            least=1,
            most=10_000,
        ),
    )
    copies_ahead_max: int = field(
        default=1,
        metadata=about(
            "Copies of an initialised function made ahead, of each version with SnapStart that was used within a minute; "
            "0: each is made when it is needed.",
            least=0,
            most=100,
        ),
    )


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """What functions reach beside the platform."""

    egress: str = field(
        default="outbound",
        metadata=about(
            "Where functions may connect to: none, only the platform; outbound, everything but this machine and "
            "metadata services; listed, what network.allow lists. A function may narrow it for itself.",
            choices=("none", "outbound", "listed"),
        ),
    )
    allow: str = field(
        default="",
        metadata=about(
            "What may be connected to, separated by commas: ADDRESS[/PREFIX][:PORT[-PORT]] or NAME[:PORT]. With outbound, "
            "addresses that are closed otherwise: 127.0.0.1:5432."
        ),
    )
    resolvers: str = field(
        default="",
        metadata=about(
            "Name servers that answer functions, ADDRESS[:PORT], separated by commas; empty: those of /etc/resolv.conf."
        ),
    )


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """What runs inside a sandbox."""

    client: str = field(
        default="lambent",
        metadata=about(
            "Runtime client for Python and Node: Lambent's own, or AWS's official one unmodified.",
            choices=("lambent", "official"),
        ),
    )


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Where code named by bucket and key is fetched from."""

    endpoint: str = field(
        default="",
        metadata=about("URL of an S3-compatible server; empty: S3Bucket and S3Key are refused.", pattern=_HTTP_URL),
    )
    access_key: str = field(default="", metadata=about("Access key for that server; empty: unsigned requests."))
    secret_key: str = field(
        default="", repr=False, metadata=about("Secret key that belongs to the access key.", secret=True)
    )
    region: str = field(
        default="us-east-1", metadata=about("Region that requests to that server are signed for.", pattern=_REGION)
    )


@dataclass(frozen=True, slots=True)
class SigningSettings:
    """Whose code signatures count."""

    trust_dir: str = field(
        default="",
        metadata=about(
            "Directory of public keys and certificates, a PEM file for each signing profile version that is trusted; "
            "empty: none is."
        ),
    )


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How much of the functions' logs is kept."""

    group_mb_max: int = field(
        default=256,
        metadata=about("Log of one function, in MB of 2**20 bytes; the oldest is dropped.", least=1, most=1_048_576),
    )
    days: int = field(default=14, metadata=about("Older log events are dropped.", least=1, most=3_653))
    rate_kb_per_s: int = field(
        default=10_240,
        metadata=about(
            "Log output of one environment, in KB of 2**10 bytes a second; the excess is dropped, and counted in a line.",
            least=1,
            most=1_048_576,
        ),
    )


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """When what is written reaches the disk, and when writing stops."""

    ledger_fsync_ms: int = field(
        default=100,
        metadata=about("A power failure loses at most this much of ledger and logs.", least=1, most=60_000),
    )
    disk_low_water_mb: int = field(
        default=512,
        metadata=about(
            "Below this much free disk new code and events are refused, in MB of 2**20 bytes.", least=0, most=1_048_576
        ),
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole tree. `Settings()` is the defaults."""

    server: ServerSettings = field(default_factory=ServerSettings)
    tls: TlsSettings = field(default_factory=TlsSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    sandbox: SandboxSettings = field(default_factory=SandboxSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    runtimes: RuntimeSettings = field(default_factory=RuntimeSettings)
    s3: S3Settings = field(default_factory=S3Settings)
    signing: SigningSettings = field(default_factory=SigningSettings)
    logs: LogSettings = field(default_factory=LogSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)


SECTIONS: dict[str, Callable[..., Any]] = {
    "server": ServerSettings,
    "tls": TlsSettings,
    "limits": LimitSettings,
    "sandbox": SandboxSettings,
    "network": NetworkSettings,
    "runtimes": RuntimeSettings,
    "s3": S3Settings,
    "signing": SigningSettings,
    "logs": LogSettings,
    "storage": StorageSettings,
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One field, described: what `lambent settings` shows."""

    name: str
    """section.field"""
    variable: str
    """Its LAMBENT_* variable."""
    kind: type
    """str, int, float, bool or Path."""
    default: Any
    sentence: str
    least: float | None
    most: float | None
    choices: tuple[str, ...]
    pattern: re.Pattern[str] | None
    secret: bool


def variable_of(section: str, name: str) -> str:
    """The environment variable of a field: LAMBENT_PORT, LAMBENT_LIMITS_IDLE_TIMEOUT_S."""
    return f"{PREFIX}{name if section == 'server' else f'{section}_{name}'}".upper()


_KINDS: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool, "Path": Path}


def _default_of(one: Field[Any]) -> Any:
    return one.default_factory() if one.default_factory is not MISSING else one.default


def described() -> Iterator[Setting]:
    """Every field of the tree, in the order of the sections."""
    for section, shape in SECTIONS.items():
        for one in fields(shape):  # type: ignore[arg-type]  # a Callable to its callers, a dataclass here
            yield Setting(
                name=f"{section}.{one.name}",
                variable=variable_of(section, one.name),
                kind=_KINDS[str(one.type)],
                default=_default_of(one),
                **one.metadata,
            )


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings with the origin of each value: `default`, a file's path, a variable's name or an option's."""

    settings: Settings
    origins: Mapping[str, str]

    def value(self, name: str) -> Any:
        """The value of `section.field`."""
        section, _, one = name.partition(".")
        return getattr(getattr(self.settings, section), one)


def load(
    *,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, tuple[str, object]] | None = None,
) -> Loaded:
    """Read all sources and answer the tree.

    config: a TOML file with one table per section. environ: variables (default: none). options: from the command
    line, field name → (option as typed, value); a None value was not given.
    Raises SettingsError for an unreadable file, an unknown name, a wrong type, a broken bound.
    """
    known = {setting.name: setting for setting in described()}
    values: dict[str, Any] = {}
    origins = dict.fromkeys(known, DEFAULT)
    sources = [*_from_file(config), *_from_environ(environ or {}, known)]
    sources += [(name, option, value) for name, (option, value) in (options or {}).items() if value is not None]
    for name, origin, raw in sources:
        if name not in known:
            raise SettingsError(name, origin, "there is no such setting; `lambent settings` lists them")
        values[name] = checked(known[name], raw, origin)
        origins[name] = origin
    sections = {
        section: shape(**{n.partition(".")[2]: v for n, v in values.items() if n.startswith(section + ".")})
        for section, shape in SECTIONS.items()
    }
    return Loaded(Settings(**sections), origins)


def checked(setting: Setting, raw: object, origin: str) -> Any:
    """`raw` as the field's type and within its bounds. Text is read (variables are text), other types must fit."""
    value = _typed(setting, raw, origin)
    if setting.least is not None and value < setting.least:
        raise SettingsError(setting.name, origin, f"{value} is below the least allowed, {setting.least:,}")
    if setting.most is not None and value > setting.most:
        raise SettingsError(setting.name, origin, f"{value} is above the most allowed, {setting.most:,}")
    if setting.choices and value not in setting.choices:
        raise SettingsError(setting.name, origin, f"{value!r} is not one of {', '.join(setting.choices)}")
    if setting.pattern is not None and setting.pattern.fullmatch(value) is None:
        raise SettingsError(setting.name, origin, f"{value!r} does not have the form {setting.pattern.pattern}")
    return value


def _typed(setting: Setting, raw: object, origin: str) -> Any:
    kind = setting.kind
    if kind is bool and isinstance(raw, str) and raw.lower() in _TRUE | _FALSE:
        return raw.lower() in _TRUE
    if kind in (int, float) and isinstance(raw, str):
        try:
            value = kind(raw)
        except ValueError:
            raise SettingsError(setting.name, origin, f"{raw!r} is not a number") from None
        if value != value or value in (float("inf"), float("-inf")):
            raise SettingsError(setting.name, origin, f"{raw!r} is not a finite number")
        return value
    if kind is Path and isinstance(raw, (str, Path)) and str(raw):
        return Path(raw).expanduser().absolute()
    if kind is float and type(raw) is int:  # not a bool
        return float(raw)
    if type(raw) is kind:
        return raw
    wanted = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path", str: "a text"}[kind]
    raise SettingsError(setting.name, origin, f"{raw!r} is not {wanted}")


def _from_file(path: Path | None) -> Iterator[tuple[str, str, object]]:
    if path is None:
        return
    import tomllib  # only with a file: 5 ms on the way to listening

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError("", str(path), f"cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError("", str(path), f"is not TOML: {error}") from None
    for section, table in document.items():
        if section not in SECTIONS or not isinstance(table, dict):
            raise SettingsError(section, str(path), f"there is no such section; there are {', '.join(SECTIONS)}")
        for one, value in table.items():
            yield f"{section}.{one}", str(path), value


def _from_environ(environ: Mapping[str, str], known: Mapping[str, Setting]) -> Iterator[tuple[str, str, object]]:
    by_variable = {setting.variable: name for name, setting in known.items()}
    for variable, value in environ.items():
        if variable in by_variable:
            yield by_variable[variable], variable, value
        elif variable.startswith(PREFIX) and variable not in NOT_SETTINGS and not variable.startswith("LAMBENT_TEST_"):
            raise SettingsError("", variable, "names no setting; `lambent settings` lists them")
