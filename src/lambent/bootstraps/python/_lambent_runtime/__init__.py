"""Lambent's Python runtime client: runs inside a sandbox, talks to the platform over one inherited socket.

One source for CPython 3.8 to 3.14, standard library only. It behaves as the published client `awslambdaric` does inside
a managed runtime; what differs on purpose is listed, with the reason, in the differential tests.

Start-up is on the path of a cold start, so the modules are split by need: `loop`, `values`, `context` and `handler` are
always imported; `faults` (with `traceback`, `re`, ...) on the first error, `logs` when the function imports `logging`.
"""
