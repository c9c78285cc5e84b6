"""Runtime identifiers, interpreters of this machine, and how a runtime is started.

`catalogue`: what the service knows; `service.discover` → `Runtimes`: what this machine has, what is missing and how to
get it, root images and start plans; `install`: `lambent runtimes add`.
"""
