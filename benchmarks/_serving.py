"""Serves the API, or whatever it is held against, in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from api.app import create_app
from api.listening import listen
from api.server import Server
from reconciler.cli.app import App
from reconciler.cli.serving import services


@contextmanager
def process(target: Callable[[Connection, Any], None], about: object) -> Iterator[int]:
    """The port of a server in a process of its own."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, about))
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send("stop")
        process.join(20)
        process.kill()


def serve(pipe: Connection, folder: Path) -> None:
    """The whole API of the installation in `folder`."""
    sockets = listen("127.0.0.1:0")
    with services(App(folder / "reconciler.yaml")) as made, Server(create_app(made), sockets) as server:
        pipe.send(server.ports[0])
        pipe.recv()
