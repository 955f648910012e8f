"""Small seeded calibration: error rates and coverage within their Monte Carlo error."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from switchpoint.analysis.evidence.event_gate import NEEDED, Counted, rarer
from switchpoint.analysis.inference import contrast, proportion, sequential
from switchpoint.analysis.inference.sample import from_moments, from_sums
from switchpoint.analysis.inference.sample import proportion as rate
from switchpoint.analysis.inference.strata import stratify
from switchpoint.analysis.numerics.estimates import Alternative
from switchpoint.analysis.numerics.tail import p_values


def _limit(level: float, runs: int) -> float:
    return level + 4 * float(np.sqrt(level * (1 - level) / runs))


def test_score_and_welch_keep_their_level_without_an_effect() -> None:
    rng = np.random.default_rng(1)
    runs, n = 5000, (2000, 1000)
    control, treatment = (rng.binomial(size, 0.05, runs) for size in n)
    score = proportion.score_difference(control, n[0], treatment, n[1])
    welch = contrast.effect(contrast.from_samples(rate(n[0], control), rate(n[1], treatment)))
    for result in (score, welch):
        assert abs(result.significant.mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / runs) + 0.002


@pytest.mark.parametrize("lift", [0.0, 0.05, 0.3])
def test_lift_intervals_cover_the_true_lift(lift: float) -> None:
    rng = np.random.default_rng(2)
    runs, n = 5000, 4000
    control, treatment = rng.binomial(n, 0.1, runs), rng.binomial(n, 0.1 * (1 + lift), runs)
    for result in (
        proportion.score_lift(control, n, treatment, n),
        contrast.lift(contrast.from_samples(rate(n, control), rate(n, treatment))),
        contrast.log_ratio_lift(rate(n, control), rate(n, treatment)),
    ):
        covered = (result.low <= lift) & (lift <= result.high)
        assert covered.mean() == pytest.approx(0.95, abs=4 * np.sqrt(0.05 * 0.95 / runs) + 0.002)


@pytest.mark.parametrize("share", [0.5, 0.05])
def test_a_hundred_looks_do_not_raise_the_error_once_the_gate_passes(share: float) -> None:
    """1 % conversion, six strata; without the gate a 5 % canary is above 6 %."""
    rng = np.random.default_rng(3)
    runs, looks, strata, total = 1000, 100, 6, 100_000
    mean_units = np.array([1 - share, share]) * total / looks / strata
    n = rng.poisson(mean_units, (runs, looks, strata, 2))
    x = rng.binomial(n, 0.01).cumsum(axis=1)
    n = n.cumsum(axis=1)
    sides = [from_sums(n[..., v], x[..., v], x[..., v]) for v in range(2)]
    both = stratify(sides[0], sides[1], n.sum(axis=-1))
    result = contrast.sequence(contrast.from_samples(both.control, both.treatment), n_star=total)
    enough = rarer(n.sum(axis=2), x.sum(axis=2), n.sum(axis=2)).min(axis=-1) >= NEEDED[Counted.OUTCOMES]
    held = both.widening * np.sqrt(both.control.error_variance + both.treatment.error_variance)
    criterion = contrast.anytime(n.sum(axis=(2, 3)), n_star=total)
    gated = contrast.from_standard_error(both.treatment.mean - both.control.mean, held, criterion)
    false_alarms = (gated.significant & enough).any(axis=1).mean()
    assert enough[:, -1].mean() > 0.99
    assert false_alarms <= _limit(0.05, runs)
    if share < 0.5:
        assert result.significant.any(axis=1).mean() > false_alarms + 0.03


def test_revenue_of_few_payers_waits_for_the_gate() -> None:
    """Capped log-normal revenue, 3 % payers, 5 % canary, 100 looks."""
    rng = np.random.default_rng(4)
    runs, looks, total, share = 500, 100, 600_000, 0.05
    columns = np.zeros((3, runs, looks, 2))
    for look in range(looks):
        for v, part in enumerate((1 - share, share)):
            n = rng.binomial(total // looks, part, runs)
            payers = rng.binomial(n, 0.03)
            values = np.minimum(np.exp(rng.normal(3, 1.5, payers.sum())), 660.0)
            owner = np.repeat(np.arange(runs), payers)
            columns[:, :, look, v] = (
                n,
                np.bincount(owner, values, runs),
                np.bincount(owner, values**2, runs),
            )
    n, x, xx = columns.cumsum(axis=2)
    variance = np.maximum(xx - x**2 / n, 0) / (n - 1)
    sides = [from_moments(n[..., v], (x / n)[..., v], variance[..., v]) for v in range(2)]
    result = contrast.sequence(contrast.from_samples(*sides), n_star=total)
    assert result.significant.any(axis=1).mean() > 0.05
    widening = stratify(sides[0][..., None], sides[1][..., None], n.sum(axis=-1)[..., None]).widening
    z = result.statistic / widening
    log_e = sequential.log_e_value(z, n.sum(axis=-1), sequential.mixing_units(total, 0.05))
    assert (sequential.anytime_p(log_e)[0] < 0.05).any(axis=1).mean() <= _limit(0.05, runs) / 2


def _amounts(kind: str, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """What units spend; the last has no variance at all."""
    drawn: dict[str, Callable[[], NDArray[np.float64]]] = {
        "one price": lambda: np.ones(size),
        "log-normal": lambda: rng.lognormal(3, 1.5, size),
        "Pareto": lambda: rng.pareto(1.5, size) + 1,
    }
    spent = drawn[kind]()
    return np.asarray(np.where(rng.random(size) < 0.03, spent, 0.0), dtype=np.float64)


@pytest.mark.parametrize("share", [0.05, 0.01])
@pytest.mark.parametrize("kind", ["one price", "log-normal", "Pareto"])
def test_no_tail_misleads_a_canary_read_from_its_tenth_unit_on(kind: str, share: float) -> None:
    """3 % payers at 100 looks: read by their own variance alone, canaries reject in 7 to 80 % of the runs."""
    rng, runs, looks, total = np.random.default_rng(11), 400, 100, 20_000
    new = rng.poisson(np.array([1 - share, share]) * total / looks, (runs, looks, 2))
    owner = np.repeat(np.arange(new.size), new.ravel())
    paid = _amounts(kind, owner.size, rng)
    x, xx = (np.bincount(owner, part, new.size).reshape(new.shape).cumsum(axis=1) for part in (paid, paid**2))
    n = new.cumsum(axis=1).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(n > 0, x / n, 0.0)
        variance = np.where(n > 1, np.maximum(xx - n * mean**2, 0.0) / (n - 1), 0.0)
    sides = [from_moments(n[..., v], mean[..., v], variance[..., v]) for v in range(2)]
    widening = stratify(sides[0][..., None], sides[1][..., None], n.sum(axis=-1)[..., None]).widening
    own = contrast.sequence(contrast.from_samples(*sides), n_star=total)
    log_e = sequential.log_e_value(
        own.statistic / widening, n.sum(axis=-1), sequential.mixing_units(total, 0.05)
    )
    shared = (own.reason == 0) & (sequential.anytime_p(log_e)[0] < 0.05) & (n.min(axis=-1) >= 10)
    once = contrast.effect(contrast.from_samples(*(side[:, -1] for side in sides)))
    last = p_values(once.statistic / widening[:, -1], once.df, Alternative.TWO_SIDED)[0] < 0.05
    assert own.significant.any(axis=1).mean() > 0.06
    assert shared.any(axis=1).mean() <= _limit(0.05, runs) / 3
    assert last.mean() <= _limit(0.05, runs)
