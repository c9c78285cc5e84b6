"""From a function version to the plan that starts its runtime: `functions` and `packages` meet `runtimes`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lambent.domain.egress import Egress, Outside
from lambent.domain.names import runtime_version_arn
from lambent.environments.failures import NO_BOOTSTRAP
from lambent.environments.plan import Blueprint, ExtensionProgram, RuntimeMissing, StartPlan, WaitingProgram
from lambent.functions.model import FunctionVersion
from lambent.identity.temporary import TemporaryCredentials
from lambent.packages.inside import find_file
from lambent.runtimes.environment import for_extensions
from lambent.runtimes.model import EXTENSIONS_DIR, LAYERS_ROOT, TASK_ROOT, Credentials, Runtime, VersionFacts
from lambent.runtimes.service import Runtimes
from lambent.telemetry.attempt import SNAP_START, Origin

SDK_MODULES = ("boto3", "botocore")
SOURCE_BYTES_MAX = 262_144
"""Of a handler's module, looked at for the SDK's names."""


class MachineBlueprints:
    """Blueprints from what was found on this machine."""

    def __init__(
        self,
        runtimes: Runtimes,
        packages_root: Path,
        client: str,
        temporary: TemporaryCredentials,
        outside: Outside,
        zygotes: str = "off",
    ) -> None:
        """client: the server's choice of runtime client, `lambent` or `official`; a function may choose for itself.
        outside: where all functions may connect to at most; a function may narrow it. zygotes: who shares one, `account`,
        `shared` (all) or `off` (nobody has one)."""
        self._zygotes = zygotes
        self._temporary = temporary
        self._runtimes = runtimes
        self._packages_root = packages_root
        self._client = client
        self._programs: dict[str, WaitingProgram] = {}
        self._outside = outside

    def blueprint(self, version: FunctionVersion) -> Blueprint:
        configuration = version.configuration
        name = configuration.runtime or ""
        client = configuration.runtime_client or self._client
        if self._runtimes.find(name, configuration.architecture) is not None and name.startswith("provided"):
            client = "lambent"  # OS-only runtimes bring their own client in the package
        if configuration.web_adapter is not None:
            client = "lambent"  # which is the adapter
            runtime = self._runtimes.find_server(name, configuration.architecture)
        else:
            runtime = self._runtimes.find(name, configuration.architecture, client)
        if runtime is None:
            raise RuntimeMissing(
                self._runtimes.missing(name, configuration.architecture, client)
                or f"the web adapter asks the server of a {name} function by a Python, and none is on this machine"
            )
        found = runtime
        identifier = runtime.identifier

        extensions = self._extensions(version)

        def start(origin: Origin, api_address: str) -> StartPlan:
            plan = self._start(found, version, origin, api_address)
            return replace(plan, extensions=_programs(extensions, plan)) if extensions else plan

        return Blueprint(
            image=runtime.image.name,
            start=start,
            runtime_version=f"{identifier.family}:{identifier.version or identifier.os.lower()}.v1",
            runtime_version_arn=runtime_version_arn(version.ref.region, name),
            waiting=self._waiting(found, version),
            egress=Egress(self._outside.layer, configuration.egress),
            no_copies=self._runtimes.no_copies(found, configuration.variables),
        )

    def _waiting(self, runtime: Runtime, version: FunctionVersion) -> WaitingProgram | None:
        """One object an image, and where it is forked one for each who shares a zygote: what waits is the same for every
        function."""
        if not version.configuration.is_preloaded:
            return None
        program = self._runtimes.waiting(runtime, version.configuration.variables)
        if program is None:
            return None
        image, fork_object = runtime.image.name, self._runtimes.fork_object(runtime)
        if self._zygotes == "off" or fork_object is None:
            return self._programs.setdefault(image, WaitingProgram(*program))
        name = f"{version.ref.account if self._zygotes == 'account' else 'shared'}/{image}"
        argv, env = program
        if self._runtimes.has_sdk(runtime) and self._uses_sdk(version):
            name, env = f"{name}/sdk", {**env, "_LAMBENT_PRELOAD_SDK": "1"}
        return self._programs.setdefault(name, WaitingProgram(argv, env, zygote=name, fork_object=fork_object))

    def _uses_sdk(self, version: FunctionVersion) -> bool:
        """Whether the handler's module speaks of the SDK that is not in the package: then one that has it loaded is the
        right flavour. A guess that costs only time when it is wrong."""
        configuration = version.configuration
        tree = self._packages_root / version.code.digest / "tree"
        module = (configuration.handler or "").rpartition(".")[0].replace(".", "/")
        try:
            if any((tree / name).exists() for name in SDK_MODULES):
                return False
            with (tree / f"{module}.py").open("rb") as source:
                text = source.read(SOURCE_BYTES_MAX)
        except (OSError, ValueError):
            return False
        return b"boto3" in text or b"botocore" in text

    def _start(self, runtime: Runtime, version: FunctionVersion, origin: Origin, api_address: str) -> StartPlan:
        configuration = version.configuration
        facts = VersionFacts(
            function_name=version.ref.name,
            version=version.version,
            handler=configuration.handler or "",
            memory_mb=configuration.memory_mb,
            region=version.ref.region,
            log_group=origin.log_group,
            log_stream=origin.log_stream,
            api_address=api_address,
            environment=configuration.variables,
            credentials=None if origin.initialization == SNAP_START else self._credentials(version, origin),
            credentials_token=self._temporary.container_token(version.arn, version.generation)
            if origin.initialization == SNAP_START
            else None,
            initialization_type=origin.initialization,
            log_format=configuration.logging.format,
            log_level=configuration.logging.application_level,
        )
        plan = self._runtimes.plan(runtime, facts)
        argv = next((c for c in plan.candidates if self._exists(version, c[0])), None)
        if argv is None:
            return StartPlan((), {}, plan.carrier, plan.cwd, refusal=NO_BOOTSTRAP)
        return StartPlan(argv, plan.env, plan.carrier, plan.cwd)

    def _credentials(self, version: FunctionVersion, origin: Origin) -> Credentials:
        """Keys for SDKs inside the function: they act as its role while this environment lives."""
        issued = self._temporary.issue_to(origin.environment, version.ref, version.configuration.role)
        return Credentials(issued.access_key, issued.secret, issued.token)

    def _extensions(self, version: FunctionVersion) -> tuple[str, ...]:
        """Names of what is started before the runtime: everything in /opt/extensions but directories."""
        layers = version.configuration.opt
        if layers is None:
            return ()
        tree = self._packages_root / layers / "tree"
        try:
            with os.scandir(f"{tree}{EXTENSIONS_DIR.removeprefix(LAYERS_ROOT)}") as found:
                return tuple(sorted(entry.name for entry in found if not entry.is_dir(follow_symlinks=False)))
        except OSError:
            return ()  # no such directory

    def _exists(self, version: FunctionVersion, path: str) -> bool:
        """Whether a program is there: what lies in the package and the layers we can see, the rest is the image's."""
        if not path.startswith((TASK_ROOT + "/", LAYERS_ROOT + "/")):
            return True
        trees = {TASK_ROOT: self._packages_root / version.code.digest / "tree"}
        layers = version.configuration.opt
        if layers is not None:
            trees[LAYERS_ROOT] = self._packages_root / layers / "tree"
        return find_file(trees, path) is not None


def _programs(names: Sequence[str], plan: StartPlan) -> tuple[ExtensionProgram, ...]:
    env = for_extensions(plan.env)
    return tuple(ExtensionProgram(name, (f"{EXTENSIONS_DIR}/{name}",), env) for name in names)
