import pytest

from reconciler.observed.uri import openable, parse_uri


@pytest.mark.parametrize(
    ("uri", "driver", "transport", "host", "port", "local"),
    [
        ("qemu:///system", "qemu", "", "", None, True),
        ("lxc:///", "lxc", "", "", None, True),
        ("test:///path/node.xml", "test", "", "", None, True),
        ("test+unix:///default?socket=/run/x", "test", "unix", "", None, True),
        ("qemu+ssh://root@192.0.2.1/system", "qemu", "ssh", "192.0.2.1", 22, False),
        ("qemu+ssh://root@192.0.2.1:2222/system", "qemu", "ssh", "192.0.2.1", 2222, False),
        ("qemu+ssh://[2001:db8::1]/system", "qemu", "ssh", "2001:db8::1", 22, False),
        ("qemu+tls://h1.example/system", "qemu", "tls", "h1.example", 16514, False),
        ("qemu://h1.example/system", "qemu", "", "h1.example", 16514, False),
        ("qemu+tcp://h1/system", "qemu", "tcp", "h1", 16509, False),
        ("qemu+libssh2://h1/system", "qemu", "libssh2", "h1", 22, False),
    ],
)
def test_parts(uri, driver, transport, host, port, local):
    route = parse_uri(uri)
    assert (route.driver, route.transport, route.host, route.port, route.local) == (
        driver,
        transport,
        host,
        port,
        local,
    )


def test_the_ssh_command_matches_the_uri_and_asks_nothing():
    command = parse_uri("qemu+ssh://me@h:2222/system?keyfile=/k%20ey&no_verify=1").ssh_command("true")
    assert command[:2] == ["ssh", "-T"]
    assert "BatchMode=yes" in command
    assert "StrictHostKeyChecking=no" in command
    assert command[-9:] == ["-i", "/k ey", "-l", "me", "-p", "2222", "--", "h", "true"]


def test_a_host_cannot_become_an_option():
    command = parse_uri("qemu+ssh://-oProxyCommand=evil/system").ssh_command("true")
    assert command[command.index("--") + 1] == "-oproxycommand=evil"


def test_ssh_is_opened_without_a_terminal_and_with_a_limit_of_time():
    uri = openable("qemu+ssh://h/system?keyfile=/k")
    assert uri.startswith("qemu+ssh://h/system?keyfile=/k&no_tty=1&command=")
    assert uri.endswith("ssh-with-deadline")


@pytest.mark.parametrize(
    "uri",
    [
        "qemu+ssh://h/system?no_tty=0&command=/usr/bin/myssh",
        "qemu:///system",
        "test:///default",
        "qemu+libssh2://h/system",
    ],
)
def test_what_is_said_already_stays(uri):
    assert openable(uri) == uri
