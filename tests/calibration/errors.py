"""False positives without an effect: every design × split × metric, gated as the product gates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.inference import contrast, proportion
from switchpoint.analysis.inference.spending import spending_bounds
from switchpoint.analysis.numerics.estimates import Alternative
from switchpoint.analysis.numerics.tail import critical, p_values
from tests.calibration import streams
from tests.calibration.streams import Stream, Traffic

ALPHA, LOOKS, SPLITS = 0.05, 200, (0.5, 0.05, 0.01)
DESIGNS = ("fixed", "sequential", "group sequential")
_ERRORS_ALLOWED = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One entry of the table.

    `passing`: share of the runs in which the smaller variant has enough at some look, `opens`: at which share
    of the plan it does on average. `error`: false positives among those, with either standard error;
    `ungated`: among all runs by each variant's own, from the first look on. `limit`: alpha plus three Monte
    Carlo errors.
    """

    metric: str
    treated: float
    design: str
    units: int
    runs: int
    passing: float
    opens: float
    error: float
    ungated: float
    limit: float

    @property
    def holds(self) -> bool:
        """No more false positives than alpha and Monte Carlo error allow."""
        return self.error <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A metric of the grid: how it is simulated, and how many units and runs per split."""

    metric: str
    make: Callable[[Traffic, np.random.Generator], Stream]
    units: tuple[int, int, int]
    runs: int
    chunk: int = 1000


def rows(rng: np.random.Generator) -> list[Row]:
    """The grid; units are such that the smaller variant can have enough events by the end."""
    users = streams.heavy_users(rng)

    def converting(rate: float, units: int) -> Row:
        return Row(
            metric=f"conversion {rate:.1%}", units=(units,) * 3, runs=20_000,
            make=lambda traffic, source: streams.conversions(traffic, source, rate=rate),
        )  # fmt: skip

    return [
        converting(0.05, 100_000),
        converting(0.01, 500_000),
        converting(0.002, 2_500_000),
        Row(
            metric="clicks per impression, heavy users", units=(60_000, 200_000, 800_000), runs=2000,
            make=lambda traffic, source: streams.clicks(traffic, source, populations=(users, users)),
        ),
        Row(
            metric="revenue, 3 % payers, capped", units=(400_000, 2_000_000, 8_000_000), runs=2000, chunk=200,
            make=streams.revenue,
        ),
        Row(
            metric="revenue, 3 % payers, no cap", units=(400_000, 1_000_000, 2_000_000), runs=1000, chunk=500,
            make=lambda traffic, source: streams.revenue(traffic, source, cap=None),
        ),
    ]  # fmt: skip


def measure(row: Row, split: int, rng: np.random.Generator) -> list[Cell]:
    """All designs on the same simulated runs, in chunks of bounded memory."""
    tallies = {design: _Tally() for design in DESIGNS}
    for start in range(0, row.runs, row.chunk):
        runs = min(row.chunk, row.runs - start)
        traffic = Traffic(units=row.units[split], share=SPLITS[split], runs=runs, looks=LOOKS)
        stream = row.make(traffic, rng)
        for design, tally in tallies.items():
            tally.add(stream, design, traffic.units)
    return [tally.cell(row, split, design) for design, tally in tallies.items()]


@dataclass(slots=True)
class _Tally:
    """Counts over the chunks of one cell."""

    passing: int = 0
    opened: float = 0.0
    false: int = 0
    ungated: int = 0

    def add(self, stream: Stream, design: str, planned: int) -> None:
        """Count one chunk; the fixed design looks once, at the end."""
        enough, test = stream.enough, _TESTS[design]
        opened = enough[:, -1] if design == "fixed" else enough.any(axis=1)
        self.passing += int(opened.sum())
        self.opened += float(((np.argmax(enough, axis=1) + 1) / LOOKS)[opened].sum())
        self.false += int((test(stream, planned, stream.widening) & enough).any(axis=1).sum())
        self.ungated += int(test(stream, planned, np.ones_like(stream.widening)).any(axis=1).sum())

    def cell(self, row: Row, split: int, design: str) -> Cell:
        """The finished cell."""
        count = max(self.passing, 1)
        return Cell(
            metric=row.metric, treated=SPLITS[split], design=design, units=row.units[split], runs=row.runs,
            passing=self.passing / row.runs, opens=self.opened / count, error=self.false / count,
            ungated=self.ungated / row.runs,
            limit=ALPHA + _ERRORS_ALLOWED * float(np.sqrt(ALPHA * (1 - ALPHA) / count)),
        )  # fmt: skip


def _fixed(stream: Stream, planned: int, widening: streams.Array) -> NDArray[np.bool_]:
    """One reading at the end, with the standard error so many times wider; proportions by the score test."""
    none = np.zeros(stream.enough.shape, dtype=bool)
    if stream.counts is not None:
        x, n = (column[:, -1] for column in stream.counts)
        none[:, -1] = proportion.score_difference(x[:, 0], n[:, 0], x[:, 1], n[:, 1], alpha=ALPHA).significant
        return none
    found = contrast.effect(contrast.from_samples(*(side[:, -1] for side in stream.sample)), alpha=ALPHA)
    p, _ = p_values(found.statistic / widening[:, -1], found.df, Alternative.TWO_SIDED)
    none[:, -1] = (found.reason == 0) & (p < ALPHA)
    return none


def _sequential(stream: Stream, planned: int, widening: streams.Array) -> NDArray[np.bool_]:
    """Every look by the confidence sequence, tightest at the plan's end."""
    control, treatment = stream.sample
    error = widening * np.sqrt(control.error_variance + treatment.error_variance)
    criterion = contrast.anytime(control.n + treatment.n, n_star=planned, alpha=ALPHA)
    return contrast.from_standard_error(treatment.mean - control.mean, error, criterion).significant


def _group_sequential(stream: Stream, planned: int, widening: streams.Array) -> NDArray[np.bool_]:
    """Every look by its bound; proportions by the score statistic."""
    times = np.arange(1, LOOKS + 1) / LOOKS
    bounds = spending_bounds(times, alpha=ALPHA).z
    if stream.counts is None:
        found = contrast.effect(contrast.from_samples(*stream.sample), alpha=ALPHA)
        statistic = np.where(found.reason == 0, np.abs(found.statistic) / widening, 0.0)
    else:
        statistic = score_statistic(*stream.counts)
    return np.asarray(statistic >= bounds)


_TESTS = dict(zip(DESIGNS, (_fixed, _sequential, _group_sequential), strict=True))


def score_statistic(x: streams.Array, n: streams.Array) -> streams.Array:
    """|Z| of the score test of equal rates, as `proportion.score_difference` has it (checked by a test):
    that function also searches the interval, which would take hours here."""
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = x[..., 1] / n[..., 1] - x[..., 0] / n[..., 0]
        rate = x.sum(axis=-1) / n.sum(axis=-1)
        error = np.sqrt(rate * (1 - rate) * (1 / n[..., 0] + 1 / n[..., 1]))
        return np.nan_to_num(np.abs(difference) / error)


def peeking(rng: np.random.Generator) -> float:
    """What the gate and the designs replace: 200 looks at 5 % conversion with the fixed test."""
    traffic = Traffic(units=100_000, share=0.5, runs=2000, looks=LOOKS)
    stream = streams.conversions(traffic, rng, rate=0.05)
    reach = float(critical(ALPHA, np.inf, Alternative.TWO_SIDED))
    return float((score_statistic(*stream.counts or ()) > reach).any(axis=1).mean())
