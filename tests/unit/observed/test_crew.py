import threading

import pytest

from reconciler.observed.crew import Crew, call_within


def test_stuck_members_are_replaced_and_nobody_is_hired_without_need():
    crew = Crew(2, patience=0.01)
    hold, done = threading.Event(), threading.Semaphore(0)
    crew.submit([hold.wait] * 5)
    crew.submit([done.release] * 3)
    for _ in range(200):
        crew.relieve()
        if done.acquire(timeout=0.02):
            break
    assert done.acquire(timeout=5)
    assert done.acquire(timeout=5)
    assert crew.members <= 5 + 2
    hold.set()
    crew.submit([done.release])
    assert done.acquire(timeout=5)


def test_a_crew_shrinks_to_its_size_again():
    crew = Crew(1, patience=0.0)
    hold = threading.Event()
    crew.submit([hold.wait] * 4)
    for _ in range(1000):
        crew.relieve()
        if crew.members == 4:
            break
    hold.set()
    for _ in range(500):
        if crew.members == 1:
            break
        threading.Event().wait(0.01)
    assert crew.members == 1
    crew.dismiss()


def test_call_within():
    assert call_within(5, lambda: 7) == 7
    with pytest.raises(TimeoutError):
        call_within(0.01, threading.Event().wait)
    with pytest.raises(ZeroDivisionError):
        call_within(5, lambda: 1 / 0)
