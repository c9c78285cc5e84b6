"""`GET /_lambent/usage`: the ledger as the command line and the console read it."""

from __future__ import annotations
