"""What a tick writes down: whereabouts and intents before a push; results and conditions after it.

Everything here goes one way, from what was seen to the store, and writes only what changed: a tick with
nothing to do leaves the database alone.
"""

from reconciler.bookkeeping.deletions import asked_for, note_deleted, note_kept
from reconciler.bookkeeping.guests import Looks, look_at_guests, note_guests
from reconciler.bookkeeping.hosts import dead_hosts, living_records, never_seen, note_hosts
from reconciler.bookkeeping.ids import note_living
from reconciler.bookkeeping.images import NOTED_EVERY, note_images, stale_images
from reconciler.bookkeeping.lent import UNKNOWN_HOLDER, claim, note_found, pool_conditions_of
from reconciler.bookkeeping.machines import note_conditions, note_whereabouts, whereabouts
from reconciler.bookkeeping.results import events_of, note_results, retries_of, wish
from reconciler.bookkeeping.runs import begin, finish, interrupted
from reconciler.bookkeeping.statuses import StatusBook
from reconciler.bookkeeping.volumes import living_volumes, promise_volumes, seen_volumes, with_warnings

__all__ = [
    "NOTED_EVERY",
    "UNKNOWN_HOLDER",
    "Looks",
    "StatusBook",
    "asked_for",
    "begin",
    "claim",
    "dead_hosts",
    "events_of",
    "finish",
    "interrupted",
    "living_records",
    "living_volumes",
    "look_at_guests",
    "never_seen",
    "note_conditions",
    "note_deleted",
    "note_found",
    "note_guests",
    "note_hosts",
    "note_images",
    "note_kept",
    "note_living",
    "note_results",
    "note_whereabouts",
    "pool_conditions_of",
    "promise_volumes",
    "retries_of",
    "seen_volumes",
    "stale_images",
    "whereabouts",
    "wish",
    "with_warnings",
]
