"""Hooks around a snapshot, under the name and with the functions that functions written for SnapStart import.

Both registration functions answer the callable itself, so they serve as decorators, too.
"""

__all__ = ["register_before_snapshot", "register_after_restore"]

_before_snapshot = []
_after_restore = []


def register_before_snapshot(func, *args, **kwargs):
    """Call `func(*args, **kwargs)` before the snapshot is taken; the last one registered is called first."""
    _before_snapshot.append((func, args, kwargs))
    return func


def register_after_restore(func, *args, **kwargs):
    """Call `func(*args, **kwargs)` after the environment was restored, in the order of registration."""
    _after_restore.append((func, args, kwargs))
    return func


def get_before_snapshot():
    """The hooks registered for before the snapshot: a list of (callable, arguments, keyword arguments)."""
    return _before_snapshot


def get_after_restore():
    """The hooks registered for after the restore: a list of (callable, arguments, keyword arguments)."""
    return _after_restore
