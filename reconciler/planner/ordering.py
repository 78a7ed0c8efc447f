"""An order that respects every `after`, as close as possible to the order given."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence

from reconciler.model.plan import Action


def ordered(actions: Sequence[Action]) -> tuple[Action, ...]:
    """The actions, each after all that it depends on; ties keep their place.

    A dependency on an action that is not there counts as fulfilled.

    Raises:
        ValueError: They wait for each other in a circle.
    """
    place = {action.id: index for index, action in enumerate(actions)}
    waiting: dict[int, int] = {}
    followers: dict[int, list[int]] = defaultdict(list)
    for index, action in enumerate(actions):
        before = {place[name] for name in action.after if name in place}
        waiting[index] = len(before)
        for earlier in before:
            followers[earlier].append(index)
    free = [index for index, count in waiting.items() if count == 0]
    heapq.heapify(free)
    result = []
    while free:
        index = heapq.heappop(free)
        result.append(actions[index])
        for follower in followers[index]:
            waiting[follower] -= 1
            if waiting[follower] == 0:
                heapq.heappush(free, follower)
    if len(result) != len(actions):
        stuck = sorted(actions[index].id for index, count in waiting.items() if count)
        raise ValueError(f"actions wait for each other: {', '.join(stuck)}")
    return tuple(result)
