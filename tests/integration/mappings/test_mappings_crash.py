"""Event source mappings outlive a kill, in the state they had settled in."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from tests import support
from tests.conftest import start_server
from tests.unit.mappings.mapping_world import SOURCES

CODE = support.package({"bootstrap": "#!/bin/sh\n"})


def everything(client: Any) -> dict[str, Any]:
    found = {}
    for mapping in client.list_event_source_mappings()["EventSourceMappings"]:
        found[mapping["UUID"]] = (mapping, client.list_tags(Resource=mapping["EventSourceMappingArn"])["Tags"])
    return found


def test_what_was_acknowledged_survives_a_kill_in_no_state_on_the_way(tmp_path: Path) -> None:
    server = start_server(tmp_path / "data")
    try:
        with closing(support.client("lambda", server.url, account="123456789012")) as client:
            client.create_function(
                FunctionName="fn", Runtime="provided.al2023", Handler="h", Role=support.ROLE, Code={"ZipFile": CODE}
            )
            uuids = [
                client.create_event_source_mapping(FunctionName="fn", Tags={"from": name}, **members)["UUID"]
                for name, members in SOURCES.items()
            ]
            before = everything(client)
            client.update_event_source_mapping(UUID=uuids[0], Enabled=False)
            client.delete_event_source_mapping(UUID=uuids[1])
            client.update_event_source_mapping(UUID=uuids[2], BatchSize=7)
        server.process.kill()
        server.process.wait()
        server = start_server(tmp_path / "data")
        with closing(support.client("lambda", server.url, account="123456789012")) as client:
            after = everything(client)
        assert {mapping["State"] for mapping, _ in after.values()} == {"Enabled", "Disabled"}
        assert after.keys() == before.keys() - {uuids[1]}
        assert after[uuids[0]][0]["State"] == "Disabled"
        assert after[uuids[2]][0]["BatchSize"] == 7
        for uuid in uuids[3:]:
            assert after[uuid] == before[uuid]
    finally:
        server.stop()
