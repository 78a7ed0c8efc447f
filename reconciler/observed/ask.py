"""One question to one host, over a connection of its own, with the host's deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import libvirt

from reconciler.model.host import Host
from reconciler.observed import eventloop
from reconciler.observed.connection import open_raw
from reconciler.observed.trouble import explain, slow
from reconciler.observed.uri import openable

Answer = TypeVar("Answer")


def ask(host: Host, question: Callable[[libvirt.virConnect], Answer]) -> Answer:
    """What the host answers.

    A call that is stuck in libvirt cannot be ended: its thread is left behind.

    Raises:
        HostError: It cannot be reached, refuses, or does not answer in time.
    """
    eventloop.ensure()
    answers: list[Answer] = []
    errors: list[libvirt.libvirtError] = []

    def carry() -> None:
        try:
            raw = open_raw(openable(host.uri))
            try:
                answers.append(question(raw))
            finally:
                raw.close()
        except libvirt.libvirtError as error:
            errors.append(error)

    asking = threading.Thread(target=carry, name=f"ask-{host.name}", daemon=True)
    asking.start()
    asking.join(host.deadline)
    if answers:
        return answers[0]
    if errors:
        raise explain(host, errors[0]) from errors[0]
    raise slow(host)


def open_host(host: Host) -> libvirt.virConnect:
    """An open connection with keepalive, for one who works with it at length and closes it.

    Raises:
        HostError: It cannot be opened.
    """
    eventloop.ensure()
    try:
        return open_raw(openable(host.uri))
    except libvirt.libvirtError as error:
        raise explain(host, error) from error
