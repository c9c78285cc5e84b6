"""Runtime, handler and name, guessed as a person would; what is unclear is asked for by the option that settles it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lambent.commands.failures import Failed
from lambent.commands.guess import Guess, environment, function_name, guess
from lambent.commands.package import Package, read

HERE = f"python3.{sys.version_info.minor}"


def package(root: Path, files: dict[str, str]) -> Package:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return read(root)


@pytest.mark.parametrize(
    ("files", "handler"),
    [
        ({"lambda_function.py": "def lambda_handler(event, context): ..."}, "lambda_function.lambda_handler"),
        ({"app.py": "async def handler(event, context): ..."}, "app.handler"),
        ({"app.py": "def wrap(): ...\nhandler = wrap()", "other.py": "x = 1"}, "app.handler"),
        ({"tool.py": "def main(e, c): ...", "app.py": "def handler(e, c): ..."}, "app.handler"),
        ({"index.py": "def handler(e, c): ...", "zeta.py": "def handler(e, c): ..."}, "index.handler"),
        (
            {"lambda_function.py": "def lambda_handler(e, c): ...", "broken.py": "def ("},
            "lambda_function.lambda_handler",
        ),
    ],
)
def test_python_handlers(tmp_path: Path, files: dict[str, str], handler: str) -> None:
    assert guess(package(tmp_path, files), runtime=None, handler=None) == Guess(HERE, handler)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("index.mjs", "export const handler = async (event) => event;"),
        ("index.mjs", "export async function handler(event) {}"),
        ("index.mjs", "const run = 1;\nexport { run as handler };"),
        ("index.js", "exports.handler = async () => 1;"),
        ("index.js", "module.exports.handler = async () => 1;"),
        ("index.cjs", "module.exports = { handler: async () => 1 };"),
        ("index.js", "async function handler() {}\nmodule.exports = { handler };"),
    ],
)
def test_node_handlers(tmp_path: Path, name: str, text: str) -> None:
    guessed = guess(package(tmp_path, {name: text}), runtime="nodejs22.x", handler=None)
    assert guessed == Guess("nodejs22.x", "index.handler")


def test_node_is_guessed_from_its_files(tmp_path: Path) -> None:
    found = guess(
        package(tmp_path, {"index.mjs": "export const handler = 1;", "package.json": "{}"}), runtime=None, handler=None
    )
    assert found.runtime.startswith("nodejs")


def test_a_bootstrap_is_a_custom_runtime(tmp_path: Path) -> None:
    files = {"bootstrap": "#!/bin/bash\n", "extra.py": "def handler(e, c): ..."}
    assert guess(package(tmp_path, files), runtime=None, handler=None) == Guess("provided.al2023", "bootstrap")


def test_ruby(tmp_path: Path) -> None:
    files = {"lambda_function.rb": "def lambda_handler(event:, context:)\nend\n"}
    assert guess(package(tmp_path, files), runtime=None, handler=None) == Guess(
        "ruby3.4", "lambda_function.lambda_handler"
    )


def test_a_handler_says_which_of_two_languages_is_meant(tmp_path: Path) -> None:
    files = {"app.py": "def handler(e, c): ...", "web.js": "console.log(1)"}
    made = package(tmp_path, files)
    assert guess(made, runtime=None, handler="app.handler").runtime == HERE
    with pytest.raises(Failed, match="are files of several languages; say --runtime"):
        guess(made, runtime=None, handler=None)


@pytest.mark.parametrize(
    ("files", "runtime", "words"),
    [
        ({"readme.txt": "x"}, None, "At the package's top there is no source file of a known language; say --runtime"),
        ({"app.py": "x = 1"}, None, "No handler was found"),
        (
            {"a.py": "def handler(e, c): ...", "b.py": "def handler(e, c): ..."},
            None,
            "Several handlers fit: a.handler, b.handler",
        ),
        ({"x.jar": "x"}, None, "A handler of java21 cannot be guessed; say --handler"),
    ],
)
def test_what_is_unclear_is_asked_for(tmp_path: Path, files: dict[str, str], runtime: str | None, words: str) -> None:
    with pytest.raises(Failed, match=words):
        guess(package(tmp_path, files), runtime=runtime, handler=None)


def test_what_is_said_is_not_guessed(tmp_path: Path) -> None:
    made = package(tmp_path, {"readme.txt": "x"})
    assert guess(made, runtime="python3.13", handler="a.b") == Guess("python3.13", "a.b")


def test_a_name_comes_from_the_directory_or_the_file(tmp_path: Path) -> None:
    (tmp_path / "my func.v2").mkdir()
    (tmp_path / "hello.py").write_text("")
    assert function_name(tmp_path / "my func.v2") == "my-func-v2"
    assert function_name(tmp_path / "hello.py") == "hello"
    (tmp_path / "…").mkdir()
    with pytest.raises(Failed, match="--name"):
        function_name(tmp_path / "…")


def test_variables_are_pairs() -> None:
    assert environment(["A=1", "B=x=y", "C="]) == {"A": "1", "B": "x=y", "C": ""}
    for wrong in ("A", "=1"):
        with pytest.raises(Failed, match="is not KEY=VALUE"):
            environment([wrong])
