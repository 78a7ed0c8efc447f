"""The XML of domains as libvirt has it, for what our model does not carry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing

import libvirt

from reconciler.model.host import Host
from reconciler.observed.connection import Connection, Listener
from reconciler.observed.crew import call_within
from reconciler.observed.trouble import explain, slow


def domain_texts(host: Host, uuids: Iterable[str]) -> Mapping[str, str]:
    """The persistent XML of a host's domains by UUID, within the host's deadline; one that is gone has none.

    Raises:
        HostError: The host does not answer, or not in time.
    """
    wanted = list(uuids)
    try:
        return call_within(host.deadline, lambda: _read(host, wanted))
    except TimeoutError as error:
        raise slow(host) from error


def _read(host: Host, uuids: Iterable[str]) -> Mapping[str, str]:
    texts = {}
    with closing(Connection.open(host, Listener(lambda: None))) as connection:
        for uuid in uuids:
            try:
                domain = connection.raw.lookupByUUIDString(uuid)
                texts[uuid] = str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise explain(host, error) from error
    return texts
