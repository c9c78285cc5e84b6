"""Layers as functions see them: imported, found on the paths, merged in order, kept after their deletion."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import start_server
from tests.integration.layers.layer_world import delete, invoke, layer
from tests.integration.node.test_tiers import ordinary_server
from tests.machine import NODE_RUNTIME
from tests.support import PYTHON_RUNTIME, ROLE, client, function, package

WHO = "import who\nimport uuid\nHERE = str(uuid.uuid4())\ndef handler(event, context): return [who.NAME, HERE]\n"
TOOL = "#!/bin/sh\necho tool of $1\n"
BOOTSTRAP = """#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
    id=$(python3 - "$api" <<'EOF'
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1] + "/next").headers["Lambda-Runtime-Aws-Request-Id"])
EOF
    )
    python3 - "$api/$id/response" "$0 in $PWD" <<'EOF'
import json, sys, urllib.request
urllib.request.urlopen(urllib.request.Request(sys.argv[1], json.dumps(sys.argv[2]).encode(), method="POST")).read()
EOF
done
"""


def who(name: str) -> dict[str, str]:
    return {"python/who.py": f"NAME = {name!r}\n"}


def test_python_imports_from_a_layer_and_finds_its_programs(lambda_: Any) -> None:
    files = {
        "python/own.py": "X = 1\n",
        f"python/lib/{PYTHON_RUNTIME}/site-packages/wide.py": "Y = 2\n",
        "python/lib/python3.10/site-packages/other.py": "",
        "bin/tool": TOOL,
        "data": "d",
    }
    code = (
        "import os, own, subprocess, sys, wide\n"
        "def handler(event, context):\n"
        "    try: import other\n"
        "    except ImportError: other = None\n"
        "    try: open('/opt/data', 'w')\n"
        "    except OSError as error: refused = error.strerror\n"
        "    said = subprocess.run(['tool', 'layers'], capture_output=True, text=True).stdout\n"
        "    return [own.X, wide.Y, other, said, sys.path[:3], refused, sorted(os.listdir('/opt')), dict(os.environ)]\n"
    )
    with layer(lambda_, files) as one, function(lambda_, code, Layers=[one]) as name:
        *seen, environment = invoke(lambda_, name)
        paths = ["/var/task", f"/opt/python/lib/{PYTHON_RUNTIME}/site-packages", "/opt/python"]
        said = "tool of layers\n"
        assert seen == [1, 2, None, said, paths, "Read-only file system", ["bin", "data", "python"]]
        assert not [variable for variable in environment if variable.startswith("_LAMBENT")]


def test_the_functions_own_module_comes_before_a_layers(lambda_: Any) -> None:
    with (
        layer(lambda_, who("layer")) as one,
        function(lambda_, {"app.py": WHO, "who.py": "NAME = 'own'\n"}, Layers=[one]) as name,
    ):
        assert invoke(lambda_, name)[0] == "own"


def test_node_requires_from_a_layer(lambda_: Any) -> None:
    of_version = f"nodejs/node{NODE_RUNTIME.removeprefix('nodejs').removesuffix('.x')}/node_modules"
    files = {
        "nodejs/node_modules/any/index.js": "module.exports = 'any';\n",
        f"{of_version}/own/index.js": "module.exports = 'own';\n",
        "nodejs/node_modules/both/index.js": "module.exports = 'any';\n",
        f"{of_version}/both/index.js": "module.exports = 'own';\n",
    }
    code = {"index.js": "exports.handler = async () => [require('any'), require('own'), require('both')];\n"}
    with (
        layer(lambda_, files) as one,
        function(lambda_, code, runtime=NODE_RUNTIME, handler="index.handler", Layers=[one]) as name,
    ):
        assert invoke(lambda_, name) == ["any", "own", "own"]


@pytest.mark.skipif(shutil.which("cc") is None, reason="a shared library is made with cc, which is not here")
def test_shared_libraries_are_found_in_a_layer(lambda_: Any, tmp_path: Path) -> None:
    source = tmp_path / "of.c"
    source.write_text("int of_a_layer(void) { return 42; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "of.so", source], check=True)
    code = "import ctypes\ndef handler(event, context): return ctypes.CDLL('libof.so').of_a_layer()\n"
    files = {"lib/libof.so": (tmp_path / "of.so").read_bytes()}
    with layer(lambda_, files) as one, function(lambda_, code, Layers=[one]) as name:
        assert invoke(lambda_, name) == 42


def test_the_later_layer_wins_and_a_new_list_starts_new_environments(lambda_: Any) -> None:
    with (
        layer(lambda_, who("a") | {"python/a.py": ""}) as a,
        layer(lambda_, who("b") | {"python/b.py": ""}) as b,
        function(lambda_, "import a, b\n" + WHO, Layers=[a, b]) as name,
    ):
        first, here = invoke(lambda_, name)
        assert first == "b"
        assert invoke(lambda_, name) == ["b", here]
        lambda_.update_function_configuration(FunctionName=name, Layers=[b, a])
        second, elsewhere = invoke(lambda_, name)
        assert (second, elsewhere == here) == ("a", False)
        lambda_.update_function_configuration(FunctionName=name, Layers=[])
        answer = lambda_.invoke(FunctionName=name)
        assert b"No module named 'a'" in answer["Payload"].read()


def test_a_published_version_keeps_the_layers_it_was_published_with(lambda_: Any) -> None:
    with layer(lambda_, who("a")) as a, layer(lambda_, who("b")) as b, function(lambda_, WHO, Layers=[a]) as name:
        assert lambda_.publish_version(FunctionName=name)["Layers"][0]["Arn"] == a
        lambda_.update_function_configuration(FunctionName=name, Layers=[b])
        assert invoke(lambda_, name)[0] == "b"
        assert invoke(lambda_, f"{name}:1")[0] == "a"


def test_an_os_only_function_boots_from_a_layer(lambda_: Any) -> None:
    with (
        layer(lambda_, {"bootstrap": BOOTSTRAP}) as one,
        layer(lambda_, {"data": "x"}) as two,
        function(lambda_, {"notes": "none"}, runtime="provided.al2023", Layers=[one], Timeout=20) as name,
    ):
        assert invoke(lambda_, name) == "/opt/bootstrap in /var/task"
        lambda_.update_function_configuration(FunctionName=name, Layers=[two, one])
        assert invoke(lambda_, name) == "/opt/bootstrap in /var/task"
        lambda_.update_function_configuration(FunctionName=name, Layers=[two])
        answer = lambda_.invoke(FunctionName=name)
        assert b"Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]" in answer["Payload"].read()


def test_a_wrapper_script_runs_from_a_layer(lambda_: Any) -> None:
    wrapper = '#!/bin/sh\nexport WRAPPED="$0"\nexec "$@"\n'
    code = "import os\ndef handler(event, context): return os.environ.get('WRAPPED')\n"
    variables = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"}}
    with (
        layer(lambda_, {"wrapper": wrapper}) as one,
        function(lambda_, code, Layers=[one], Environment=variables) as name,
    ):
        assert invoke(lambda_, name) == "/opt/wrapper"


def test_another_accounts_layer_is_used_where_it_is_shared(lambda_: Any, endpoint: str) -> None:
    with closing(client("lambda", endpoint, account="111122223333")) as theirs, layer(lambda_, who("shared")) as one:
        name, _, number = one.rpartition(":")
        lambda_.add_layer_version_permission(
            LayerName=name,
            VersionNumber=int(number),
            StatementId="s",
            Action="lambda:GetLayerVersion",
            Principal="111122223333",
        )
        with function(theirs, WHO, Layers=[one]) as used:
            assert invoke(theirs, used)[0] == "shared"


def test_deleted_layers_serve_cold_starts_also_after_a_restart(base: Path) -> None:
    data_dir = base / "data"
    arns, name = [], "kept"
    server = start_server(data_dir)
    try:
        with closing(client("lambda", server.url)) as lambda_:
            for one in ("a", "b"):
                content = {"ZipFile": package(who(one))}
                arns.append(lambda_.publish_layer_version(LayerName=one, Content=content)["LayerVersionArn"])
            code = {"ZipFile": package({"app.py": WHO})}
            named = {"Runtime": PYTHON_RUNTIME, "Handler": "app.handler", "Role": ROLE, "Code": code, "Layers": arns}
            lambda_.create_function(FunctionName=name, **named)
            before = invoke(lambda_, name)
            for arn in arns:
                delete(lambda_, arn)
            lambda_.update_function_configuration(FunctionName=name, Timeout=9)  # new environments
            after = invoke(lambda_, name)
            assert (before[0], after[0], before[1] == after[1]) == ("b", "b", False)
        kept = {path.name: path.stat().st_ctime_ns for path in (data_dir / "packages").iterdir()}
        assert len(kept) == 4  # the code, two layers, and what they are together
        assert server.stop() == 0
        server = start_server(data_dir)
        with closing(client("lambda", server.url)) as lambda_:
            assert invoke(lambda_, name)[0] == "b"
            shown = lambda_.get_function_configuration(FunctionName=name)["Layers"]
            assert [one["Arn"] for one in shown] == arns
            assert lambda_.list_layers()["Layers"] == []
        assert {path.name: path.stat().st_ctime_ns for path in (data_dir / "packages").iterdir()} == kept
    finally:
        server.stop()


@pytest.mark.parametrize("tier", ["rootless", "process"])
def test_layers_in_the_tiers_of_an_ordinary_user(base: Path, tier: str) -> None:
    code = "import os, who\ndef handler(event, context): return [who.NAME, os.popen('tool here').read()]\n"
    with (
        ordinary_server(base, "--tier", tier) as server,
        closing(client("lambda", server.url)) as lambda_,
        layer(lambda_, who("a") | {"bin/tool": TOOL}) as a,
        layer(lambda_, who("b") | {"bootstrap": BOOTSTRAP}) as b,
        function(lambda_, code, Layers=[a, b]) as name,
        function(lambda_, {"x": ""}, runtime="provided.al2023", Timeout=20, Layers=[b]) as os_only,
    ):
        assert server.tier == tier
        assert invoke(lambda_, name) == ["b", "tool of here\n"]
        assert invoke(lambda_, os_only).split(" in ")[0].endswith("/bootstrap")
