"""The list of what each module registers is what it registers."""

from __future__ import annotations

import inspect
from importlib import import_module
from unittest.mock import MagicMock

import pytest

from lambent.api.resources import OPERATIONS
from lambent.api.table import load_table


@pytest.mark.parametrize("module", OPERATIONS)
def test_a_module_registers_what_is_listed(module: str) -> None:
    register = import_module(f"lambent.api.resources.{module}").register
    door, *others = (MagicMock() for _ in inspect.signature(register).parameters)
    register(door, *others)
    assert tuple(call.args[0] for call in door.register.call_args_list) == OPERATIONS[module]


def test_each_operation_is_listed_once() -> None:
    listed = [name for names in OPERATIONS.values() for name in names]
    assert len(listed) == len(set(listed))
    assert set(listed) <= set(load_table().operations)
