"""`lambent usage`."""

from __future__ import annotations

from typing import Any

import click

from .output import print_json, print_table, say, working
from .remote import client, remote

COLUMNS = ("FUNCTION", "ARCH", "REQUESTS", "ERRORS", "BILLED", "GB-SECONDS", "AMOUNT")


def _row(name: str, architecture: str, line: dict[str, Any], currency: str) -> tuple[str, ...]:
    return (
        name,
        architecture,
        f"{line['requests']:,}",
        f"{line['errors']:,}",
        f"{line['billed_ms']:,} ms",
        f"{line['gb_seconds']:,.3f}",
        f"{line['amount']} {currency}",
    )


@click.command()
@click.option("--month", metavar="YYYY-MM", help="The month, in UTC (default: this one).")
@remote
def command(month: str | None, endpoint: str | None, region: str | None, as_json: bool) -> None:
    """Show what ran in a month and what it would have cost at the service's published prices.

    Of the account and region that the keys and --region name. The free tier is not taken off.
    """
    from lambent.client import expect

    with client(endpoint, region) as server, working("Adding up"):
        query = {"month": month} if month else {}
        found = expect(server.request("GET", "/_lambent/usage", query=query)).document()
    if as_json:
        print_json(found)
        return
    if not found["functions"]:
        say(f"Nothing ran in {found['month']} in {found['region']}.")
        return
    currency = found["currency"]
    rows = [_row(line["function"], line["architecture"], line, currency) for line in found["functions"]]
    rows.append(_row(f"all of {found['month']}", "", found["total"], currency))
    print_table(COLUMNS, rows, right=(2, 3, 4, 5, 6))
