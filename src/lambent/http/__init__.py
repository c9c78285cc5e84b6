"""The HTTP/1.1 server core: one asyncio protocol over httptools, with every bound named in `Limits`."""

from .exchange import Exchange
from .limits import Limits
from .message import Application, BodySink, Buffered, Request, Streamed, Tls
from .server import Reaper, Server, listen, serve

__all__ = [
    "Application",
    "BodySink",
    "Buffered",
    "Exchange",
    "Limits",
    "Reaper",
    "Request",
    "Server",
    "Streamed",
    "Tls",
    "listen",
    "serve",
]
