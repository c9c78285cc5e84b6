"""A server that others can reach does not run functions without isolation, unless somebody insists."""

from __future__ import annotations

import pytest

from lambent.app import NotIsolated, _check_isolation
from lambent.settings import SandboxSettings, ServerSettings, Settings


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_without_isolation_a_server_beyond_loopback_does_not_start(host: str) -> None:
    with pytest.raises(NotIsolated, match=f"{host} can be reached by others: listen on 127.0.0.1, or insist"):
        _check_isolation(Settings(server=ServerSettings(host=host)), "process", False)
    _check_isolation(Settings(server=ServerSettings(host=host)), "container", True)
    insisted = Settings(server=ServerSettings(host=host), sandbox=SandboxSettings(tier="process"))
    _check_isolation(insisted, "process", False)
    _check_isolation(Settings(server=ServerSettings(host=host)), "confined", True)
    with pytest.raises(NotIsolated, match="insist with --tier confined"):
        _check_isolation(Settings(server=ServerSettings(host=host)), "confined", False)  # a kernel without landlock


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_on_loopback_it_does(host: str) -> None:
    _check_isolation(Settings(server=ServerSettings(host=host)), "process", False)
