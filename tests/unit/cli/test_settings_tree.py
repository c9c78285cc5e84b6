"""Settings: where a value comes from, which wins, and how a wrong one is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lambent.settings import (
    DEFAULT,
    SECTIONS,
    Settings,
    SettingsError,
    checked,
    default_data_dir,
    described,
    load,
    variable_of,
)

UNITS = ("_s", "_ms", "_us", "_mb", "_kb_per_s", "_max", "days", "blanks", "port", "account_concurrency")


def test_every_field_has_a_sentence_and_a_default_within_its_bounds() -> None:
    for setting in described():
        assert setting.sentence.endswith("."), setting.name
        assert checked(setting, setting.default, DEFAULT) == setting.default


def test_every_number_has_a_unit_in_its_name_and_both_bounds() -> None:
    numbers = [setting for setting in described() if setting.kind in (int, float)]
    assert len(numbers) > 10
    for setting in numbers:
        assert setting.name.endswith(UNITS), setting.name
        assert setting.least is not None, setting.name
        assert setting.most is not None, setting.name


def test_the_sections_are_the_trees_fields_and_all_is_frozen() -> None:
    assert list(SECTIONS) == [field.name for field in dataclasses.fields(Settings)]
    settings = Settings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.server.port = 1  # type: ignore[misc]


def test_the_defaults_are_the_documented_ones() -> None:
    settings = load().settings
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 4566)
    assert (settings.server.default_account, settings.server.default_region) == ("000000000000", "us-east-1")
    assert settings.limits.account_concurrency == 1_000
    assert settings == Settings()


def test_later_sources_win_and_each_value_knows_its_own(tmp_path: Path) -> None:
    file = tmp_path / "lambent.toml"
    file.write_text('[server]\nport = 1\nhost = "0.0.0.0"\n[limits]\nidle_timeout_s = 5\n')
    found = load(
        config=file,
        environ={"LAMBENT_PORT": "2", "LAMBENT_SANDBOX_TIER": "process", "PATH": "/bin"},
        options={"server.port": ("--port", 3), "server.host": ("--host", None)},
    )
    assert (found.value("server.port"), found.origins["server.port"]) == (3, "--port")
    assert (found.value("server.host"), found.origins["server.host"]) == ("0.0.0.0", str(file))
    assert (found.value("sandbox.tier"), found.origins["sandbox.tier"]) == ("process", "LAMBENT_SANDBOX_TIER")
    assert found.value("limits.idle_timeout_s") == 5.0
    assert isinstance(found.value("limits.idle_timeout_s"), float)
    assert found.origins["logs.days"] == DEFAULT


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("LAMBENT_PORT", "70000", "server.port (from LAMBENT_PORT): 70000 is above the most allowed, 65,535"),
        ("LAMBENT_PORT", "-1", "server.port (from LAMBENT_PORT): -1 is below the least allowed, 0"),
        ("LAMBENT_PORT", "many", "server.port (from LAMBENT_PORT): 'many' is not a number"),
        ("LAMBENT_LIMITS_IDLE_TIMEOUT_S", "nan", "limits.idle_timeout_s (from LAMBENT_LIMITS_IDLE_TIMEOUT_S): 'nan'"),
        ("LAMBENT_LIMITS_IDLE_TIMEOUT_S", "inf", "is not a finite number"),
        ("LAMBENT_VERIFY_SIGNATURES", "perhaps", "'perhaps' is not true or false"),
        ("LAMBENT_SANDBOX_TIER", "docker", "'docker' is not one of auto, container, rootless, confined, process"),
        ("LAMBENT_DEFAULT_ACCOUNT", "12", "'12' does not have the form"),
        ("LAMBENT_S3_ENDPOINT", "minio:9000", "'minio:9000' does not have the form"),
        ("LAMBENT_DATA_DIR", "", "'' is not a path"),
        ("LAMBENT_PROT", "1", "LAMBENT_PROT: names no setting"),
    ],
)
def test_a_wrong_variable_is_refused_by_field_origin_and_bound(variable: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(environ={variable: value})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server]\nport = true\n", "True is not a whole number"),
        ('[server]\nport = "x"\n', "'x' is not a number"),
        ("[server]\nports = 1\n", "server.ports"),
        ("[servers]\nport = 1\n", "there is no such section"),
        ("port = 1\n", "there is no such section"),
        ("[server\n", "is not TOML"),
        ("[server]\nverify_signatures = 1\n", "1 is not true or false"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "lambent.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(config=file)
    assert words in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file or directory"):
        load(config=tmp_path / "none.toml")


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("ON", True), ("no", False), ("0", False)])
def test_switches_are_read_from_text(text: str, value: bool) -> None:
    assert load(environ={"LAMBENT_VERIFY_SIGNATURES": text}).settings.server.verify_signatures is value


def test_variables_of_the_commands_and_the_tests_are_not_settings() -> None:
    load(environ={"LAMBENT_ENDPOINT": "x", "LAMBENT_CONFIG": "x", "LAMBENT_TEST_SLOW": "1", "LAMBENTX": "1"})


def test_the_variable_of_a_server_field_has_no_section() -> None:
    assert variable_of("server", "data_dir") == "LAMBENT_DATA_DIR"
    assert variable_of("logs", "days") == "LAMBENT_LOGS_DAYS"
    variables = [setting.variable for setting in described()]
    assert len(set(variables)) == len(variables)


def test_the_data_directory_is_the_systems_for_root_and_the_users_for_others() -> None:
    assert default_data_dir({}, 0) == Path("/var/lib/lambent")
    assert default_data_dir({"HOME": "/home/ada"}, 1000) == Path("/home/ada/.local/share/lambent")
    assert default_data_dir({"HOME": "/home/ada", "XDG_DATA_HOME": "/data"}, 1000) == Path("/data/lambent")
    assert default_data_dir({"HOME": "/home/ada", "XDG_DATA_HOME": "data"}, 1000) == Path(
        "/home/ada/.local/share/lambent"
    )


def test_a_relative_data_directory_is_made_absolute() -> None:
    assert load(environ={"LAMBENT_DATA_DIR": "here"}).settings.server.data_dir == Path.cwd() / "here"


def test_a_secret_is_not_in_the_trees_text() -> None:
    settings = load(environ={"LAMBENT_S3_SECRET_KEY": "hush"}).settings
    assert settings.s3.secret_key == "hush"
    assert "hush" not in repr(settings)
