"""Work of many threads, done by one of them at a time in one go: a commit's cost is shared by all.

The first who comes leads: they do what was handed in so far.  Whoever hands something in meanwhile waits; the
first of those leads next.  So nobody waits for a timer, and a lone caller is as fast as without it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

Wish = TypeVar("Wish")
Answer = TypeVar("Answer")

MOST = 256
"""Wishes that are done in one go: a transaction must not keep other processes out for long."""


class _Slot(Generic[Wish, Answer]):
    """One caller's wish, and what became of it."""

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.turn = threading.Event()
        self.answers: list[Answer] = []
        self.error: BaseException | None = None

    @property
    def done(self) -> bool:
        return bool(self.answers) or self.error is not None

    def answer(self) -> Answer:
        if self.error is not None:
            raise self.error
        return self.answers[0]


class Gather(Generic[Wish, Answer]):
    """Hands wishes of many threads to `work` together.

    Args:
        work: Does them all or none, and answers each in order.  What it raises, each caller gets.
        turn: Entered before it is decided which wishes are done together, and left before they are answered:
            where other processes take turns, what comes while it is waited for ours goes along.
        most: At most so many in one go.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Wish]], Sequence[Answer]],
        turn: Callable[[], AbstractContextManager[object]] = nullcontext,
        most: int = MOST,
    ) -> None:
        self._work = work
        self._turn = turn
        self._most = most
        self._guard = threading.Lock()
        self._waiting: list[_Slot[Wish, Answer]] = []
        self._led = False

    def __call__(self, wish: Wish) -> Answer:
        """Have the wish done, and its answer. It is done when this returns, with whatever came together."""
        slot: _Slot[Wish, Answer] = _Slot(wish)
        with self._guard:
            self._waiting.append(slot)
            leads = not self._led
            self._led = True
        if not leads:
            slot.turn.wait()
        if not slot.done:
            self._lead()
        return slot.answer()

    def _lead(self) -> None:
        batch: list[_Slot[Wish, Answer]] = []
        try:
            with self._turn():
                batch = self._take()
                answers = self._work([slot.wish for slot in batch])
            for slot, answer in zip(batch, answers, strict=True):
                slot.answers.append(answer)
        except BaseException as error:
            # If our turn never came, nobody need wait for the next one as long again.
            batch = batch or self._take()
            for slot in batch:
                slot.error = error
            raise
        finally:
            self._hand_over(batch)

    def _take(self) -> list[_Slot[Wish, Answer]]:
        """Those who came so far, the one who leads among them."""
        with self._guard:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        return batch

    def _hand_over(self, batch: Sequence[_Slot[Wish, Answer]]) -> None:
        with self._guard:
            heir = self._waiting[0] if self._waiting else None
            self._led = heir is not None
        if heir is not None:
            heir.turn.set()
        for slot in batch:
            slot.turn.set()
