"""The door inside the sandbox: one state machine, carried by frames or by the HTTP Runtime API."""
