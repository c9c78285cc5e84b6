"""Execution environments: their lifecycle, their pools, and what happens inside them."""
