"""Where a disk lies, as far as its path does not say it."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element

from reconciler.model.host import server_name


def source_fields(disk: Element) -> dict[str, Any]:
    """Fields of a `DiskConfig`, of a ``<disk>``."""
    fields: dict[str, Any] = {"type": disk.get("type", "file")}
    source = disk.find("source")
    if source is not None and fields["type"] == "network":
        servers = [host for host in source.findall("host") if host.get("name")]
        if servers:
            fields["hosts"] = servers_of(servers)
    found = disk.find("auth") if source is None or source.find("auth") is None else source.find("auth")
    if found is not None and (told := auth_of(found)) is not None:
        fields["auth"] = told
    if disk.find("shareable") is not None:
        fields["shared"] = True
    return fields


def servers_of(hosts: list[Element]) -> tuple[str, ...]:
    """``name:port`` of ``<host>`` elements."""
    return tuple(server_name(host.get("name", ""), host.get("port", "")) for host in hosts)


def auth_of(auth: Element) -> str | None:
    """``user:uuid`` of an ``<auth>``; None where the secret is told by its usage."""
    secret = auth.find("secret")
    if secret is None or not secret.get("uuid"):
        return None
    return f"{auth.get('username', '')}:{secret.get('uuid', '').lower()}"
