from __future__ import annotations

import threading

from reconciler.service.wake import Waker


def test_nothing_happens_for_a_period() -> None:
    assert Waker().wait(0.01) == ()


def test_what_happened_before_the_wait_is_not_lost() -> None:
    waker = Waker()
    waker.wake("web-1 stopped")
    waker.wake("desired state changed")
    waker.wake("web-1 stopped")
    assert waker.wait(3600) == ("web-1 stopped", "desired state changed")
    assert waker.wait(0) == ()


def test_events_of_other_threads_are_gathered_into_one_wait() -> None:
    waker = Waker()

    def flood(name: str) -> None:
        for number in range(100):
            waker.wake(f"{name}-{number % 5}")

    threads = [threading.Thread(target=flood, args=(f"host-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    reasons = waker.wait(3600, settle=0.3)
    for thread in threads:
        thread.join()
    gathered = set(reasons) | set(waker.wait(0))
    assert gathered == {f"host-{host}-{number}" for host in range(4) for number in range(5)}


def test_a_stream_of_events_cannot_keep_the_loop_asleep() -> None:
    waker = Waker()
    end = threading.Event()

    def stream() -> None:
        while not end.wait(0.005):
            waker.wake("again")

    thread = threading.Thread(target=stream)
    thread.start()
    try:
        assert waker.wait(3600, settle=0.05) == ("again",)
    finally:
        end.set()
        thread.join()


def test_what_is_urgent_does_not_settle() -> None:
    waker = Waker()
    waker.wake("event")
    threading.Timer(0.05, waker.wake, ("SIGTERM",), {"urgent": True}).start()
    assert waker.wait(3600, settle=3600) == ("event", "SIGTERM")


def test_a_flood_is_bounded_and_an_urgent_reason_gets_through() -> None:
    waker = Waker()
    for number in range(30_000):
        waker.wake(str(number))
    waker.wake("SIGTERM", urgent=True)
    reasons = waker.wait(3600)
    assert len(reasons) == 10_001
    assert reasons[-1] == "SIGTERM"
