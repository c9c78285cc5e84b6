"""A long mixture of everything that can happen to an invocation, against a server of its own; afterwards nothing may be
left that was not there before. See `docs/soak.md`."""
