"""Greets, fails or sleeps, as the event says. The demo runs it; `lambent deploy examples/python-hello` does too."""

import os
import time

STARTED = time.time()  # runs once per execution environment: the init phase


def handler(event, context):
    print(f"{event.get('name', 'nobody')} calls {context.function_name}")
    if "sleep_s" in event:
        time.sleep(event["sleep_s"])
    if event.get("fail"):
        return 1 / 0
    return {
        "hello": event.get("name", "world"),
        "pid": os.getpid(),
        "remaining_ms": context.get_remaining_time_in_millis(),
    }
