"""`lambent version`."""

from __future__ import annotations

import click

from lambent import __version__


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
def command(as_json: bool) -> None:
    """Print the version, the Python that runs it and the platform."""
    import json
    import platform

    facts = {
        "version": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    click.echo(
        json.dumps(facts) if as_json else f"lambent {facts['version']} · {facts['python']} · {facts['platform']}"
    )
