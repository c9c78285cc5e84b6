"""`lambent up`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click

from .configured import configured, loaded


@click.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on (default: 127.0.0.1).")
@click.option("--port", type=int, metavar="N", help="Port to listen on (default: 4566; 0: any free one).")
@click.option("--tls-port", type=int, metavar="N", help="Port for HTTPS, beside the other (default: none).")
@click.option("--data-dir", metavar="DIR", help="Where functions, queue, logs and the ledger are kept.")
@click.option("--tier", metavar="NAME", help="Insist on an isolation tier: container, rootless, confined or process.")
@click.option("--ready-file", metavar="FILE", help="Written as JSON (endpoint, tier, pid) once the server answers.")
@configured
def command(
    host: str | None,
    port: int | None,
    tls_port: int | None,
    data_dir: str | None,
    tier: str | None,
    ready_file: str | None,
    config: Path | None,
    assignments: tuple[str, ...],
) -> int:
    """Start the server and stay with it until Ctrl-C or SIGTERM.

    Then point clients at it: AWS_ENDPOINT_URL=http://127.0.0.1:4566, any access key, any secret. Callers on this
    machine are trusted unless server.verify_signatures is set. `lambent settings` lists all settings.
    """
    found = loaded(
        config,
        assignments,
        {
            "server.host": ("--host", host),
            "server.port": ("--port", port),
            "tls.port": ("--tls-port", tls_port),
            "server.data_dir": ("--data-dir", data_dir),
            "server.ready_file": ("--ready-file", ready_file),
            "sandbox.tier": ("--tier", tier),
        },
    )
    # Loaded here, not above: everything the server needs is imported only by the command that runs it.
    status = import_module("lambent.app").main(found.settings)
    assert isinstance(status, int)
    return status
