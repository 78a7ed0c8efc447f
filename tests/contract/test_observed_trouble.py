"""Hosts that are down, hung or refuse us: a condition on that host, and nobody else's concern."""

import signal
import socket
import subprocess
import sys
import textwrap

import libvirt
import pytest
from observed_nodes import daemons, domain_xml, nodes, until

from reconciler.model.domain import DomainState
from reconciler.model.host import Host, HostStatus
from reconciler.observed.fleet import Observer

__all__ = ["daemons", "nodes"]


@pytest.fixture
def silent():
    """A port that takes connections and never says a word."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    yield listener.getsockname()[1]
    listener.close()


@pytest.fixture
def observer():
    observer = Observer("default")
    yield observer
    observer.close()


def silent_host(name, port, **settings):
    return Host(name, f"qemu+tcp://127.0.0.1:{port}/system", **settings)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_refused(observer):
    host = observer.observe({"h": silent_host("h", free_port())})["h"]
    assert host.status is HostStatus.UNREACHABLE
    assert not host.known
    assert "Connection refused" in host.message
    assert "start sshd" in host.message


def test_the_same_trouble_is_the_same_object(observer):
    hosts = {"h": silent_host("h", free_port())}
    assert observer.observe(hosts) is observer.observe(hosts)


def test_a_hung_host_costs_only_its_deadline_and_one_thread(nodes, silent):
    observer = Observer("default", opener=nodes.open, workers=2)
    hosts = {"hung": silent_host("hung", silent, deadline=0.2)}
    hosts |= {f"h{i}": nodes.host(f"h{i}", domain_xml("a", i)) for i in range(10)}
    first = observer.observe(hosts)
    assert first["hung"].status is HostStatus.SLOW
    assert "within 0.2 s" in first["hung"].message
    assert all(first[f"h{i}"].known for i in range(10))
    for _ in range(5):
        assert observer.observe(hosts) is first
    assert observer.threads <= 2 + 1
    observer.close()


def test_many_hung_hosts_take_no_thread_from_the_others(nodes, silent):
    observer = Observer("default", opener=nodes.open, workers=4)
    hosts = {f"hung{i}": silent_host(f"hung{i}", silent, deadline=0.3) for i in range(40)}
    hosts |= {f"h{i}": nodes.host(f"h{i}") for i in range(20)}
    fleet = observer.observe(hosts)
    assert [name for name, host in fleet.items() if host.known] == [f"h{i}" for i in range(20)]
    assert {host.status for host in fleet.values()} == {HostStatus.READY, HostStatus.SLOW}
    observer.observe(hosts)
    assert observer.threads <= 40 + 4
    observer.close()


def test_several_daemons_side_by_side(observer, daemons):
    hosts = {f"h{i}": daemons().host(f"h{i}") for i in range(4)}
    fleet = observer.observe(hosts)
    assert all(host.known and len(host.domains) == 1 for host in fleet.values())
    assert observer.observe(hosts) is fleet


def test_another_client_changes_a_domain(observer, daemons):
    daemon = daemons()
    hosts = {"h": daemon.host("h")}
    before = observer.observe(hosts)
    other = libvirt.open(daemon.uri)
    other.lookupByName("test").destroy()
    other.close()
    (domain,) = observer.observe(hosts)["h"].domains.values()
    assert domain.state is DomainState.SHUT_OFF
    assert before["h"].domains[domain.uuid].state is DomainState.RUNNING


def test_a_stopped_libvirtd_is_slow_and_comes_back(daemons):
    news = []
    observer = Observer("default", news.append)
    stopped, fine = daemons(), daemons()
    hosts = {"stopped": stopped.host("stopped", deadline=0.3), "fine": fine.host("fine")}
    before = observer.observe(hosts)
    stopped.signal(signal.SIGSTOP)
    during = observer.observe(hosts)
    assert during["stopped"].status is HostStatus.SLOW
    assert during["fine"] is before["fine"]
    threads = observer.threads
    assert observer.observe(hosts) is during
    assert observer.threads == threads
    stopped.signal(signal.SIGCONT)
    until(lambda: "stopped" in news)
    after = observer.observe(hosts)
    assert after["stopped"] is before["stopped"]
    observer.close()


def test_libvirtd_stopped_before_the_first_contact(daemons):
    news = []
    observer = Observer("default", news.append)
    daemon = daemons()
    daemon.signal(signal.SIGSTOP)
    hosts = {"h": daemon.host("h", deadline=0.2)}
    assert observer.observe(hosts)["h"].status is HostStatus.SLOW
    daemon.signal(signal.SIGCONT)
    until(lambda: news)
    assert observer.observe(hosts)["h"].known
    observer.close()


def test_a_killed_libvirtd_wakes_us_and_comes_back(daemons):
    news = []
    observer = Observer("default", news.append)
    daemon = daemons()
    hosts = {"h": daemon.host("h")}
    (before,) = observer.observe(hosts)["h"].domains.values()
    daemon.kill()
    until(lambda: news)
    down = observer.observe(hosts)["h"]
    assert down.status is HostStatus.NO_LIBVIRT
    assert "nothing listens at its libvirt socket" in down.message
    daemon.start()
    (after,) = observer.observe(hosts)["h"].domains.values()
    assert after is before
    observer.close()


def test_a_restarted_libvirtd_goes_unnoticed(observer, daemons):
    daemon = daemons()
    hosts = {"h": daemon.host("h")}
    before = observer.observe(hosts)
    daemon.kill()
    daemon.start()
    assert observer.observe(hosts) is before


SSH_TROUBLE = [
    ("ssh: connect to host h port 22: Connection refused", HostStatus.UNREACHABLE),
    ("ssh: connect to host h port 22: No route to host", HostStatus.UNREACHABLE),
    ("ssh: connect to host h port 22: Connection timed out", HostStatus.UNREACHABLE),
    ("ssh: Could not resolve hostname h: Name or service not known", HostStatus.UNREACHABLE),
    ("root@h: Permission denied (publickey,password).", HostStatus.KEY_REFUSED),
    ("Host key verification failed.", HostStatus.HOST_KEY),
    ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", HostStatus.HOST_KEY),
    ("error: cannot connect to '/run/libvirt/libvirt-sock': Permission denied", HostStatus.DENIED),
    ("error: cannot connect to '/run/libvirt/libvirt-sock': No such file", HostStatus.NO_LIBVIRT),
    ("sh: 1: virt-ssh-helper: not found", HostStatus.NO_LIBVIRT),
]


@pytest.mark.parametrize(("said", "status"), SSH_TROUBLE)
def test_what_ssh_says(observer, tmp_path, said, status):
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\nhead -c1 >/dev/null\necho "{said}" >&2\nexit 255\n')
    ssh.chmod(0o755)
    host = observer.observe({"h": Host("h", f"qemu+ssh://h/system?command={ssh}")})["h"]
    assert host.status is status
    assert said.strip("@ ")[:20] in host.message


def test_an_ssh_that_hangs(tmp_path):
    observer = Observer("default")
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    ssh.chmod(0o755)
    hosts = {"h": Host("h", f"qemu+ssh://h/system?command={ssh}", deadline=0.3)}
    assert observer.observe(hosts)["h"].status is HostStatus.SLOW
    assert observer.observe(hosts)["h"].status is HostStatus.SLOW
    assert observer.threads == 1
    subprocess.run(["kill", (tmp_path / "pid").read_text().strip()], check=True)
    observer.close()


def test_a_process_ends_although_a_host_hangs(daemons):
    daemon = daemons()
    # Looks, and then the host hangs: at exit there is an idle connection and one with an open question.
    program = f"""
        import os, signal
        from reconciler.model.host import Host
        from reconciler.observed.fleet import Observer
        hosts = {{"h": Host("h", {daemon.uri!r}, deadline=0.2)}}
        idle, asking = Observer("default"), Observer("default")
        assert idle.observe(hosts)["h"].known and asking.observe(hosts)["h"].known
        os.kill({daemon._process.pid}, signal.SIGSTOP)
        assert not asking.observe(hosts)["h"].known
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=10)
