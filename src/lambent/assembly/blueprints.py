"""From a function version to the plan that starts its runtime: `functions` and `packages` meet `runtimes`."""

from __future__ import annotations

from pathlib import Path

from lambent.domain.egress import Egress, Outside
from lambent.domain.names import runtime_version_arn
from lambent.environments.failures import NO_BOOTSTRAP
from lambent.environments.plan import Blueprint, RuntimeMissing, StartPlan, WaitingProgram
from lambent.functions.model import FunctionVersion
from lambent.identity.temporary import TemporaryCredentials
from lambent.packages.inside import find_file
from lambent.runtimes.model import LAYERS_ROOT, TASK_ROOT, Credentials, Runtime, VersionFacts
from lambent.runtimes.service import Runtimes
from lambent.telemetry.attempt import Origin


class MachineBlueprints:
    """Blueprints from what was found on this machine."""

    def __init__(
        self, runtimes: Runtimes, packages_root: Path, client: str, temporary: TemporaryCredentials, outside: Outside
    ) -> None:
        """client: the server's choice of runtime client, `lambent` or `official`; a function may choose for itself.
        outside: where all functions may connect to at most; a function may narrow it."""
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
        runtime = self._runtimes.find(name, configuration.architecture, client)
        if runtime is None:
            raise RuntimeMissing(
                self._runtimes.missing(name, configuration.architecture, client) or f"no runtime {name}"
            )
        found = runtime
        identifier = runtime.identifier

        def start(origin: Origin, api_address: str) -> StartPlan:
            return self._start(found, version, origin, api_address)

        return Blueprint(
            image=runtime.image.name,
            start=start,
            runtime_version=f"{identifier.family}:{identifier.version or identifier.os.lower()}.v1",
            runtime_version_arn=runtime_version_arn(version.ref.region, name),
            waiting=self._waiting(found, version),
            egress=Egress(self._outside.layer, configuration.egress),
        )

    def _waiting(self, runtime: Runtime, version: FunctionVersion) -> WaitingProgram | None:
        """One object an image: what waits is the same for every function."""
        if not version.configuration.is_preloaded:
            return None
        program = self._runtimes.waiting(runtime, version.configuration.variables)
        if program is None:
            return None
        return self._programs.setdefault(runtime.image.name, WaitingProgram(*program))

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
            credentials=self._credentials(version, origin),
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

    def _exists(self, version: FunctionVersion, path: str) -> bool:
        """Whether a program is there: what lies in the package and the layers we can see, the rest is the image's."""
        if not path.startswith((TASK_ROOT + "/", LAYERS_ROOT + "/")):
            return True
        trees = {TASK_ROOT: self._packages_root / version.code.digest / "tree"}
        layers = version.configuration.opt
        if layers is not None:
            trees[LAYERS_ROOT] = self._packages_root / layers / "tree"
        return find_file(trees, path) is not None
