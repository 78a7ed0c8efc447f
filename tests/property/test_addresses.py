"""No address twice, nobody loses one, and it does not matter in which order anybody asks."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.network import IPAddress, NetworkSpec
from reconciler.planner.addresses import Allocation, Place, Space, Wish, allocate

SPEC = NetworkSpec.model_validate(
    {
        "subnet": "10.9.0.0/28",
        "dhcp": {"start": "10.9.0.10", "end": "10.9.0.12"},
        "fixed": [{"mac": "52:54:00:00:00:01", "address": "10.9.0.5"}],
        "dns": [{"name": "printer", "address": "10.9.0.6"}],
    }
)
SPACES = {"lan": Space(SPEC), "wire": Space(NetworkSpec(mode="bridge", bridge="br0", subnet="10.9.0.0/29"))}
MACHINES = tuple("abcdefgh")
ADDRESSES = [ipaddress.ip_address(f"10.9.0.{number}") for number in range(16)]

networks = st.sampled_from(sorted(SPACES))
addresses = st.none() | st.sampled_from(ADDRESSES)
wishes = st.lists(
    st.builds(
        Wish, st.sampled_from(MACHINES), st.sampled_from(["net0", "net1"]), networks, addresses, addresses
    ),
    unique_by=lambda wish: (wish.vm, wish.interface),
    max_size=12,
)
others = st.dictionaries(
    st.tuples(networks, st.sampled_from(ADDRESSES)), st.just(["out of sight"]), max_size=4
)
quick = settings(max_examples=100, deadline=None)


def everybody(asked: Sequence[Wish], held: Mapping[Place, Sequence[str]]) -> dict[Place, list[str]]:
    """What is held, with what the wishes say is kept."""
    whole = {place: list(holders) for place, holders in held.items()}
    for wish in asked:
        if wish.kept is not None:
            whole.setdefault((wish.network, wish.kept), []).append(wish.vm)
    return whole


def given_out(asked: Sequence[Wish], allocation: Allocation) -> list[tuple[str, IPAddress, str]]:
    return [
        (wish.network, allocation.granted[wish.vm][wish.interface], wish.vm)
        for wish in asked
        if wish.interface in allocation.granted.get(wish.vm, {})
    ]


@quick
@given(wishes, others)
def test_no_address_is_given_twice_nor_taken_from_anybody(
    asked: list[Wish], held: dict[Place, list[str]]
) -> None:
    whole = everybody(asked, held)
    allocation = allocate(SPACES, asked, whole)
    found = given_out(asked, allocation)
    assert len({(network, address) for network, address, _ in found}) == len(found)
    for network, address, vm in found:
        holders = whole.get((network, address))
        assert holders is None or min(holders) == vm
        assert SPACES[network].fits(address)
    answered = {(r.wish.vm, r.wish.interface) for r in allocation.refused}
    assert len(answered) + len(found) == len(asked)


@quick
@given(wishes, others, st.randoms(use_true_random=False))
def test_the_order_of_the_wishes_does_not_matter(
    asked: list[Wish], held: dict[Place, list[str]], chance: random.Random
) -> None:
    whole = everybody(asked, held)
    shuffled = list(asked)
    chance.shuffle(shuffled)
    assert allocate(SPACES, asked, whole) == allocate(SPACES, shuffled, whole)


@quick
@given(wishes, others, wishes)
def test_what_was_given_is_kept_whoever_else_comes(
    asked: list[Wish], held: dict[Place, list[str]], more: list[Wish]
) -> None:
    first = allocate(SPACES, asked, everybody(asked, held))
    settled = [
        Wish(w.vm, w.interface, w.network, w.address, first.granted[w.vm][w.interface])
        for w in asked
        if w.interface in first.granted.get(w.vm, {})
    ]
    late = [Wish(f"late {wish.vm}", wish.interface, wish.network, wish.address) for wish in more]
    both = [*settled, *late]
    again = allocate(SPACES, both, everybody(both, held))
    for wish in settled:
        assert again.granted[wish.vm][wish.interface] == wish.kept


@quick
@given(st.integers(1, 20))
def test_the_next_free_ones_are_the_lowest_and_a_free_one_is_given_again(count: int) -> None:
    asked = [Wish(f"{number:02}", "net0", "lan") for number in range(count)]
    free = [4 - 2, 3, 4, 7, 8, 9, 13, 14]  # neither gateway, fixed, named, nor dhcp
    found = allocate(SPACES, asked, {})
    assert [int(a) & 15 for _, a, _ in sorted(given_out(asked, found), key=lambda g: g[2])] == free[:count]
    assert {r.reason for r in found.refused} == ({"NoAddressFree"} if count > len(free) else set())
    # The first machine goes: its address is the next that anybody gets.
    left = [Wish(w.vm, "net0", "lan", None, found.granted[w.vm]["net0"]) for w in asked[1 : len(free)]]
    again = allocate(SPACES, [*left, Wish("zz", "net0", "lan")], everybody(left, {}))
    assert again.granted["zz"]["net0"] == ADDRESSES[2]


def test_uncertainty_gives_nothing_new_and_takes_nothing_away() -> None:
    kept = Wish("a", "net0", "lan", None, ADDRESSES[3])
    asked = [kept, Wish("b", "net0", "lan"), Wish("c", "net0", "lan", ADDRESSES[7])]
    found = allocate(SPACES, asked, everybody(asked, {}), uncertain="h1 was never seen")
    assert found.granted == {"a": {"net0": ADDRESSES[3]}}
    assert [(r.wish.vm, r.reason) for r in found.refused] == [("b", "HostUnknown"), ("c", "HostUnknown")]


@quick
@given(wishes, others, st.dictionaries(st.tuples(networks, st.sampled_from(ADDRESSES)), st.just(["old"])))
def test_a_leased_address_is_chosen_only_when_no_other_is_left(
    asked: list[Wish], held: dict[Place, list[str]], leased: dict[Place, list[str]]
) -> None:
    whole = everybody(asked, held)
    plain, found = allocate(SPACES, asked, whole), allocate(SPACES, asked, whole, leased=leased)
    # Leases deny nobody an address, and fixed ones and those that are kept are what they were.
    assert found.refused == plain.refused
    got = {place[:2] for place in given_out(asked, found)}
    taken = got | whole.keys() | {(w.network, w.address) for w in asked if w.address is not None}
    for wish in asked:
        address = found.granted.get(wish.vm, {}).get(wish.interface)
        if wish.address is not None or address == wish.kept:
            assert address == plain.granted.get(wish.vm, {}).get(wish.interface)
        elif address is not None and (wish.network, address) in leased:
            assert SPACES[wish.network].free(taken, wish.network, 0, leased) is None


def test_what_the_lease_of_its_own_mac_says_is_free_to_a_machine() -> None:
    asked = [Wish("a", "net0", "lan", mac="aa"), Wish("b", "net0", "lan", mac="bb")]
    leased = {("lan", ADDRESSES[2]): ["bb"], ("lan", ADDRESSES[3]): ["bb", "other host"]}
    found = allocate(SPACES, asked, {}, leased=leased)
    assert found.granted == {"a": {"net0": ADDRESSES[4]}, "b": {"net0": ADDRESSES[2]}}
