"""One invocation end to end: admitted, run, written down, answered; and events that wait for their turn."""
