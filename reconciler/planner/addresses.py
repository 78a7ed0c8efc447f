"""Who gets which address. Pure: wishes and what is held, into grants and refusals.

An address that anybody holds is given to nobody else before it is let go, also within one plan. Whoever has
one keeps it as long as it still fits the wish. The result does not depend on the order of the wishes.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from reconciler.model.network import IPAddress, NetworkSpec

AUTO = "auto"
"""The wish for the next free address."""

Place = tuple[str, IPAddress]
"""Name of a network, and an address on it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What one interface asks for.

    Attributes:
        vm: Its machine.
        interface: Its name.
        network: Its network.
        address: The address, or None: the next free one.
        kept: What it has now, on this network, or None.
        mac: Its MAC; only for who may be given an address that DHCP has leased.
    """

    vm: str
    interface: str
    network: str
    address: IPAddress | None = None
    kept: IPAddress | None = None
    mac: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a wish cannot be granted: a CamelCase word and a sentence."""

    wish: Wish
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Allocation:
    """The answer.

    Attributes:
        granted: Machine to interface to address.
        refused: In the order of machines.
    """

    granted: Mapping[str, Mapping[str, IPAddress]] = field(default_factory=dict)
    refused: tuple[Refusal, ...] = ()


class Space:
    """The addresses of one network.

    Args:
        spec: Its manifest; one without a subnet has no addresses.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        self._net = spec.net
        self._dhcp = spec.dhcp
        self._single: set[IPAddress | None] = {spec.router}
        self._single |= {ipaddress.ip_address(one.address) for one in spec.fixed}
        # A record may well be there for a machine that asks for this address; nobody gets it by chance.
        self._named = frozenset(ipaddress.ip_address(one.address) for one in spec.dns)
        self.first, self.last = self._bounds(spec)

    def _bounds(self, spec: NetworkSpec) -> tuple[int, int]:
        """First and last address that ``auto`` may mean, as numbers; the first is the higher without any."""
        if spec.net is None:
            return 1, 0
        # The ends of a subnet: its own name, and (in IPv4) broadcast.
        low, high = int(spec.net.network_address) + 1, int(spec.net.broadcast_address) - 1
        if spec.allocation is not None:
            return max(low, int(spec.allocation.first)), min(high, int(spec.allocation.last))
        return low, high

    def fits(self, address: IPAddress) -> bool:
        """True if a machine may have it: in the subnet, neither the gateway's nor DHCP's to give away."""
        if self._net is None or address not in self._net or address in self._single:
            return False
        ends = (int(self._net.network_address), int(self._net.broadcast_address))
        return int(address) not in ends and not (self._dhcp is not None and address in self._dhcp)

    def free(
        self, taken: Container[Place], network: str, begin: int, leased: Container[Place] = ()
    ) -> IPAddress | None:
        """The lowest address from the number `begin` on that fits and that nobody has, nor has leased."""
        number = max(self.first, begin)
        while number <= self.last:
            address = _like(self._net, number)
            if self._dhcp is not None and address in self._dhcp:
                number = int(self._dhcp.last) + 1
                continue
            place = (network, address)
            if (
                place not in taken
                and place not in leased
                and address not in self._named
                and self.fits(address)
            ):
                return address
            number += 1
        return None


def _like(net: object, number: int) -> IPAddress:
    return (
        ipaddress.IPv6Address(number)
        if isinstance(net, ipaddress.IPv6Network)
        else ipaddress.IPv4Address(number)
    )


def allocate(
    spaces: Mapping[str, Space],
    wishes: Iterable[Wish],
    held: Mapping[Place, Sequence[str]],
    uncertain: str = "",
    leased: Mapping[Place, Collection[str]] | None = None,
) -> Allocation:
    """Grant the wishes.

    Args:
        spaces: The networks by name.
        wishes: Of all machines, each interface once.
        held: Machines that hold an address, also those without a wish and those out of sight; what a wish
            says is `kept` is in it too.
        uncertain: Why somebody unseen may hold any address: then nobody gets one that he has not. Empty if
            everything is known.
        leased: MACs to which DHCP has leased an address. While that lasts it answers nobody else who has a
            reservation of it, so others are chosen first.
    """
    return _Allocating(spaces, wishes, held, uncertain, leased or {}).run()


class _Allocating:
    def __init__(
        self,
        spaces: Mapping[str, Space],
        wishes: Iterable[Wish],
        held: Mapping[Place, Sequence[str]],
        uncertain: str,
        leased: Mapping[Place, Collection[str]],
    ) -> None:
        self.spaces = spaces
        self.wishes = sorted(wishes, key=lambda wish: (wish.vm, wish.interface))
        self.held = held
        self.uncertain = uncertain
        self.leased = leased
        self.lessees = {(place[0], mac) for place, macs in leased.items() for mac in macs}
        self.taken: dict[Place, str] = {place: min(holders) for place, holders in held.items() if holders}
        self.granted: dict[str, dict[str, IPAddress]] = defaultdict(dict)
        self.given: set[Place] = set()
        self.refused: list[Refusal] = []

    def run(self) -> Allocation:
        fixed = [wish for wish in self.wishes if wish.address is not None]
        open_ = [wish for wish in self.wishes if wish.address is None]
        settled = {id(wish) for wish in (*fixed, *open_) if self._keep(wish)}
        # What people wrote down is theirs, granted or not: no machine gets it as its next free one.
        for wish in fixed:
            if id(wish) not in settled:
                self._fix(wish)
        for wish in fixed:
            if wish.address is not None:
                self.taken.setdefault((wish.network, wish.address), wish.vm)
        begins: dict[str, int] = defaultdict(int)
        for wish in open_:
            if id(wish) not in settled:
                self._choose(wish, begins)
        self.refused.sort(key=lambda refusal: (refusal.wish.vm, refusal.wish.interface))
        return Allocation({vm: dict(found) for vm, found in self.granted.items()}, tuple(self.refused))

    def _keep(self, wish: Wish) -> bool:
        """Let it have what it has, if that fits the wish and nobody else has a better claim to it."""
        if wish.kept is None or wish.address not in (None, wish.kept) or wish.network not in self.spaces:
            return False
        place = (wish.network, wish.kept)
        if not self.spaces[wish.network].fits(wish.kept) or self.taken.get(place, wish.vm) != wish.vm:
            return False
        if place in self.given:  # another interface of the machine has it
            return False
        self._grant(wish, wish.kept)
        return True

    def _fix(self, wish: Wish) -> None:
        address = wish.address
        if address is None or self._refuse_uncertain(wish):
            return
        space = self.spaces.get(wish.network)
        if space is None or not space.fits(address):
            self._refuse(wish, "AddressUnfit", f"{address} is no address of the network {wish.network}")
            return
        holder = self.taken.get((wish.network, address))
        if holder is not None:
            message = (
                f"{address} on {wish.network} is still held by {holder}: it is free once {holder} let it go"
            )
            self._refuse(wish, "AddressTaken", message)
        else:
            self._grant(wish, address)

    def _choose(self, wish: Wish, begins: dict[str, int]) -> None:
        if self._refuse_uncertain(wish):
            return
        space = self.spaces.get(wish.network)
        found = self._free(space, wish, begins[wish.network]) if space is not None else None
        if found is None:
            message = f"the network {wish.network} has no free address: widen its allocation, or free one"
            self._refuse(wish, "NoAddressFree", message)
            return
        if (wish.network, found) not in self.leased:
            begins[wish.network] = max(begins[wish.network], int(found) + 1)
        self._grant(wish, found)

    def _free(self, space: Space, wish: Wish, begin: int) -> IPAddress | None:
        """The lowest free address that nobody else has leased, or else the lowest: better late than none."""
        leased: Container[Place] = self.leased
        if (wish.network, wish.mac) in self.lessees:
            leased = {place for place, macs in self.leased.items() if set(macs) != {wish.mac}}
            begin = 0  # what others passed over may be its own
        found = space.free(self.taken, wish.network, begin, leased)
        if found is None and self.leased:
            found = space.free(self.taken, wish.network, 0)
        return found

    def _refuse_uncertain(self, wish: Wish) -> bool:
        if not self.uncertain:
            return False
        self._refuse(wish, "HostUnknown", f"it gets no address on {wish.network} now: {self.uncertain}")
        return True

    def _grant(self, wish: Wish, address: IPAddress) -> None:
        self.taken[(wish.network, address)] = wish.vm
        self.given.add((wish.network, address))
        self.granted[wish.vm][wish.interface] = address

    def _refuse(self, wish: Wish, reason: str, message: str) -> None:
        self.refused.append(Refusal(wish, reason, message))
