"""Claims on a store: one process wins, the dead are taken over from, nothing is left behind."""

from __future__ import annotations

import multiprocessing
import socket
import subprocess
import time
from collections.abc import Callable

import pytest

from leukobench.schema.delivery import PlanEntry
from leukobench.settings import Settings
from leukobench.tracking.claims import NAME, Claims
from leukobench.tracking.connection import Store
from leukobench.tracking.sweeps import add_to_plan, find_sweep, open_sweep, read_plan


@pytest.fixture
def store(local: Settings) -> Store:
    return Store(local)


def left(store: Store) -> int:
    return len(store.client.search_registered_models(f"name LIKE '{NAME}%'"))


@pytest.fixture
def elsewhere(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Claims]:
    """Makes claims of a process on another machine."""

    def make(**options: float) -> Claims:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "gethostname", lambda: "another machine")
            return Claims(store, **options)  # type: ignore[arg-type]

    return make


def test_one_holds_a_claim_until_it_gives_it_up(
    store: Store, elsewhere: Callable[..., Claims]
) -> None:
    mine, yours = Claims(store), elsewhere()
    assert mine.take("a")
    assert mine.take("a"), "what is held is held"
    assert not yours.take("a")
    assert yours.take("b")
    mine.release("a")
    assert yours.take("a")
    for key in "ab":
        yours.release(key)
    assert left(store) == 0


def test_a_claim_that_is_renewed_is_kept_and_one_that_is_not_is_taken_over(
    store: Store, elsewhere: Callable[..., Claims]
) -> None:
    alive, dead = elsewhere(beat=0.05), elsewhere(beat=1e6)
    mine = Claims(store, stale=0.4)
    assert alive.take("alive")
    assert dead.take("dead")
    began, won = time.monotonic(), set()
    while time.monotonic() - began < 1.5:
        won |= {key for key in ("alive", "dead") if mine.take(key)}
        time.sleep(0.05)
    assert won == {"dead"}


def test_a_process_of_this_machine_that_ended_is_taken_over_from_at_once(store: Store) -> None:
    process = subprocess.Popen(["sleep", "60"])
    other, mine = Claims(store, pid=process.pid), Claims(store)
    assert other.take("a")
    assert other.take("b")
    assert not mine.take("a")
    process.kill()
    process.wait()
    assert mine.take("a")
    mine.tidy()
    assert left(store) == 1, "what nobody asks for is deleted; what is held stays"
    mine.release("a")
    assert left(store) == 0


def _race(settings: Settings, barrier: object, wins: object) -> None:
    store = Store(settings)
    for i in range(10):
        barrier.wait()  # type: ignore[attr-defined]
        if store.claims.take(f"claim {i}"):
            wins.put(i)  # type: ignore[attr-defined]
    sweep = open_sweep(store, "together")
    add_to_plan(store, sweep, [PlanEntry(str(time.monotonic_ns()), "t")])
    barrier.wait()  # type: ignore[attr-defined]


@pytest.mark.slow
def test_of_four_processes_one_wins_each_claim_and_they_open_one_sweep(local: Settings) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, wins = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_race, args=(local, barrier, wins)) for _ in range(4)]
    for process in processes:
        process.start()
    won = sorted(wins.get(timeout=120) for _ in range(10))
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert won == list(range(10))
    assert wins.empty()
    store = Store(local)
    sweep = find_sweep(store, "together")
    assert sweep is not None
    assert len(list(store.search(sweep.experiment_id, "tags.`leukobench.kind` = 'sweep'"))) == 1
    assert len(read_plan(store, sweep).jobs) == 4
