"""Suggestions that are made ahead: who may make them, and when they are out of date."""

from __future__ import annotations

from typing import Any

import pytest

from besom.errors import NotFoundError
from besom.records import RunState, Sweep, Waiting
from besom.store.base import Store
from besom.testing.stores.ground import Ground, Time, batch, claim, claims_nothing, finish, point, sweep_with


class ProposalContract(Ground):
    """The proposer's lease, and a buffer whose suggestions age."""

    def test_one_at_a_time_holds_the_proposers_lease(self, store: Store, time: Time) -> None:
        sweep = sweep_with(store, 0)
        assert store.lease_proposer(sweep.id, "a", lease_seconds=10) == 1
        assert store.lease_proposer(sweep.id, "b", lease_seconds=10) is None
        time.pass_(9)
        assert store.lease_proposer(sweep.id, "a", lease_seconds=10) == 1
        time.pass_(9)
        assert store.lease_proposer(sweep.id, "b", lease_seconds=10) is None
        time.pass_(2)
        assert store.lease_proposer(sweep.id, "b", lease_seconds=10) == 2
        assert store.lease_proposer(sweep.id, "a", lease_seconds=10) is None

    def test_a_proposer_whose_lease_ran_out_unnoticed_keeps_its_term(self, store: Store, time: Time) -> None:
        sweep = sweep_with(store, 0)
        store.lease_proposer(sweep.id, "a", lease_seconds=10)
        time.pass_(99)
        assert store.lease_proposer(sweep.id, "a", lease_seconds=10) == 1

    def test_only_its_holder_gives_the_proposers_lease_up(self, store: Store) -> None:
        sweep = sweep_with(store, 0)
        assert store.lease_proposer(sweep.id, "a", lease_seconds=0) is None
        store.lease_proposer(sweep.id, "a", lease_seconds=10)
        assert store.lease_proposer(sweep.id, "b", lease_seconds=0) is None
        assert store.lease_proposer(sweep.id, "b", lease_seconds=10) is None
        assert store.lease_proposer(sweep.id, "a", lease_seconds=0) == 1
        assert store.lease_proposer(sweep.id, "b", lease_seconds=10) == 2

    def test_every_sweep_has_its_own_proposer(self, store: Store) -> None:
        first, second = sweep_with(store, 0), sweep_with(store, 0)
        assert store.lease_proposer(first.id, "a", lease_seconds=10) == 1
        assert store.lease_proposer(second.id, "b", lease_seconds=10) == 1
        with pytest.raises(NotFoundError, match="nothing"):
            store.lease_proposer("nothing", "a", lease_seconds=10)

    def test_the_proposers_lease_survives_jumps_of_the_wall_clock(self, store: Store, time: Time) -> None:
        sweep = sweep_with(store, 0)
        store.lease_proposer(sweep.id, "a", lease_seconds=10)
        for jump in (1e9, -2e9):
            time.wall_now += jump
            assert store.lease_proposer(sweep.id, "b", lease_seconds=10) is None

    def test_an_offer_of_an_earlier_term_does_nothing(self, store: Store, time: Time) -> None:
        sweep = sweep_with(store, 0, exhausted=False)
        assert store.offer(sweep.id, batch([0]), version=1, cursor=0, term=1) is None
        old = store.lease_proposer(sweep.id, "a", lease_seconds=10)
        time.pass_(11)
        new = store.lease_proposer(sweep.id, "b", lease_seconds=10)
        assert store.offer(sweep.id, batch([0]), version=1, cursor=0, term=old) is None
        assert store.get_sweep(sweep.id).cursor == 0
        assert store.buffer(sweep.id) == []
        assert store.offer(sweep.id, batch([0]), version=1, cursor=0, term=new) == 1

    def test_a_claim_drops_suggestions_that_are_stale(self, store: Store) -> None:
        sweep = sweep_with(store, 2, exhausted=False)
        offer(store, sweep, [10], stale_at=1)
        offer(store, sweep, [11], stale_at=2)
        offer(store, sweep, [12], stale_at=1)
        finish(store, claim(store, sweep), state=RunState.FAILED)
        assert claim(store, sweep).key == "k1"
        assert claim(store, sweep).key == "k11"
        assert claims_nothing(store, sweep)
        assert keys(store, sweep) == []

    def test_nothing_is_stale_in_a_sweep_that_is_exhausted(self, store: Store) -> None:
        sweep = sweep_with(store, 1, exhausted=False)
        finish(store, claim(store, sweep))
        offer(store, sweep, [10], stale_at=1, exhausted=True)
        assert claim(store, sweep).key == "k10"

    def test_an_offer_in_place_of_a_suggestion_takes_its_place(self, store: Store) -> None:
        sweep = sweep_with(store, 0, exhausted=False)
        offer(store, sweep, [10, 11], stale_at=5)
        assert offer(store, sweep, [12], stale_at=6, instead_of="k11") == 1
        assert keys(store, sweep) == ["k10", "k12"]
        assert offer(store, sweep, [10], stale_at=7, instead_of="k10") == 1
        assert offer(store, sweep, [13, 14], stale_at=7, instead_of="k10") == 2
        assert keys(store, sweep) == ["k13", "k12", "k14"]

    def test_an_offer_in_place_of_what_was_claimed_does_nothing(self, store: Store) -> None:
        sweep = sweep_with(store, 0, exhausted=False)
        offer(store, sweep, [10], stale_at=5)
        claim(store, sweep)
        before = store.get_sweep(sweep.id).cursor
        assert offer(store, sweep, [11], stale_at=5, instead_of="k10") is None
        assert keys(store, sweep) == []
        assert store.get_sweep(sweep.id).cursor == before

    def test_extending_a_sweep_drops_what_was_made_ahead(self, store: Store) -> None:
        sweep = sweep_with(store, 0, exhausted=False)
        offer(store, sweep, [10], stale_at=5)
        amended = store.amend_sweep(
            sweep.id,
            version=1,
            config={"method": "grid"},
            run_cap=None,
            max_attempts=None,
            expected_runs=None,
            text=None,
        )
        assert store.buffer(sweep.id) == []
        assert store.offer(sweep.id, batch([11]), version=1, cursor=amended.cursor, stale_at=5) is None
        assert claims_nothing(store, sweep)

    def test_the_buffer_gives_points_as_they_were_offered(self, store: Store) -> None:
        sweep = sweep_with(store, 2, exhausted=False)
        offer(store, sweep, [2], stale_at=7)
        aging, first, second = point(2), point(0), point(1)
        assert store.buffer(sweep.id) == [
            Waiting(first.key, first.params, None),
            Waiting(second.key, second.params, None),
            Waiting(aging.key, aging.params, 7),
        ]
        assert store.buffer("nothing") == []


def offer(
    store: Store, sweep: Sweep, numbers: list[int], *, exhausted: bool = False, **terms: Any
) -> int | None:
    """Offer points at the sweep's cursor, moving it by one."""
    cursor = store.get_sweep(sweep.id).cursor
    offered = batch(numbers, cursor=cursor + 1, exhausted=exhausted)
    return store.offer(sweep.id, offered, version=1, cursor=cursor, **terms)


def keys(store: Store, sweep: Sweep) -> list[str]:
    """Give the keys that wait, in order."""
    return [suggestion.key for suggestion in store.buffer(sweep.id)]
