"""Does a saved plan still fit the world?"""

from __future__ import annotations

from reconciler.model.plan import Plan


def difference(saved: Plan, now: Plan) -> str:
    """What differs between two plans, in words; empty when their actions are the same."""
    if saved.version != now.version:
        return f"it has format version {saved.version}, this program makes {now.version}"
    before = {action.id: action for action in saved.actions}
    after = {action.id: action for action in now.actions}
    gone = sorted(before.keys() - after.keys())
    new = sorted(after.keys() - before.keys())
    moved = sorted(key for key in before.keys() & after.keys() if before[key] != after[key])
    parts = []
    for word, ids in (("no longer needed", gone), ("now needed too", new), ("changed", moved)):
        if ids:
            more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
            parts.append(f"{word}: {', '.join(ids[:3])}{more}")
    return "; ".join(parts)
