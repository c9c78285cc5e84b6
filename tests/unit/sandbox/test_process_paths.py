"""The process tier's published paths: rewritten to where they lie on the host, each once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from lambent.sandbox.port import Binding, Image, Limits, Mount
from lambent.sandbox.process import ProcessDriver

LIMITS = Limits(memory_mb=128, cpu_vcpus=1.0, processes_max=64, descriptors_max=64, tmp_mb=512)
CODE, LAYERS = "c" * 64, "1" * 64


def rewritten(place: Path, opt: str | None, *texts: str) -> list[str]:
    for digest in (CODE, LAYERS):
        (place / "packages" / digest / "tree").mkdir(parents=True)
    # The interpreter's own place begins like the layers' one.
    image = Image("base", (Mount("/opt/python3.11", "/var/lang"), Mount("/usr/lib/x", "/usr/lib/x")))

    async def scenario() -> list[str]:
        driver = ProcessDriver(place / "packages", (image,), place / "state")
        try:
            sandbox = await driver.create("base", LIMITS)
            await sandbox.bind(Binding(CODE, opt, LIMITS))
            home = str(sandbox._home)
            return [sandbox._rewrite(text).replace(home, "HOME").replace(str(place), "") for text in texts]
        finally:
            await driver.close()

    return asyncio.run(scenario())


TEXTS = (
    "/var/lang/bin:/opt/bin",
    "/var/task",
    "['/opt/python/x', '/opt/python']",
    "/optional:x/opt:/var/tasks",
    "/opt",
)


def test_layers_are_found_in_their_tree(tmp_path: Path) -> None:
    code, layers = f"/packages/{CODE}/tree", f"/packages/{LAYERS}/tree"
    assert rewritten(tmp_path, LAYERS, *TEXTS) == [
        f"/opt/python3.11/bin:{layers}/bin",
        code,
        f"['{layers}/python/x', '{layers}/python']",
        "/optional:x/opt:/var/tasks",
        layers,
    ]


def test_without_layers_the_hosts_opt_is_not_theirs(tmp_path: Path) -> None:
    assert rewritten(tmp_path, None, *TEXTS)[::4] == ["/opt/python3.11/bin:HOME/bin", "HOME"]
