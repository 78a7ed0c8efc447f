"""Members into machines: the same objects while nothing changes, and a machine for whoever holds one."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.desired import DesiredState, Origin
from reconciler.model.machine import VirtualMachine
from reconciler.model.pool import POOL_LABEL, Member, MemberState, VirtualMachinePool, pool_slot
from reconciler.planner.lent import Expansion

STATES = st.sampled_from(list(MemberState))
MEMBERS = st.lists(
    st.builds(
        Member,
        st.sampled_from(["p", "q", "gone"]),
        st.integers(1, 6),
        STATES,
        st.just(0.0),
        st.integers(1, 3),
        st.just(""),
        st.sampled_from(["", "fresh"]),
    ),
    max_size=12,
    unique_by=lambda member: member.vm,
)


def pool(name: str, size: int, addresses: list[str]) -> VirtualMachinePool:
    interfaces = [{"network": "lan"}] if addresses else []
    return VirtualMachinePool.model_validate(
        {
            "metadata": {"name": name},
            "spec": {
                "size": {"max": size},
                "addresses": addresses,
                "template": {
                    "labels": {"app": "x"},
                    "spec": {"cpus": 1, "memory": "64Mi", "interfaces": interfaces, "cloudInit": {}},
                },
            },
        }
    )


def declared(name: str) -> VirtualMachine:
    return VirtualMachine.model_validate({"metadata": {"name": name}, "spec": {"cpus": 9, "memory": "1Gi"}})


DESIRED = DesiredState(
    "r",
    {"web": declared("web"), "q-6": declared("q-6")},
    machine_pools={"p": pool("p", 4, [f"10.0.0.{n}" for n in range(11, 15)]), "q": pool("q", 2, [])},
    origins={"VirtualMachinePool/p": Origin("p.yaml", 1)},
)


@settings(max_examples=150, deadline=None)
@given(MEMBERS)
def test_who_is_in_and_who_is_left_alone(members: list[Member]) -> None:
    expansion = Expansion()
    members = [Member(m.pool, m.slot, m.state, m.since, m.life, "", _template(expansion, m)) for m in members]
    lent = expansion.expand(DESIRED, tuple(members))
    machines, held = lent.desired.machines, lent.held
    assert machines["web"] is DESIRED.machines["web"]
    assert machines["q-6"] is DESIRED.machines["q-6"]
    for member in members:
        size = DESIRED.machine_pools[member.pool].spec.size.max if member.pool != "gone" else 0
        if member.state is MemberState.LEASED:
            assert member.vm in machines or member.vm in held, "it would be deleted"
            stale = lent.stale(member)
            assert not stale or member.vm in held, "it would be changed"
        if member.state is MemberState.RETIRING:
            assert machines.get(member.vm) is DESIRED.machines.get(member.vm)
            assert member.vm not in held
        assert (member.vm in lent.asked) == (member.state is MemberState.RETIRING and member.slot <= size)
    for name in machines.keys() - DESIRED.machines.keys():
        made, slot = machines[name], pool_slot(name)
        assert slot is not None
        assert made.metadata.labels == {"app": "x", POOL_LABEL: slot[0]}
        assert made.spec.deletion_policy == "Delete"
        assert made.spec.cloud_init is not None
        assert made.spec.cloud_init.instance_id == f"{name}.{next(m.life for m in members if m.vm == name)}"
        if slot[0] == "p" and slot[1] <= 4:
            assert made.spec.interfaces[0].address == f"10.0.0.{10 + slot[1]}"


def _template(expansion: Expansion, member: Member) -> str:
    """What the member would be made from now, or nothing."""
    if not member.template or member.pool == "gone":
        return ""
    template = expansion.expand(DESIRED, ()).made_from[member.pool]
    return f"{template}@10.0.0.{10 + member.slot}" if member.pool == "p" and member.slot <= 4 else template


@settings(max_examples=60, deadline=None)
@given(MEMBERS)
def test_what_did_not_change_is_the_same_object(members: list[Member]) -> None:
    expansion = Expansion()
    first = expansion.expand(DESIRED, tuple(members))
    again = expansion.expand(DESIRED, tuple(members))
    assert again.desired is first.desired
    if members and members[0].state not in (MemberState.RETIRING, MemberState.LEASED):
        lent = Member(
            *(members[0].pool, members[0].slot, MemberState.LEASED, 1.0, members[0].life),
            template=members[0].template,
        )
        after = expansion.expand(DESIRED, (lent, *members[1:]))
        size = {"p": 4, "q": 2}.get(lent.pool, 0)
        assert lent.slot > size or after.desired is first.desired
