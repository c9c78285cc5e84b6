"""How much longer than promised things may take where the processor itself is emulated."""

from __future__ import annotations

import os

PATIENCE = float(os.environ.get("LAMBENT_TEST_PATIENCE", "1"))
"""Times by which limits of time are stretched: 1, unless `scripts/test-guest` says otherwise. A test that measures a
promise multiplies the promise; what it shows then is that the thing happens, not that it is quick."""
