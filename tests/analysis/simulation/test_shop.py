"""The simulated shop: reproducible, and its stated truth is what its outcomes converge to."""

from __future__ import annotations

import numpy as np
import pytest

from switchpoint.analysis.simulation import shop as simulate
from switchpoint.analysis.simulation.shop import CANDIDATES, FEATURES, SEGMENTS, SHOWN, World
from switchpoint.experiment.definition.types import DAY_MS

DAYS = 14


def _world(seed: int, shoppers: int = 2_000) -> World:
    for_shop, _, for_traffic = simulate.generators(seed)
    return simulate.build_world(simulate.open_shop(for_shop), shoppers, DAYS, for_traffic)


def by_appeal(rows: simulate.Floats) -> simulate.Floats:
    return rows[:, FEATURES.index("appeal")]


def by_chance(rows: simulate.Floats) -> simulate.Floats:
    return np.sin(1e4 * rows.sum(axis=1))


def test_the_same_seed_draws_the_same_world_and_another_seed_another() -> None:
    one, same, other = _world(1), _world(1), _world(2)
    assert np.array_equal(one.features, same.features)
    assert np.array_equal(one.visits.click_draw, same.visits.click_draw)
    assert not np.array_equal(one.click, other.click)


def test_visits_are_in_time_order_within_the_days_and_a_units_visits_share_a_day() -> None:
    world = _world(3)
    at, unit = world.visits.at, world.visits.unit
    assert (np.diff(at) >= 0).all()
    assert at.min() >= 0
    assert at.max() < DAYS * DAY_MS
    days: dict[int, int] = {}
    for who, day in zip(unit.tolist(), (at // DAY_MS).tolist(), strict=True):
        assert days.setdefault(who, day) == day


def test_every_unit_comes_and_some_come_twice() -> None:
    world = _world(4)
    visits = np.bincount(world.visits.unit, minlength=len(world.shoppers))
    assert set(np.unique(visits)) == {1, 2}
    assert 0.3 < (visits == 2).mean() < 0.4


def test_candidates_of_a_visit_are_different_items() -> None:
    assert all(len(set(row)) == CANDIDATES for row in _world(5).visits.items.tolist())


def test_the_outcome_of_a_visit_is_a_function_of_what_was_shown() -> None:
    world, scores = _world(6), np.arange(CANDIDATES, dtype=float)
    first, again = world.outcome(7, scores), world.outcome(7, scores)
    assert first == again
    assert first.shown == tuple(range(CANDIDATES - 1, CANDIDATES - 1 - SHOWN, -1))
    assert set(first.bought) <= set(first.clicked) <= set(first.shown)
    assert len(first.cents) == len(first.bought)


def test_ties_are_shown_in_the_order_of_the_candidates() -> None:
    assert simulate.shown_by(np.zeros(CANDIDATES)).tolist() == list(range(SHOWN))


@pytest.mark.parametrize("score", [by_appeal, by_chance])
def test_observed_clicks_agree_with_the_stated_truth(score: simulate.Score) -> None:
    """The outcome of every visit, drawn; binomial tolerance of five standard errors."""
    world = _world(7, 8_000)
    scores = score(world.features.reshape(-1, len(FEATURES))).reshape(-1, CANDIDATES)
    clicks = np.array([len(world.outcome(v, scores[v]).clicked) for v in range(len(world.visits))])
    segment = world.shoppers.segment()[world.visits.unit]
    truth = simulate.true_rates(world, score)
    for key in SEGMENTS:
        shown = SHOWN * (segment == key).sum()
        rate = truth[key].ctr
        tolerance = 5 * np.sqrt(rate * (1 - rate) / shown)
        assert clicks[segment == key].sum() / shown == pytest.approx(rate, abs=tolerance)


def test_a_ranker_by_appeal_truly_beats_one_by_chance_in_every_segment() -> None:
    world = _world(8)
    better, worse = simulate.true_rates(world, by_appeal), simulate.true_rates(world, by_chance)
    assert all(better[key].ctr > 1.1 * worse[key].ctr for key in SEGMENTS)


def test_the_training_log_has_the_size_asked_for_and_both_outcomes() -> None:
    for_shop, for_log, _ = simulate.generators(9)
    log = simulate.training_log(simulate.open_shop(for_shop), 5_000, for_log)
    assert log.rows.shape == (5_000, len(FEATURES))
    assert set(np.unique(log.clicked)) == {0, 1}
