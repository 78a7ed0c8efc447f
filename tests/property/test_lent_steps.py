"""Steps of pools: whatever happens, no machine that is lent is touched, and none is made too many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from hypothesis import given, note, settings
from hypothesis import strategies as st

from reconciler.model.pool import Member, MemberState, VirtualMachinePool
from reconciler.model.status import ConditionStatus
from reconciler.planner.lent import Seen, Steps, Trace, Wish, steps
from reconciler.planner.lent.life import CLEANUP, CREATION, FAILED, LEFT, UNREADY

WAYS = ("Keep", "Revert", "Recreate")


def pool(size: int, warm: int, way: str, reclaim: int | None) -> VirtualMachinePool:
    return VirtualMachinePool.model_validate(
        {
            "metadata": {"name": "p"},
            "spec": {
                "size": {"max": size, "warm": min(warm, size)},
                "onCheckin": way,
                "reclaimAfter": reclaim,
                "template": {"spec": {"cpus": 1, "memory": "64Mi"}},
            },
        }
    )


@dataclass
class World:
    """Members on record and what there is of each, moved by steps, by holders and by fate."""

    pool: VirtualMachinePool | None
    template: str = "a"
    now: float = 0.0
    members: dict[str, Member] = field(default_factory=dict)
    traces: dict[str, Trace] = field(default_factory=dict)
    ready: dict[str, bool] = field(default_factory=dict)
    silent: bool = False
    waiting: int = 0
    may_add: bool = True
    lives: set[tuple[str, int]] = field(default_factory=set)

    def seen(self) -> dict[str, Seen]:
        """One look."""
        found = {}
        for vm in self.members:
            trace = self.traces.get(vm, Trace.NOTHING)
            if self.silent and trace is not Trace.NOTHING:
                found[vm] = Seen(Trace.HIDDEN, ConditionStatus.UNKNOWN, "HostUnknown", "?")
            elif trace is Trace.DOMAIN and self.ready.get(vm):
                found[vm] = Seen(trace, ConditionStatus.TRUE, "Running", "")
            else:
                found[vm] = Seen(trace, ConditionStatus.FALSE, "Crashed", "", unready_for=UNREADY + 1)
        return found

    def plan(self) -> Steps:
        wish = Wish(self.pool, self.template, self.waiting, self.may_add, lambda vm: vm in self.traces)
        return steps(wish, tuple(self.members.values()), self.seen(), self.now)

    def take(self, done: Steps, upto: int | None = None) -> None:
        """Carry out a look's steps, or as many of them as there was time for; each only if it still holds."""
        work = [*(("clear", vm) for vm in done.clear), *(("revert", vm) for vm in done.revert)]
        work += [*(("step", one) for one in done.steps), *(("add", one) for one in done.add)]
        work += [("free", vm) for vm in done.free]
        for kind, what in work[:upto]:
            getattr(self, f"_{kind}")(what)

    def _clear(self, vm: str) -> None:
        assert self.members[vm].state is not MemberState.LEASED
        assert self.traces.get(vm) is not Trace.DOMAIN
        self.traces.pop(vm, None)

    def _revert(self, vm: str) -> None:
        member = self.members[vm]
        assert member.state is MemberState.CLEANING
        self.members[vm] = replace(member, state=MemberState.CREATING, since=self.now, life=member.life + 1)

    def _step(self, step: object) -> None:
        assert MemberState.LEASED not in (step.before, step.after)
        member = self.members[step.vm]
        if member.state is not step.before:
            return
        if step.after is MemberState.AVAILABLE:
            assert self.traces[step.vm] is Trace.DOMAIN
            assert self.ready[step.vm]
            if step.before is MemberState.CLEANING:
                assert self.pool.spec.on_checkin == "Keep"
        if step.life is not None:
            assert step.life > member.life
            assert self.traces.get(step.vm, Trace.NOTHING) is Trace.NOTHING, (
                "an old life is taken for a new one"
            )
        self.members[step.vm] = replace(
            member,
            state=step.after,
            since=self.now,
            message=step.message,
            life=step.life or member.life,
            template=member.template if step.template is None else step.template,
        )

    def _add(self, member: Member) -> None:
        assert self.may_add
        assert member.vm not in self.traces
        assert 1 <= member.slot <= self.pool.spec.size.max
        assert len(self.members) < self.pool.spec.size.max
        self.members[member.vm] = member

    def _free(self, vm: str) -> None:
        if self.members[vm].state is MemberState.RETIRING:
            del self.members[vm]

    def loop(self) -> None:
        """What the loop does: makes what shall be, and deletes what shall not."""
        for vm, member in list(self.members.items()):
            surplus = self.pool is None or member.slot > self.pool.spec.size.max
            goes = member.state is MemberState.RETIRING or (
                surplus and member.state is not MemberState.LEASED
            )
            if self.silent and vm in self.traces:
                continue
            if goes:
                if self.traces.get(vm) is Trace.DOMAIN:
                    del self.traces[vm]
                    self.members[vm] = replace(member, state=MemberState.RETIRING)
            elif member.state is not MemberState.LEASED:
                self.traces[vm], self.ready[vm] = Trace.DOMAIN, True


class Story(World):
    """A world and what may happen to it: a method for each fate, which makes what it can of a number."""

    def __init__(self, shapes: list[VirtualMachinePool]) -> None:
        super().__init__(shapes[0])
        self.shapes = shapes

    def one(self, number: int) -> Member | None:
        """Some member."""
        names = sorted(self.members)
        return self.members[names[number % len(names)]] if names else None

    def look(self, _: int) -> None:
        self.take(self.plan())

    def cut(self, number: int) -> None:
        self.take(self.plan(), number)

    def race(self, _: int) -> None:
        planned = self.plan()
        self.lend(0)
        self.take(planned)

    def lend(self, _: int) -> None:
        free = [m for m in self.members.values() if m.state is MemberState.AVAILABLE]
        if free:
            first = min(free, key=lambda member: member.since)
            self.members[first.vm] = replace(first, state=MemberState.LEASED, since=self.now)

    def give_back(self, number: int) -> None:
        one = self.one(number)
        if one is not None and one.state is MemberState.LEASED:
            self.members[one.vm] = replace(one, state=MemberState.CLEANING, since=self.now)

    def later(self, number: int) -> None:
        self.now += (1.0, UNREADY, LEFT + 1, FAILED + 1, CLEANUP + 1, CREATION + 1, 10_000.0)[number]

    def silence(self, _: int) -> None:
        self.silent = not self.silent

    def crash(self, number: int) -> None:
        one = self.one(number)
        if one is not None:
            self.ready[one.vm] = False

    def undefine(self, number: int) -> None:
        one = self.one(number)
        if one is not None and one.vm in self.traces:
            self.traces[one.vm] = Trace.DISKS

    def retemplate(self, number: int) -> None:
        self.template = "abc"[number % 3]

    def reshape(self, number: int) -> None:
        self.pool = self.shapes[number % len(self.shapes)]

    def vanish(self, _: int) -> None:
        self.pool = None if self.pool is not None else self.shapes[0]

    def queue(self, number: int) -> None:
        self.waiting = number

    def turn(self, count: int) -> None:
        """Some turns in which nothing breaks."""
        for _ in range(count):
            self.loop()
            self.take(self.plan())


FATES = (
    *("look", "cut", "race", "lend", "lend", "give_back", "later", "silence", "crash", "undefine"),
    *("retemplate", "reshape", "vanish", "queue"),
)
STORIES = st.lists(
    st.tuples(st.sampled_from(FATES), st.integers(0, 6), st.integers(0, 3)), min_size=4, max_size=25
)


def play(world: Story, story: list[tuple[str, int, int]]) -> Iterator[str]:
    """Each thing that happens, after it did."""
    for what, number, turns in story:
        getattr(world, what)(number)
        yield what
        world.turn(turns)
        yield "turn"


SHAPES = st.builds(
    pool, st.integers(1, 5), st.integers(0, 3), st.sampled_from(WAYS), st.sampled_from([None, 60])
)


@settings(max_examples=150, deadline=None)
@given(st.lists(SHAPES, min_size=1, max_size=3), STORIES)
def test_whatever_happens(shapes: list[VirtualMachinePool], story: list[tuple[str, int, int]]) -> None:
    note(f"{story}, of {[(one.spec.size, one.spec.on_checkin, one.spec.reclaim_after) for one in shapes]}")
    world = Story(shapes)
    lent: dict[str, Member] = {}
    traces: dict[str, Trace | None] = {}
    for what in play(world, story):
        if what != "give_back":
            assert all(world.members[vm] == member for vm, member in lent.items())
        assert what == "undefine" or {vm: world.traces.get(vm) for vm in lent} == traces
        assert len({member.slot for member in world.members.values()}) == len(world.members)
        lent = {vm: m for vm, m in world.members.items() if m.state is MemberState.LEASED}
        traces = {vm: world.traces.get(vm) for vm in lent}


@settings(max_examples=100, deadline=None)
@given(st.lists(SHAPES, min_size=1, max_size=3), STORIES)
def test_it_comes_to_rest(shapes: list[VirtualMachinePool], story: list[tuple[str, int, int]]) -> None:
    """Once nothing breaks any more, enough machines are ready, or all that may be; and nothing moves."""
    world = Story(shapes)
    note(f"{story}, of {[(one.spec.size, one.spec.on_checkin, one.spec.reclaim_after) for one in shapes]}")
    list(play(world, story))
    world.pool, world.silent, world.waiting = world.pool or shapes[0], False, 0
    for _ in range(60):
        world.now += 20.0
        world.loop()
        for vm in world.traces:
            world.ready[vm] = True
        world.take(world.plan())
    assert world.plan() == Steps()
    size = world.pool.spec.size
    states = [member.state for member in world.members.values()]
    assert set(states) <= {MemberState.AVAILABLE, MemberState.LEASED}
    free = states.count(MemberState.AVAILABLE)
    assert free >= size.warm or len(states) >= size.max
    stale = [m for m in world.members.values() if m.template != world.template]
    assert all(member.state is MemberState.LEASED for member in stale)
