"""`lambent sign`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from .failures import Failed
from .output import print_json, say

DAY_MS = 86_400_000

_FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)


@click.command()
@click.argument("source", metavar="ZIP", type=_FILE)
@click.option("--profile", required=True, metavar="ARN", help="Signing profile version that signs.")
@click.option("--key", required=True, metavar="FILE", type=_FILE, help="Private key, PEM.")
@click.option(
    "--cert",
    metavar="FILE",
    type=_FILE,
    help="The key's certificate and those above it, PEM.",
)
@click.option("--out", required=True, metavar="FILE", type=click.Path(path_type=Path), help="The signed zip.")
@click.option(
    "--days", type=click.IntRange(1, 36_500), metavar="N", help="Days until the signature expires (default: never)."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
def command(
    source: Path, profile: str, key: Path, cert: Path | None, out: Path, days: int | None, as_json: bool
) -> None:
    """Sign a zip as a signing profile version.

    A server accepts it where a code signing configuration allows that profile version and the server's trust directory
    (setting signing.trust_dir) has the key or its certificate for it. ARN is
    arn:aws:signer:REGION:ACCOUNT:/signing-profiles/NAME/VERSION.
    """
    from lambent.domain.errors import InvalidParameterValue
    from lambent.domain.ids import new_uuid
    from lambent.packages.archive import BrokenZip
    from lambent.signing.envelope import Claims
    from lambent.signing.keys import BadKey, NoCryptography, PrivateKey
    from lambent.signing.sealing import NotSignable, sign_archive
    from lambent.signing.trust import file_name, job_arn

    trust_file = file_name(profile)
    if trust_file is None:
        raise Failed(
            f"{profile} is not a signing profile version: "
            "arn:aws:signer:REGION:ACCOUNT:/signing-profiles/NAME/VERSION with letters, digits and, in NAME, _."
        )
    now_ms = time.time_ns() // 1_000_000
    job = job_arn(profile, new_uuid())
    try:
        private = PrivateKey(key.read_bytes(), None if cert is None else cert.read_bytes())
    except NoCryptography as error:
        raise Failed(f"{error}.") from None
    except BadKey as error:
        raise Failed(f"{key if cert is None else f'{key} with {cert}'}: {error}.") from None
    try:
        claims = Claims(profile, job, None if days is None else now_ms + days * DAY_MS)
        sign_archive(source, out, claims, private, now_ms)
    except NotSignable as error:
        raise Failed(f"{source} cannot be signed: {error}.") from None
    except BrokenZip as error:
        raise Failed(f"{source} is not a zip that can be deployed: {error.reason}.") from None
    except InvalidParameterValue as error:
        raise Failed(f"{source} cannot be deployed: {error.message}.") from None
    except OSError as error:
        raise Failed(f"{out} cannot be written: {error.strerror}.") from None
    if as_json:
        print_json(
            {"out": str(out), "signingJobArn": job, "signingProfileVersionArn": profile, "trustFile": trust_file}
        )
        return
    click.echo(f"{out} is signed by {profile}, signing job {job.rpartition('/')[2]}.")
    say(f"Servers trust it with {_trusted(key, cert)} in their trust directory, as {trust_file}")


def _trusted(key: Path, cert: Path | None) -> str:
    if cert is not None:
        return f"{cert}, or the certificate of its authority,"
    return f"the public key (openssl pkey -in {key} -pubout)"
