from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.allocator.algorithms import Algorithm, best_fit
from reconciler.allocator.filters import rounded
from reconciler.allocator.place import place
from reconciler.allocator.simulate import GIB, fleet
from reconciler.allocator.usage import HostUsage
from reconciler.model.capacity import Demand, Tenant
from reconciler.model.manifest import AntiAffinity, Placement

BEST_FIT = Algorithm("best-fit", best_fit, by_size=True)


def test_twins_are_refused() -> None:
    with pytest.raises(ValueError, match="machine 'm' is named twice"):
        place([Demand("m", 1, 1), Demand("m", 2, 2)], fleet("1x1c1g1d"), BEST_FIT)
    with pytest.raises(ValueError, match="host 'h1' is named twice"):
        place([], fleet("1x1c1g1d") * 2, BEST_FIT)


def test_nothing_to_place() -> None:
    assert place([], fleet("2x8c32g100d"), BEST_FIT) == {}


def test_a_large_fleet_names_at_most_a_hundred_hosts_but_counts_all() -> None:
    decision = place([Demand("m", 9, GIB)], fleet("300x8c32g100d"), BEST_FIT)["m"]
    assert decision.rejected == {"cpus": 300}
    assert len(decision.reasons) == 100


def test_equal_refusals_share_their_reasons_until_something_is_placed() -> None:
    wanted = [Demand(f"big-{n}", 9, GIB) for n in range(3)]
    decisions = place(wanted, fleet("2x8c32g100d"), BEST_FIT)
    assert decisions["big-0"].reasons is decisions["big-2"].reasons
    assert [decisions[f"big-{n}"].vm for n in range(3)] == ["big-0", "big-1", "big-2"]


def test_refusals_are_not_shared_with_machines_that_others_keep_away() -> None:
    jealous = Placement(anti_affinity=(AntiAffinity(selector={"app": "x"}),))
    host = replace(fleet("1x8c32g100d")[0], tenants=(Tenant("t", 1, GIB, placement=jealous),))
    wanted = [Demand("a", 1, GIB, labels={"app": "x"}), Demand("b", 1, GIB)]
    decisions = place(wanted, [host], BEST_FIT)
    assert decisions["a"].rejected == {"anti-affinity of a resident": 1}
    assert decisions["b"].host == "h1"


def test_machines_alike_but_for_the_host_of_their_disks_go_each_to_its_own() -> None:
    wanted = [Demand("a", 1, GIB, only="h2"), Demand("b", 1, GIB, only="h1"), Demand("c", 1, GIB)]
    decisions = place(wanted, fleet("2x8c32g100d"), BEST_FIT)
    assert (decisions["a"].host, decisions["b"].host) == ("h2", "h1")


def test_a_clone_with_a_copied_mark_counts_like_any_machine() -> None:
    """virt-clone copies our mark: two domains of one host may carry one name."""
    twins = (Tenant("web", 3, GIB), Tenant("web", 3, GIB))
    host = replace(fleet("1x8c32g100d")[0], tenants=twins)
    assert place([Demand("m", 3, GIB)], [host], BEST_FIT)["m"].rejected == {"cpus": 1}


def test_usage_is_counted_by_the_very_object() -> None:
    usage = HostUsage(fleet("1x8c32g100d")[0])
    tenant = Tenant("web", 3, GIB)
    usage.add(tenant)
    with pytest.raises(ValueError, match="counted twice"):
        usage.add(tenant)
    usage.remove(tenant)
    with pytest.raises(KeyError):
        usage.remove(tenant)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (64 * GIB, "64Gi"),
        (GIB + GIB // 2, "1536Mi"),
        (GIB + 1, "1.0Gi"),
        (-5, "0"),
        (0, "0"),
        (999_999_999_999_999, "909.5Ti"),
        (123_456, "123456"),
        (1_234_567, "1.2Mi"),
    ],
)
def test_sizes_for_people_are_short(size: int, text: str) -> None:
    assert rounded(size) == text


@pytest.mark.parametrize("text", ["8c32g", "1x8c32g100d nonsense", "x8c32g100d"])
def test_a_fleet_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"describes nothing|is not a host"):
        fleet(text)


def test_a_fleet_of_ten_is_numbered_so_that_names_sort() -> None:
    names = [host.name for host in fleet("4x1c1g1d; 6x2c2g2d")]
    assert names == sorted(names)
    assert names[0] == "h01"
