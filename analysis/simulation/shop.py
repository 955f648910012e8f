"""Seeded worlds with known truth: a small web shop whose click and purchase probabilities are all known.

A visit offers `CANDIDATES` items; a ranker scores them and the best `SHOWN` are shown. Whether an item is
clicked depends on its appeal, its price and how well its style fits the shopper's taste, so a ranker that
knows only the items is honestly weaker than one that matches tastes with styles. All randomness is drawn
when the visits are drawn: outcomes are then a function of what was shown, so a visit ends the same way
whichever thread, process or store handled it, and two rankers meet common random numbers.

An A/A world is the same shop with one ranker in both variants: its true lift is exactly zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from switchpoint.experiment.definition.types import DAY_MS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Score = Callable[[Floats], Floats]
"""A ranker: feature rows of shape (rows, len(FEATURES)) to one score per row; higher is shown first."""

FEATURES = ("appeal", "price", "style_x", "style_y", "taste_x", "taste_y", "returning", "mobile")
ITEMS, CANDIDATES, SHOWN = 60, 16, 6
COUNTRIES = ("US", "CA", "DE", "FR", "GB")
COUNTRY_SHARE = (0.48, 0.28, 0.10, 0.07, 0.07)
SEGMENTS = ("us", "ca", "rest")

# Log-odds of a click. With these a ranker by appeal reaches a CTR near 10 %, one by appeal and taste
# near 13 %: large enough that two weeks of the demo's traffic decide, small enough to be plausible.
_BASE, _APPEAL, _PRICE, _FIT, _RETURNING, _MOBILE = -3.1, 0.5, -0.30, 0.8, 0.25, -0.15
_COUNTRY_SHIFT = {"US": 0.0, "CA": 0.35, "DE": -0.25, "FR": -0.15, "GB": 0.05}
_BUY_BASE, _BUY_FIT, _BUY_PRICE = -1.35, 0.30, -0.20
_TASTE_NOISE = 0.4  # the history that features come from shows tastes only roughly


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """The catalogue. `appeal` and `style` are what features show; `quirk` is what no feature shows."""

    appeal: Floats  # (items,)
    quirk: Floats  # (items,)
    style: Floats  # (items, 2), unit length
    cents: Ints  # (items,) price in minor units


@dataclass(frozen=True, slots=True, kw_only=True)
class Shoppers:
    """Units, one row each; `seen_taste` is the noisy taste that features are made of."""

    country: NDArray[np.str_]  # (n,)
    returning: NDArray[np.bool_]  # (n,)
    mobile: NDArray[np.bool_]  # (n,)
    taste: Floats  # (n, 2)
    seen_taste: Floats  # (n, 2)

    def __len__(self) -> int:
        return len(self.country)

    def segment(self) -> NDArray[np.str_]:
        """The demo's segment of each unit: us, ca or rest."""
        return np.select([self.country == "US", self.country == "CA"], ["us", "ca"], "rest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visits:
    """Visits in time order; `at` counts milliseconds from the start of the world's first day (UTC)."""

    unit: Ints  # (v,) row of Shoppers
    at: Ints  # (v,)
    items: Ints  # (v, CANDIDATES) rows of Shop
    click_draw: Floats  # (v, CANDIDATES) uniform
    buy_draw: Floats  # (v, CANDIDATES) uniform
    quantity: Ints  # (v, CANDIDATES)

    def __len__(self) -> int:
        return len(self.unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLog:
    """Past impressions of randomly chosen items: what a recommender may honestly learn from."""

    rows: Floats  # (n, len(FEATURES))
    clicked: Ints  # (n,) 0 or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one visit led to: candidate positions shown, of those clicked, of those bought, cents paid."""

    shown: tuple[int, ...]
    clicked: tuple[int, ...]
    bought: tuple[int, ...]
    cents: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueRates:
    """Expected values of one ranker in one segment: clicks per impression, purchases and cents per visit."""

    ctr: float
    purchases: float
    cents: float


def generators(seed: int) -> tuple[np.random.Generator, np.random.Generator, np.random.Generator]:
    """Independent generators for a world's shop, its past log and its traffic."""
    shop, log, traffic = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
    return shop, log, traffic


def open_shop(rng: np.random.Generator) -> Shop:
    """Draw a catalogue of `ITEMS` items."""
    angle = rng.uniform(0.0, 2.0 * np.pi, ITEMS)
    return Shop(
        appeal=rng.normal(0.0, 1.0, ITEMS),
        quirk=rng.normal(0.0, 0.15, ITEMS),
        style=np.column_stack([np.cos(angle), np.sin(angle)]),
        cents=np.asarray(np.rint(np.exp(rng.normal(3.2, 0.5, ITEMS)) * 100), dtype=np.int64),
    )


def draw_shoppers(count: int, rng: np.random.Generator) -> Shoppers:
    """Draw `count` units of all countries."""
    angle = rng.uniform(0.0, 2.0 * np.pi, count)
    taste = 1.6 * np.column_stack([np.cos(angle), np.sin(angle)])
    return Shoppers(
        country=rng.choice(COUNTRIES, count, p=COUNTRY_SHARE),
        returning=rng.random(count) < 0.4,
        mobile=rng.random(count) < 0.6,
        taste=taste,
        seen_taste=taste + rng.normal(0.0, _TASTE_NOISE, (count, 2)),
    )


def draw_visits(shoppers: Shoppers, days: int, rng: np.random.Generator) -> Visits:
    """Spread the units' visits over whole days, fuller at weekends and in the evening.

    Every unit comes once; about a third come again within the next hours, so that impressions of one unit
    are correlated and a per-impression variance would be too small.
    """
    count = len(shoppers)
    weekday = np.array([1.0, 0.95, 0.95, 1.0, 1.1, 1.3, 1.2])[np.arange(days) % 7]
    day = rng.choice(days, count, p=weekday / weekday.sum())
    hour = np.clip(rng.normal(15.0, 4.0, count), 0.0, 21.5)
    first = np.asarray(day * DAY_MS + hour * 3_600_000, dtype=np.int64)
    back = np.flatnonzero(rng.random(count) < 0.35)
    # before midnight, so that a window of one day always contains the second visit
    again = first[back] + np.asarray(rng.uniform(0.2, 2.0, len(back)) * 3_600_000, dtype=np.int64)
    unit, at = np.concatenate([np.arange(count), back]), np.concatenate([first, again])
    order = np.argsort(at, kind="stable")
    total = len(order)
    items = np.argsort(rng.random((total, ITEMS)), axis=1)[:, :CANDIDATES]
    return Visits(
        unit=unit[order],
        at=at[order],
        items=np.asarray(items, dtype=np.int64),
        click_draw=rng.random((total, CANDIDATES)),
        buy_draw=rng.random((total, CANDIDATES)),
        quantity=rng.integers(1, 4, (total, CANDIDATES)),
    )


def features(shop: Shop, shoppers: Shoppers, visits: Visits) -> Floats:
    """What a ranker is given: shape (visits, CANDIDATES, len(FEATURES))."""
    items, unit = visits.items, visits.unit
    offered = np.stack(
        [shop.appeal[items], np.log(shop.cents[items] / 100), shop.style[items, 0], shop.style[items, 1]],
        axis=-1,
    )
    person = np.column_stack([shoppers.seen_taste[unit], shoppers.returning[unit], shoppers.mobile[unit]])
    return np.concatenate([offered, np.repeat(person[:, None, :], CANDIDATES, axis=1)], axis=-1)


def click_probability(shop: Shop, shoppers: Shoppers, visits: Visits) -> Floats:
    """The true probability that each candidate would be clicked if shown: shape (visits, CANDIDATES)."""
    items, unit = visits.items, visits.unit
    shift = np.array([_COUNTRY_SHIFT[c] for c in shoppers.country.tolist()])
    person = shift + _RETURNING * shoppers.returning + _MOBILE * shoppers.mobile
    appeal = _APPEAL * shop.appeal + shop.quirk + _PRICE * (np.log(shop.cents / 100) - 3.2)
    return _logistic(_BASE + appeal[items] + person[unit][:, None] + _FIT * _fit(shop, shoppers, visits))


def purchase_probability(shop: Shop, shoppers: Shoppers, visits: Visits) -> Floats:
    """The true probability that a clicked candidate is bought: shape (visits, CANDIDATES)."""
    price = _BUY_PRICE * (np.log(shop.cents / 100) - 3.2)
    return _logistic(_BUY_BASE + price[visits.items] + _BUY_FIT * _fit(shop, shoppers, visits))


def training_log(shop: Shop, impressions: int, rng: np.random.Generator) -> TrainingLog:
    """Past impressions of items shown at random, with the clicks they drew."""
    shoppers = draw_shoppers(-(-impressions // CANDIDATES), rng)
    visits = draw_visits(shoppers, 28, rng)
    rows = features(shop, shoppers, visits).reshape(-1, len(FEATURES))[:impressions]
    chance = click_probability(shop, shoppers, visits).reshape(-1)[:impressions]
    return TrainingLog(rows=rows, clicked=np.asarray(rng.random(len(rows)) < chance, dtype=np.int64))


def as_scores(values: Sequence[float]) -> Floats:
    """Scores that came as a list (over HTTP) as an array."""
    return np.asarray(values, dtype=np.float64)


def shown_by(scores: Floats) -> Ints:
    """Positions of the `SHOWN` best candidates, best first, ties by position: (..., SHOWN)."""
    return np.asarray(np.argsort(-scores, axis=-1, kind="stable")[..., :SHOWN], dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One shop with its traffic and the truth about it."""

    shop: Shop
    shoppers: Shoppers
    visits: Visits
    features: Floats  # (visits, CANDIDATES, len(FEATURES))
    click: Floats  # (visits, CANDIDATES)
    buy: Floats  # (visits, CANDIDATES)

    def outcome(self, visit: int, scores: Floats) -> Outcome:
        """What visit number `visit` led to when the candidates were ranked by `scores` (CANDIDATES,)."""
        traffic = self.visits
        shown = shown_by(scores)
        clicked = shown[traffic.click_draw[visit, shown] < self.click[visit, shown]]
        bought = clicked[traffic.buy_draw[visit, clicked] < self.buy[visit, clicked]]
        cents = self.shop.cents[traffic.items[visit, bought]] * traffic.quantity[visit, bought]
        return Outcome(
            shown=tuple(shown.tolist()),
            clicked=tuple(clicked.tolist()),
            bought=tuple(bought.tolist()),
            cents=tuple(cents.tolist()),
        )


def build_world(shop: Shop, shoppers: int, days: int, rng: np.random.Generator) -> World:
    """Draw the traffic of `shoppers` units over `days` days with all its true probabilities."""
    crowd = draw_shoppers(shoppers, rng)
    visits = draw_visits(crowd, days, rng)
    return World(
        shop=shop,
        shoppers=crowd,
        visits=visits,
        features=features(shop, crowd, visits),
        click=click_probability(shop, crowd, visits),
        buy=purchase_probability(shop, crowd, visits),
    )


def true_rates(world: World, score: Score) -> Mapping[str, TrueRates]:
    """Expected rates of a ranker per segment, over this world's visits (no outcome is drawn).

    The expectation is over clicks and purchases given the visits; build a large world for the truth of
    the population.
    """
    shown = shown_by(score(world.features.reshape(-1, len(FEATURES))).reshape(len(world.visits), CANDIDATES))
    rows = np.arange(len(world.visits))[:, None]
    click = world.click[rows, shown]
    sales = click * world.buy[rows, shown]
    # quantities are uniform on 1, 2, 3
    cents = 2.0 * sales * world.shop.cents[world.visits.items[rows, shown]]
    segment = world.shoppers.segment()[world.visits.unit]
    return {
        key: TrueRates(
            ctr=float(click[segment == key].mean()),
            purchases=float(sales[segment == key].sum(axis=1).mean()),
            cents=float(cents[segment == key].sum(axis=1).mean()),
        )
        for key in SEGMENTS
    }


def _fit(shop: Shop, shoppers: Shoppers, visits: Visits) -> Floats:
    """How well each candidate's style fits the shopper's true taste: (visits, CANDIDATES)."""
    fit: Floats = np.einsum("vcs,vs->vc", shop.style[visits.items], shoppers.taste[visits.unit])
    return fit


def _logistic(x: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-x))
