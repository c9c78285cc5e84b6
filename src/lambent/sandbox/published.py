"""Published paths (/var/task, /opt, …) where nothing is mounted at them: rewritten to where they lie on the host."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from .port import Binding, Command, Image


def sources(image: Image, binding: Binding | None, packages_root: Path, nothing: str) -> dict[str, str]:
    """Where each published path of a sandbox lies; `nothing`: an empty directory, for code or layers it has not.

    A mount at its own place is in it too: an interpreter in /opt is no layer.
    """
    found = {mount.target: mount.source for mount in image.mounts}
    for target, digest in (("/var/task", binding and binding.task), ("/opt", binding and binding.opt)):
        found[target] = str(packages_root / digest / "tree") if digest else nothing
    return found


def rewritten(text: str, places: Mapping[str, str]) -> str:
    """In one pass, because a host's own path may begin like a published one."""
    targets = "|".join(re.escape(target) for target in sorted(places, key=len, reverse=True))
    return re.sub(rf"(?<![\w/.-])({targets})(?=/|:|$)", lambda found: places[found[1]], text)


def localized(command: Command, places: Mapping[str, str], added: Iterable[tuple[str, str]]) -> Command:
    """The command with every published path rewritten, and these variables where it sets none of that name."""
    env = {name: rewritten(value, places) for name, value in command.env.items()}
    return Command(
        [rewritten(argument, places) for argument in command.argv],
        dict(added) | env,
        rewritten(command.cwd, places),
        command.channel,
        command.label,
    )
