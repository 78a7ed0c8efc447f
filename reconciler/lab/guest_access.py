"""Looking into a running lab guest from its host, for tests that assert what the guest sees.

By its network (`guest_status`, `guest_shell`: the tiny guest) or by its serial console (`console`: every
lab guest that has one, also where its network is out of the host's reach).
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import select
import time
import tty
from dataclasses import dataclass

from reconciler.errors import LabError
from reconciler.lab.host import LabHost
from reconciler.lab.process import wait_until

HTTP_PORT = 80
SHELL_PORT = 2323


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command inside a guest came to.

    Attributes:
        status: Its exit status.
        output: What it printed on both channels.
    """

    status: int
    output: str


def guest_address(host: LabHost, domain: str, *, timeout: float = 30.0) -> str:
    """First IPv4 address that the host's DHCP server gave to a domain; waits for it.

    Raises:
        LabError: The domain got none within `timeout` seconds.
    """
    found: list[str] = []

    def look() -> bool:
        lines = host.virsh("domifaddr", domain).splitlines()
        found[:] = [line.split()[3].split("/")[0] for line in lines if " ipv4 " in line]
        return bool(found)

    if not wait_until(look, timeout=timeout, pause=0.2):
        raise LabError(f"the domain {domain} on {host.name} has no address after {timeout:g} s")
    return found[0]


def guest_status(host: LabHost, address: str, *, timeout: float = 30.0) -> dict[str, str]:
    """What a tiny guest says of itself; waits until it answers.

    Args:
        host: The host whose network the guest is on, or one that can route there.
        address: The guest's address.
        timeout: Seconds to wait for the first answer.

    Returns:
        ``hostname``, ``uptime`` (seconds), ``boots``, ``cpus``, ``online`` (numbers of the processors),
        ``memory`` (kB), ``disks``; and separated by blanks ``addresses`` (``link=address/prefix``), ``sizes``
        (``disk=bytes``), ``serials`` (``disk=serial``) and ``links`` (``link=hardware address``).

    Raises:
        LabError: It does not answer.
    """
    said: list[str] = []
    url = f"http://{address}:{HTTP_PORT}/cgi-bin/index.cgi"

    def ask() -> bool:
        done = host.run(["busybox", "timeout", "3", "busybox", "wget", "-q", "-O-", url], check=False)
        said[:] = done.stdout.splitlines()
        return done.returncode == 0

    if not wait_until(ask, timeout=timeout, pause=0.2):
        raise LabError(f"no tiny guest answers at {address} from {host.name}")
    pairs = (line.partition("=") for line in said)
    return {key: value.strip() for key, _, value in pairs}


def guest_shell(host: LabHost, address: str, command: str, *, timeout: float = 20.0) -> str:
    """Output of a shell command inside a tiny guest.

    Raises:
        LabError: The guest does not answer within `timeout` seconds.
    """
    argv = ["busybox", "nc", address, str(SHELL_PORT)]
    return host.run(argv, stdin=f"{command}\nexit\n", timeout=timeout).stdout


def console(host: LabHost, domain: str, command: str, *, timeout: float = 30.0) -> Answer:
    """Run a shell command inside a guest, as root, over its first serial console; waits for its shell.

    Nobody else may use the console meanwhile.

    Args:
        host: Where the guest runs.
        domain: Its name.
        command: Text for its shell.
        timeout: Seconds until the command must have ended, the wait for the shell included.

    Raises:
        LabError: There is no console, or no shell on it, or the command does not end in time.
    """
    path = host.virsh("ttyconsole", domain).strip()
    if not path.startswith("/dev/"):
        raise LabError(f"the domain {domain} on {host.name} has no serial console")
    deadline = time.monotonic() + timeout
    try:
        line = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        raise LabError(f"the console {path} of {domain} on {host.name}: {error.strerror}") from error
    try:
        tty.setraw(line)
        token = secrets.token_hex(4)
        _wait_for_shell(line, deadline)
        # The terminal shows what is typed, so the marks must look otherwise there than when printed; and the
        # command comes between them only as output.
        typed = _as_file(command)
        typed += f"printf '<%s<' {token}; TERM=dumb PAGER=cat sh /run/console.sh </dev/null 2>&1; "
        typed += f"printf '>%s:%d>' {token} $?\n"
        answer = _converse(line, typed, rf"<{token}<(.*)>{token}:(\d+)>", deadline)
    except OSError as error:
        raise LabError(f"the console of {domain} on {host.name}: {error.strerror}") from error
    finally:
        os.close(line)
    if answer is None:
        raise LabError(f"inside {domain} on {host.name}, within {timeout:g} s there is no end of: {command}")
    return Answer(int(answer[2]), answer[1].replace("\r", "").strip("\n"))


def _wait_for_shell(line: int, deadline: float) -> None:
    """Type until a shell answers."""
    while time.monotonic() < deadline:
        token = secrets.token_hex(4)
        # ^C first: it clears what somebody left half typed.
        typed = f"\x03\nprintf '<%s>' {token}\n"
        if _converse(line, typed, f"<{token}>", min(deadline, time.monotonic() + 2)):
            return


def _as_file(command: str) -> str:
    """What to type so that a command of any length and shape lies in a file: a shell's line is short."""
    text = base64.b64encode(command.encode()).decode()
    chunks = [text[at : at + 400] for at in range(0, len(text), 400)]
    lines = [": >/run/console", *(f"printf %s {chunk} >>/run/console" for chunk in chunks)]
    return "".join(f"{line}\n" for line in [*lines, "base64 -d /run/console >/run/console.sh"])


def _converse(line: int, typed: str, pattern: str, deadline: float) -> re.Match[str] | None:
    """Type something and read until a pattern comes; None if it does not in time."""
    left = typed.encode()
    heard = b""
    while time.monotonic() < deadline:
        readable, writable, _ = select.select([line], [line] if left else [], [], 0.2)
        if writable:
            left = left[os.write(line, left[:64]) :]
        if readable:
            heard += os.read(line, 65536)
            found = re.search(pattern, heard.decode(errors="replace"), flags=re.DOTALL)
            if found:
                return found
    return None
