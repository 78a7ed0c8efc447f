"""Looking into a running tiny guest from its host, for tests that assert what the guest sees."""

from __future__ import annotations

from reconciler.errors import LabError
from reconciler.lab.host import LabHost
from reconciler.lab.process import wait_until

HTTP_PORT = 80
SHELL_PORT = 2323


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
        ``hostname``, ``uptime`` (seconds), ``boots``, ``cpus``, ``memory`` (kB), ``disks`` and
        ``addresses`` (``link=address/prefix``), the last two separated by blanks.

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
