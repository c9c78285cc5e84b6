"""A page behind a function URL: a server of its own, one function, an address to open. Run it as `scripts/demo web`.

It stays until Ctrl-C or SIGTERM; then the server is stopped, its processes are gone and its data directory is removed.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path
from types import FrameType

import boto3
from botocore.config import Config
from demo import EXAMPLES, ROLE, Broken, Server, line, need, packed, quote, running, style, title

NAME = "web"
ASSETS = {
    "": "text/html",
    "style.css": "text/css",
    "page.js": "javascript",
    "mark.svg": "image/svg+xml",
    "pixels.png": "image/png",
    "api/facts": "application/json",
}
"""What the page consists of, and the kind that each must have."""


def publish(server: Server) -> str:
    """Deploy the site, open its URL to everybody, and answer the address that the API tells."""
    api = boto3.client(
        "lambda",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 0}),
    )
    title("One function, its URL, and who may use it")
    here = f"python3.{sys.version_info.minor}"
    code = packed(EXAMPLES / "python-web")
    api.create_function(
        FunctionName=NAME, Runtime=here, Handler="app.handler", Role=ROLE, Code={"ZipFile": code}, MemorySize=256
    )
    api.get_waiter("function_active_v2").wait(FunctionName=NAME, WaiterConfig={"Delay": 0.05})
    url: str = api.create_function_url_config(FunctionName=NAME, AuthType="NONE")["FunctionUrl"]
    for statement, action, condition in (
        ("url", "lambda:InvokeFunctionUrl", {"FunctionUrlAuthType": "NONE"}),
        ("invoke", "lambda:InvokeFunction", {"InvokedViaFunctionUrl": True}),
    ):
        api.add_permission(FunctionName=NAME, StatementId=statement, Action=action, Principal="*", **condition)
        line(f"statement {statement:<8}{action} for everybody")
    api.close()
    return url


def look(url: str) -> None:
    """Fetch all of the page once: what is shown is there."""
    title("Its parts, fetched once")
    for path, kind in ASSETS.items():
        with urllib.request.urlopen(url + path, timeout=30) as answer:
            found, size = answer.headers["content-type"], len(answer.read())
        need(answer.status == 200 and kind in found and size > 0, f"{url}{path} answered {answer.status}, {found}")
        line(f"/{path:<12}{found:<32}{size:>6} bytes")


def wait() -> str:
    """Until somebody asks us to end."""
    asked: list[str] = []
    ended = threading.Event()

    def end(number: int, _: FrameType | None) -> None:
        asked.append(signal.Signals(number).name)
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    ended.wait()
    return asked[0]


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="lambent-demo-"))
    folder.chmod(0o755)  # a server that root starts becomes another user, who must be able to pass
    failure: str | None = None
    server: Server | None = None
    try:
        with running(folder / "data") as server:
            url = publish(server)
            look(url)
            title("Open it in a browser; Ctrl-C ends it")
            print(f"\n  {style(url, '1;32')}\n", flush=True)
            wait()
            status, alive = server.stop()
            need(status == 0, f"the server ended with status {status}:\n{server.text()}")
            need(not alive, f"processes were left behind: {sorted(alive)}")
    except Broken as error:
        failure = str(error)
    except KeyboardInterrupt:
        failure = "interrupted"
    except Exception as error:  # what boto3 raises is many things; the demo says which and fails
        failure = f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if failure is not None:
        print(f"\n{style('The demo failed.', '1;31')} {failure}", flush=True)
        if server is not None:
            print("The server said:")
            quote(server.text())
        return 1
    title("Stopped in order; no process and no file is left.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
