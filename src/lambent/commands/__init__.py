"""The commands, one module each; each holds `command`. They are imported one at a time, when run."""
