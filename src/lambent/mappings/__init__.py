"""Event source mappings: which source feeds which function, and by which rules."""
