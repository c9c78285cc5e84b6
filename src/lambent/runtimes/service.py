"""The runtimes of this machine: what there is, what is missing and how to get it, how to start it."""

from __future__ import annotations

import logging
import platform
import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lambent.sandbox.port import Image, Mount

from . import catalogue, environment, official, staging
from .catalogue import Identifier
from .discovery import PROBES_AT_ONCE, Places, scan
from .model import LANGUAGE_DIR, LAYERS_ROOT, RUNTIME_DIR, SDK_DIR, Interpreter, Plan, Runtime, VersionFacts

log = logging.getLogger("lambent.runtimes")

CLIENTS = ("lambent", "official")
PYTHON_VERSIONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
"""What our Python client is written for."""
NODE_VERSIONS = ("18", "20", "22", "24", "26")

_BOOTSTRAPS = (("/var/task/bootstrap",), ("/opt/bootstrap",))
"""Where an OS-only runtime's program may lie, in the service's order."""

# Run in place of a program that the owner names: its absence has words and an exit status of its own on the service.
_WRAP = (
    "/bin/sh",
    "-c",
    'if [ ! -f "$0" ]; then echo "$0: does not exist"; exit 127; fi; '
    'if [ ! -x "$0" ]; then echo "$0: is not an executable"; exit 126; fi; exec "$0" "$@"',
)

_LATER = {
    "java": "Java runtimes are not served by this release; run the JVM from provided.al2023 with a bootstrap in the package",
    "ruby": "Ruby runtimes are not served by this release; run Ruby from provided.al2023 with a bootstrap in the package",
    "dotnet": ".NET runtimes are not served by this release; publish the function self-contained for provided.al2023",
    "go": "go1.x is gone from the service; build the function as `bootstrap` for provided.al2023",
}


def machine_architecture() -> str:
    """This machine's architecture in the service's words: x86_64 or arm64."""
    return {"aarch64": "arm64", "arm64": "arm64", "x86_64": "x86_64", "amd64": "x86_64"}.get(
        platform.machine().lower(), platform.machine()
    )


class Runtimes:
    """What was found on this machine. Values only: every call is a look-up."""

    def __init__(
        self, found: Iterable[Interpreter], staged: Path, clients: Path, architecture: str, sdks: Path | None = None
    ) -> None:
        """`found` in the order of preference: the first of a version counts. `clients`: installed official clients;
        `sdks`: installed AWS SDKs, both by runtime identifier."""
        self.architecture = architecture
        self._staged = staged
        self._has_fork_object = (staged / staging.FORK_INSIDE).is_file()
        self._clients = clients
        self._interpreters: dict[tuple[str, str], Interpreter] = {}
        self._beyond_reach: dict[tuple[str, str], str] = {}
        for interpreter in found:
            self._interpreters.setdefault((interpreter.family, interpreter.version), interpreter)
        # Looked up now: the sandboxes' images are made of what there was at the start, and a look-up touches no disk.
        self._entries: dict[tuple[str, str], tuple[str, ...]] = {}
        for key, one in self._interpreters.items():
            if official.is_installed(clients, one):
                self._entries[key] = official.entry(clients, one)
        self._sdk_dirs: dict[str, Path] = {}
        if sdks is not None:
            self._sdk_dirs = {name: sdks / name for name in catalogue.IDENTIFIERS if (sdks / name).is_dir()}

    def leave_out_of_reach(self, uid: int, gid: int) -> None:
        """Take out what a user can't run where it lies: for a tier that mounts nothing, before anything is asked."""
        for key, one in list(self._interpreters.items()):
            if not _is_reachable(Path(one.executable), uid, gid):
                self._beyond_reach[key] = self._interpreters.pop(key).executable

    def interpreters(self) -> list[Interpreter]:
        """One of each version that was found."""
        return list(self._interpreters.values())

    def names(self) -> list[str]:
        """The identifiers that can run here with our own client, newest of each family first."""
        return [name for name in catalogue.IDENTIFIERS if self.missing(name, self.architecture) is None]

    def missing(self, name: str, architecture: str, client: str = "lambent") -> str | None:
        """None where a function of this runtime and architecture can run; else what to do, in words."""
        identifier = catalogue.find(name)
        if identifier is None:
            return f"{name} is no runtime identifier"
        if architecture != self.architecture:
            return (
                f"the function is for {architecture}, this machine is {self.architecture}: deploy it for "
                f"{self.architecture}, or run Lambent on a machine of its kind"
            )
        if identifier.name == "provided":
            return "provided is gone from the service: use provided.al2023"
        if identifier.family == "provided":
            return None
        if identifier.family in _LATER:
            return _LATER[identifier.family]
        supported = PYTHON_VERSIONS if identifier.family == "python" else NODE_VERSIONS
        if client == "lambent" and identifier.version not in supported:
            return f"Lambent's {identifier.family} client serves versions {supported[0]} to {supported[-1]}, not {name}"
        interpreter = self._interpreters.get((identifier.family, identifier.version))
        beyond = self._beyond_reach.get((identifier.family, identifier.version))
        if beyond is not None:
            return (
                f"{name} is here as {beyond}, which the user that functions run as cannot reach: install it for everybody, "
                "or run Lambent in a tier that mounts it (`lambent doctor`)"
            )
        if interpreter is None:
            return f"{name} is not on this machine: {_how_to_get(identifier)}"
        if client == "official" and (identifier.family, identifier.version) not in self._entries:
            return f"the official client for {name} is not installed: lambent runtimes add official-{name}"
        return None

    def find(self, name: str, architecture: str, client: str = "lambent") -> Runtime | None:
        """The runtime, or None where `missing` has something to say. Never another version."""
        if client not in CLIENTS:
            raise ValueError(f"a runtime client is one of {CLIENTS}, not {client!r}")
        if self.missing(name, architecture, client) is not None:
            return None
        identifier = catalogue.IDENTIFIERS[name]
        interpreter = self._interpreters.get((identifier.family, identifier.version))
        return Runtime(identifier, client, interpreter, self._image(identifier, interpreter, client))

    def find_server(self, name: str, architecture: str) -> Runtime | None:
        """A runtime in which the package's own web server is started and asked over its port by our client: that of an OS-only
        function runs on the newest Python that is here. None where there is none."""
        found = self.find(name, architecture)
        if found is None or found.interpreter is not None:
            return found
        for python in PYTHON_VERSIONS[::-1]:
            runtime = self.find(f"python{python}", architecture)
            if runtime is not None:
                return Runtime(found.identifier, "lambent", runtime.interpreter, runtime.image)
        return None

    def images(self) -> tuple[Image, ...]:
        """Every root image that a function could ask for here; a driver is opened with them."""
        images = {}
        for name in catalogue.IDENTIFIERS:
            for client in CLIENTS:
                runtime = self.find(name, self.architecture, client)
                if runtime is not None:
                    images[runtime.image.name] = runtime.image
        return tuple(images.values())

    def _image(self, identifier: Identifier, interpreter: Interpreter | None, client: str) -> Image:
        if interpreter is None:
            return Image("provided", ())
        mounts = [Mount(interpreter.prefix, LANGUAGE_DIR)]
        if not (interpreter.prefix + "/").startswith("/usr/"):
            mounts.append(Mount(interpreter.prefix, interpreter.prefix))
        mounts += [Mount(library, library) for library in interpreter.libraries]
        if client == "official":
            mounts.append(Mount(str(official.directory(self._clients, interpreter)), RUNTIME_DIR))
            return Image(f"{identifier.name}-official", tuple(mounts))
        mounts.append(Mount(str(self._staged / identifier.family), RUNTIME_DIR))
        sdk = self._sdk(identifier)
        if sdk is not None:
            mounts.append(Mount(str(sdk), SDK_DIR))
        return Image(identifier.name, tuple(mounts))

    def _sdk(self, identifier: Identifier) -> Path | None:
        """The SDK that was added for a runtime."""
        return self._sdk_dirs.get(identifier.name)

    def plan(self, runtime: Runtime, facts: VersionFacts) -> Plan:
        """How to start `runtime` for one function version."""
        identifier, interpreter = runtime.identifier, runtime.interpreter
        if interpreter is None:
            return Plan(_BOOTSTRAPS, environment.variables(identifier, facts, frames=False), "http")
        frames = runtime.client == "lambent"
        if not frames:
            argv = (*self._entries[identifier.family, identifier.version], facts.handler)
        else:
            argv = _own_client(interpreter)
        env = environment.variables(identifier, facts, frames=frames)
        if frames and identifier.family == "python":
            env["_LAMBENT_LAYERS"] = LAYERS_ROOT
        if frames and self._sdk(identifier) is not None:
            env["_LAMBENT_SDK"] = SDK_DIR
        wrapper = env.get("AWS_LAMBDA_EXEC_WRAPPER")
        if wrapper:
            argv = (*_WRAP, wrapper, *argv)
        return Plan((argv,), env, "frames" if frames else "http")

    def waiting(self, runtime: Runtime, own: Mapping[str, str]) -> tuple[tuple[str, ...], Mapping[str, str]] | None:
        """Program and variables with which `runtime` starts ahead and waits for a function that has these variables of
        its own; None where such a function needs a start of its own."""
        if runtime.client != "lambent" or runtime.interpreter is None or runtime.identifier.family == "provided":
            return None
        if "AWS_LAMBDA_EXEC_WRAPPER" in own or environment.needs_fresh_start(own):
            return None
        argv = _own_client(runtime.interpreter)
        env = environment.waiting_variables(runtime.identifier)
        if runtime.identifier.family == "python":
            env["_LAMBENT_LAYERS"] = LAYERS_ROOT
            if self.has_sdk(runtime):
                env["_LAMBENT_SDK"] = SDK_DIR
        return argv, env

    def has_sdk(self, runtime: Runtime) -> bool:
        """Whether functions of `runtime` may import the AWS SDK without bringing it."""
        return self._sdk(runtime.identifier) is not None

    def fork_object(self, runtime: Runtime) -> str | None:
        """Path, in the runtime's image, of what lets it fork itself into sandboxes; None where it can't."""
        has_one = self._has_fork_object and runtime.identifier.family == "python" and runtime.client == "lambent"
        return f"{RUNTIME_DIR}/{Path(staging.FORK_INSIDE).name}" if has_one else None

    def no_copies(self, runtime: Runtime, own: Mapping[str, str]) -> str | None:
        """Why an initialised process of `runtime` could not be copied, for a function that has these variables of its
        own; None: it can be."""
        if runtime.identifier.family != "python":
            return f"a process of {runtime.name} can't be copied: it runs several threads"
        if runtime.client != "lambent":
            return "the official runtime client can't be copied: Lambent's own can"
        if "AWS_LAMBDA_EXEC_WRAPPER" in own:
            return "a wrapper script may start what can't be copied"
        return None


def _is_reachable(path: Path, uid: int, gid: int) -> bool:
    """Whether a user with no other group can execute a file: search permission on all directories above it."""
    for one in (path, *path.parents):
        try:
            status = one.stat()
        except OSError:
            return False
        shift = 6 if status.st_uid == uid else 3 if status.st_gid == gid else 0
        if not status.st_mode >> shift & 0o1:
            return False
    return True


def _own_client(interpreter: Interpreter) -> tuple[str, ...]:
    if interpreter.family == "python":
        return (f"{LANGUAGE_DIR}/bin/python{interpreter.version}", "-S", f"{RUNTIME_DIR}/bootstrap.py")
    return (f"{LANGUAGE_DIR}/bin/node", f"{RUNTIME_DIR}/index.mjs")


def _how_to_get(identifier: Identifier) -> str:
    if identifier.family == "nodejs":
        return f"lambent runtimes add {identifier.name}"
    version = identifier.version
    return f"apt install python{version}, pyenv install {version}, or uv python install {version}"


def discover(places: Places, data: Path) -> Runtimes:
    """Look at the machine: some 0.5 s the first time, a few milliseconds with the kept answers.

    `data`: the directory for what this room keeps (DATA/runtimes): installations, clients, answers, staged bootstraps.
    """
    staged = staging.stage(data / "bootstraps")
    found = scan(places, data / "discovered.json")
    ours = [one for one in found if one.family == "python" and one.version in PYTHON_VERSIONS]
    with ThreadPoolExecutor(PROBES_AT_ONCE) as pool:
        list(pool.map(lambda interpreter: _compile(staged, interpreter), ours))
    return Runtimes(found, staged, data / "clients", machine_architecture(), data / "sdks")


def _compile(staged: Path, interpreter: Interpreter) -> None:
    """Make the bytecode of our client; without it (the directory is another user's) a start takes some ms longer."""
    try:
        staging.compile_for(staged, interpreter)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("no bytecode for Python %s (%s): its cold starts take longer", interpreter.release, error)
