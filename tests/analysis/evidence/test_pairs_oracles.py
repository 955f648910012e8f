"""Estimates over strata, several variants, several looks and metrics at once, against numpy, scipy and statsmodels."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize, stats
from statsmodels.stats.proportion import proportions_ztest
from statsmodels.stats.proportion import test_proportions_2indep as ratio_of_rates

from switchpoint.analysis.evidence import pairs as estimates
from switchpoint.analysis.evidence.moments import Centred, Covariates, Exact, Totals, integers
from switchpoint.analysis.evidence.pairs import Pairs, pairs, stacked_pairs
from switchpoint.analysis.inference.contrast import Contrast
from switchpoint.analysis.numerics.arrays import joined, rows
from switchpoint.analysis.numerics.reasons import Reason
from switchpoint.experiment.definition.types import Direction, Measure, Metric, MetricType, Size
from tests.analysis.cases import BUYERS
from tests.analysis.evidence.test_moments import REVENUE
from tests.analysis.evidence.test_pairs import proportions

Column = NDArray[Any]
VISITS = replace(BUYERS, type=MetricType.MEAN, cap=2**40)
LEVELS = np.array([[4.0, 6.0, 5.0], [9.0, 8.0, 11.0]])
UNITS = np.array([[60, 40, 30], [50, 90, 70]])


def observed(seed: int) -> dict[tuple[int, int], tuple[Column, Column]]:
    """Outcome and covariate of every unit, by stratum and variant: one look."""
    rng = np.random.default_rng(seed)
    found = {}
    for place, n in np.ndenumerate(UNITS):
        before = rng.poisson(10, n)
        found[place] = rng.poisson(LEVELS[place], n) + before // 2, before
    return found


def adjusted(seed: int, metric: Metric = VISITS) -> Exact:
    """The sums of `observed`, of shape (1, strata, variants)."""
    units = observed(seed)

    def column(of: Any) -> Any:
        return integers(np.array([[[int(of(*units[s, v])) for v in range(3)] for s in range(2)]]))

    zero = np.zeros((1, 2, 3), dtype=np.int64)
    return Exact(
        metric=metric, n=column(lambda y, z: len(y)), x=column(lambda y, z: y.sum()),
        xx=column(lambda y, z: y @ y), y=zero, yy=zero, xy=zero,
        covariates=Covariates(
            z=(column(lambda y, z: z.sum()),), zz=(column(lambda y, z: z @ z),),
            xz=(column(lambda y, z: y @ z),), units=(1,),
        ),
    )  # fmt: skip


def looks_of(*parts: Exact) -> Totals:
    return joined(list(parts))


def same(one: Any, other: Any) -> None:
    """Every array of two results, however deep."""
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b, err_msg=field.name)
        else:
            same(a, b)


def test_pairs_of_several_metrics_keep_their_order_whichever_have_covariates() -> None:
    n = [[[100, 90, 80], [70, 60, 50]], [[200, 150, 90], [90, 80, 70]]]
    x = [[[30, 35, 20], [20, 12, 9]], [[50, 70, 30], [30, 25, 9]]]
    plain = proportions(n, x)
    amounts = Centred(n=np.array(n, float), x=np.array(x) / 7, xx=np.array(n) * 3.0)
    given: list[tuple[Metric, Totals]] = [
        (VISITS, looks_of(adjusted(1), adjusted(2))), (BUYERS, plain),
        (VISITS, looks_of(adjusted(3), adjusted(4))), (REVENUE, amounts),
    ]  # fmt: skip
    for order in ((0, 1, 2, 3), (1, 0, 3, 2), (1, 3, 0, 2), (0, 2), (1, 3), (3, 1), (2,)):
        together = stacked_pairs([given[i] for i in order])
        same(together, joined([pairs(*given[i]) for i in order]))
        assert together.contrast.effect.shape == (2 * len(order), 2)


def test_covariates_over_strata_are_regressions_within_each_of_them() -> None:
    """Per stratum and pair θ is the least-squares slope of both variants together; strata weigh by all units."""
    found, units = pairs(VISITS, adjusted(5)), observed(5)
    weights = UNITS.sum(axis=1) / UNITS.sum()
    for v in (1, 2):
        effect = raw = variance = raw_variance = blinded = 0.0
        for s, w in enumerate(weights):
            (yc, zc), (yt, zt) = units[s, 0], units[s, v]
            y, z = np.concatenate([yc, yt]), np.concatenate([zc, zt])
            theta = stats.linregress(z, y).slope
            effect += w * ((yt - theta * zt).mean() - (yc - theta * zc).mean())
            raw += w * (yt.mean() - yc.mean())
            variance += w**2 * sum(np.var(a - theta * b, ddof=1) / len(a) for a, b in ((yc, zc), (yt, zt)))
            raw_variance += w**2 * sum(np.var(a, ddof=1) / len(a) for a in (yc, yt))
            blinded += w**2 * np.var(y, ddof=1) * (1 / len(yc) + 1 / len(yt))
        one = rows(found.contrast, (0, v - 1))
        assert one.effect == pytest.approx(effect, rel=1e-12)
        assert one.variance == pytest.approx(variance, rel=1e-12)
        assert one.baseline == pytest.approx(weights @ [units[s, 0][0].mean() for s in range(2)])
        plain = rows(found.plain, (0, v - 1))
        assert (plain.effect, plain.variance) == pytest.approx((raw, raw_variance), rel=1e-12)
        assert found.reduction[0, v - 1] == pytest.approx(1 - variance / raw_variance, rel=1e-9)
        # the blinded error shrinks by what the covariate takes from that of the effect
        progress = found.progress
        assert progress.error_variance[0, v - 1] == pytest.approx(blinded * variance / raw_variance)
        assert progress.n[0, v - 1] == UNITS[:, [0, v]].sum()
    assert not found.single.any()
    assert (found.counts == 0).all()


def test_without_variance_a_covariate_takes_nothing() -> None:
    """A covariate that explains everything leaves no error: no share is named, and the plan keeps its error."""
    units = np.arange(40)
    column = np.array([[[40, 40]]])
    twice, squares = np.full((1, 1, 2), 2 * units.sum()), np.full((1, 1, 2), units @ units)
    zero = np.zeros_like(column)
    totals = Exact(
        metric=VISITS, n=column, x=twice, xx=4 * squares, y=zero, yy=zero, xy=zero,
        covariates=Covariates(z=(twice // 2,), zz=(squares,), xz=(2 * squares,), units=(1,)),
    )  # fmt: skip
    found = pairs(VISITS, totals)
    assert Reason.of(int(found.contrast.reason[0, 0])) is Reason.ZERO_VARIANCE
    assert np.isnan(found.reduction[0, 0])
    pooled = np.var(2 * np.concatenate([units, units]), ddof=1) * 2 / 40
    assert found.progress.error_variance[0, 0] == pytest.approx(pooled)
    assert np.isnan(pairs(REVENUE, Centred(n=np.ones((1, 1, 2)) * 9, x=column, xx=column)).reduction).all()


def test_an_outcome_that_never_varies_leaves_a_covariate_nothing_to_take() -> None:
    """No 0 / 0 on the way: nothing can be estimated, no share is named, and the blinded error is none."""
    units = np.arange(40)
    column = np.array([[[40, 40]]])
    sums, squares, zero = (
        np.full((1, 1, 2), units.sum()),
        np.full((1, 1, 2), units @ units),
        np.zeros_like(column),
    )
    totals = Exact(
        metric=VISITS, n=column, x=3 * column, xx=9 * column, y=zero, yy=zero, xy=zero,
        covariates=Covariates(z=(sums,), zz=(squares,), xz=(3 * sums,), units=(1,)),
    )  # fmt: skip
    found = pairs(VISITS, totals)
    assert Reason.of(int(found.contrast.reason[0, 0])) is Reason.ZERO_VARIANCE
    assert np.isnan(found.reduction[0, 0])
    assert found.progress.error_variance[0, 0] == 0


def test_a_ratio_with_covariates_is_adjusted_as_a_ratio() -> None:
    """Against the linearised outcome of Deng, Knoblich, Lu (2018): (y − R·d) / mean d, regressed on the same
    of the covariates."""
    rng, n = np.random.default_rng(8), 80
    ratio = replace(VISITS, type=MetricType.RATIO, denominator=Measure(event="visit"))
    old = rng.poisson(8, (2, n)) + 1
    had = rng.binomial(old, 0.4)
    views = rng.poisson(old) + 1
    clicks = rng.binomial(views, (had + 1) / (old + 2))
    rows = np.stack([clicks, views, had, old])  # (column, variant, unit)
    sums, products = rows.sum(axis=-1), np.einsum("avu,bvu->abv", rows, rows)

    def part(array: Any) -> Any:
        return integers(np.array(array)[None, None, :])

    totals = Exact(
        metric=ratio, n=part([n, n]), x=part(sums[0]), xx=part(products[0, 0]), y=part(sums[1]),
        yy=part(products[1, 1]), xy=part(products[0, 1]),
        covariates=Covariates(
            z=(part(sums[2]), part(sums[3])),
            zz=(part(products[2, 2]), part(products[2, 3]), part(products[3, 3])),
            xz=tuple(part(products[a, b]) for a in (0, 1) for b in (2, 3)), units=(1, 1),
        ),
    )  # fmt: skip
    found = pairs(ratio, totals)
    raw = sums[0] / sums[1]
    before = sums[2] / sums[3]
    pooled = sums.sum(axis=1)
    y = (clicks - pooled[0] / pooled[1] * views) / (pooled[1] / (2 * n))
    z = (had - pooled[2] / pooled[3] * old) / (pooled[3] / (2 * n))
    theta = stats.linregress(z.ravel(), y.ravel()).slope
    assert found.contrast.effect[0, 0] == pytest.approx(raw[1] - raw[0] - theta * (before[1] - before[0]))
    assert found.plain.effect[0, 0] == pytest.approx(raw[1] - raw[0])
    assert 0 < found.reduction[0, 0] < 1


def test_only_counted_proportions_that_are_not_adjusted_take_the_score_test() -> None:
    counted = proportions([[[500, 400]]], [[[50, 60]]])
    measured = Centred(
        n=np.array([[[500.0, 400.0]]]), x=np.array([[[0.1, 0.15]]]), xx=np.ones((1, 1, 2)) * 45
    )
    zero = counted.x * 0
    helped = replace(
        counted, covariates=Covariates(z=(zero + 90,), zz=(zero + 90,), xz=(zero + 30,), units=(1,))
    )
    amounts = replace(counted, metric=VISITS)
    for metric, totals, name in (
        (BUYERS, counted, "score"), (BUYERS, measured, "welch"), (BUYERS, helped, "welch"),
        (VISITS, amounts, "welch"),
    ):  # fmt: skip
        found = pairs(metric, totals)
        assert estimates.method_names(found).tolist() == [[name]]
        assert found.counts[0, 0].tolist() == ([50, 500, 60, 400] if name == "score" else [0, 0, 0, 0])


def three() -> tuple[Exact, Pairs]:
    """Two looks of three variants in two strata, of which the second has no unit of the last variant at the
    first look, and none of any variant at the second."""
    totals = proportions(
        [[[500, 400, 300], [200, 100, 0]], [[800, 700, 600], [0, 0, 0]]],
        [[[50, 60, 20], [30, 10, 0]], [[90, 95, 40], [0, 0, 0]]],
    )
    return totals, pairs(BUYERS, totals)


def restricted_p(xc: int, nc: int, xt: int, nt: int, difference: float) -> float:
    """p of the score test of this difference of rates, the likelihood under it maximised by scipy."""

    def unlikely(rate: float) -> float:
        return -float(stats.binom.logpmf(xc, nc, rate) + stats.binom.logpmf(xt, nt, rate + difference))

    within = max(0.0, -difference) + 1e-9, min(1.0, 1 - difference) - 1e-9
    c = optimize.minimize_scalar(unlikely, bounds=within, method="bounded", options={"xatol": 1e-12}).x
    t = c + difference
    z = (xt / nt - xc / nc - difference) / np.sqrt(c * (1 - c) / nc + t * (1 - t) / nt)
    return float(2 * stats.norm.sf(abs(z)))


def test_the_score_test_reads_the_counts_of_the_one_stratum_that_compares() -> None:
    """Against statsmodels and the restricted likelihood: the statistic, and a p of alpha at both bounds of
    difference and ratio."""
    _, found = three()
    assert estimates.method_names(found).tolist() == [["welch", "score"], ["score", "score"]]
    effect, lift = estimates.fixed_effect(found, 0.1)
    only_first = estimates.fixed_effect(found, 0.1, np.array([True, False]))
    z = estimates.score_statistic(found)
    for place, (xc, nc, xt, nt) in {
        (0, 1): (50, 500, 20, 300), (1, 0): (90, 800, 95, 700), (1, 1): (90, 800, 40, 600)
    }.items():  # fmt: skip
        assert found.counts[place].tolist() == [xc, nc, xt, nt]
        statistic, p = proportions_ztest([xt, xc], [nt, nc])
        assert z[place] == pytest.approx(statistic, rel=1e-12)
        assert (effect.statistic[place], effect.p_value[place]) == pytest.approx((statistic, p), rel=1e-9)
        for bound in (effect.low[place], effect.high[place]):
            assert restricted_p(xc, nc, xt, nt, float(bound)) == pytest.approx(0.1, rel=1e-6)
        for bound in (lift.low[place], lift.high[place]):
            test = ratio_of_rates(
                xt, nt, xc, nc, value=bound + 1, method="score", compare="ratio", correction=False
            )
            assert test.pvalue == pytest.approx(0.1, rel=1e-6)
        # the second look's lift is not read: it is Fieller's, while the effect stays the score test's
        for name in ("low", "high", "p_value"):
            assert getattr(only_first[0], name)[place] == getattr(effect, name)[place]
            alike = getattr(only_first[1], name)[place] == getattr(lift, name)[place]
            assert alike is np.bool_(place[0] == 0)


def test_strata_weigh_by_the_units_of_all_variants_and_events_are_those_of_the_pair() -> None:
    _, found = three()
    weights = np.array([1200, 300]) / 1500
    diff = [60 / 400 - 50 / 500, 10 / 100 - 30 / 200]
    assert found.contrast.effect[0, 0] == pytest.approx(weights @ diff)
    assert found.single.tolist() == [[False, True], [True, True]]
    assert found.progress.n.tolist() == [[1200, 800], [1500, 1400]]
    # the rarer outcome of both, as the smaller variant's share of the pair
    np.testing.assert_allclose(
        found.events,
        [[(50 + 30 + 60 + 10) * 500 / 1200, 70 * 300 / 800], [185 * 700 / 1500, 130 * 600 / 1400]],
    )
    assert (found.needed == 20).all()


@pytest.mark.parametrize(("hits", "enough"), [(40, True), (39, False)])
def test_twenty_events_are_enough(hits: int, enough: bool) -> None:
    found = pairs(BUYERS, proportions([[[500, 500]]], [[[hits - 20, 20]]]))
    assert bool(found.enough[0, 0]) is enough


def test_a_stratum_is_missed_only_by_the_variant_whose_evidence_it_is() -> None:
    totals, _ = three()
    compared = np.ones((2, 2, 3), dtype=bool)
    dropped, covered = estimates.left_out(totals, compared)
    code = Reason.NOT_COMPARABLE.code
    assert dropped.tolist() == [[[0, 0], [0, code]], [[0, 0], [0, 0]]]
    np.testing.assert_allclose(covered, np.array([[1, 0.8], [1, 1]]))
    compared[0, 1, 1] = False
    dropped, covered = estimates.left_out(totals, compared)
    assert dropped.tolist() == [[[0, 0], [0, code]], [[0, 0], [0, 0]]]
    np.testing.assert_allclose(covered, np.array([[1, 0.8], [1, 1]]))
    compared[0, 1, 2] = False
    dropped, covered = estimates.left_out(totals, compared)
    assert not dropped.any()
    assert (covered == 1).all()


def test_a_pooled_reading_adds_what_is_evidence_for_both_variants() -> None:
    totals, _ = three()
    more = proportions([[[90, 80, 70], [60, 50, 40]]] * 2, [[[9, 20, 14], [6, 10, 4]]] * 2)
    compared = np.ones((2, 2, 3), dtype=bool)
    compared[1, 1, 2] = compared[0, 1, 0] = False
    pooled = estimates.pooled_effect([totals, more], 0.05, compared)
    rates = [
        [(60 / 400, 50 / 500), (20 / 300, 50 / 500)],
        [(95 / 700, 90 / 800), (40 / 600, 90 / 800)],
        [(20 / 80, 9 / 90), (14 / 70, 9 / 90)],
        [(30 / 130, 15 / 150), (14 / 70, 9 / 90)],
    ]
    np.testing.assert_allclose(pooled.estimate, [[t - c for t, c in row] for row in rates])
    whole = estimates.pooled_effect([totals, more], 0.05)
    assert whole.estimate[0, 0] == pytest.approx(70 / 500 - 80 / 700)
    assert whole.estimate[2, 1] == pytest.approx(18 / 110 - 15 / 150)
    expected = stats.ttest_ind_from_stats(
        30 / 130,
        np.sqrt(30 * 100 / 130 / 129),
        130,
        15 / 150,
        np.sqrt(15 * 135 / 150 / 149),
        150,
        equal_var=False,
    )
    assert whole.p_value[3, 0] == pytest.approx(expected.pvalue, rel=1e-9)
    reach = estimates.pooled_effect([totals], 0.01).high - estimates.pooled_effect([totals], 0.05).high
    assert (reach > 0).all()


def uneven(change: float = 0.0) -> Pairs:
    """A large variant of wide and a small one of narrow values: one shared variance is three times as wide."""
    n, sd = np.array([[[1000.0, 100.0]]]), np.array([[[10.0, 1.0]]])
    return pairs(REVENUE, Centred(n=n, x=np.array([[[50.0, 50 + change]]]), xx=(n - 1) * sd**2))


def test_a_result_is_confirmed_by_students_error_where_that_is_wider() -> None:
    """scipy's t at the pooled standard error, with Welch's degrees of freedom; the sequence by its formula."""
    found, star, alpha = uneven(1.5), 900.0, 0.05
    own = np.sqrt(100 / 1000 + 1 / 100)
    pooled = np.sqrt((999 * 100 + 99 * 1) / 1098 * (1 / 1000 + 1 / 100))
    assert found.widening[0, 0] == pytest.approx(pooled / own)
    wide = estimates.widened(found)
    for name in ("variance", "covariance", "baseline_variance"):
        before, after = getattr(found.contrast, name), getattr(wide, name)
        np.testing.assert_allclose(after, before * (pooled / own) ** 2, rtol=1e-12)
    effect, _ = estimates.fixed_effect(found, alpha)
    welch = stats.ttest_ind_from_stats(51.5, 1, 100, 50, 10, 1000, equal_var=False)
    assert effect.p_value[0, 0] == pytest.approx(welch.pvalue, rel=1e-9)
    p = estimates.confirmed_fixed(found, effect)[0, 0]
    assert p == pytest.approx(2 * stats.t.sf(1.5 / pooled, effect.df[0, 0]), rel=1e-9)
    n_star = np.array([star])
    sequence, _ = estimates.anytime(found, n_star, alpha)
    k = star / (np.log1p(-2 * np.log(alpha)) - 2 * np.log(alpha))
    z = 1.5 / pooled
    inverse = np.exp(-(z**2) * 1100 / (2 * (1100 + k))) * np.sqrt((1100 + k) / k)
    sure = estimates.confirmed_anytime(found, sequence, n_star, alpha)
    assert sure[0, 0] == pytest.approx(min(1.0, inverse), rel=1e-9)
    assert sequence.p_value[0, 0] < sure[0, 0]


def test_where_students_error_is_not_wider_nothing_changes() -> None:
    """The small variant has the wide values; and a score test has one variance as it is."""
    n, sd = np.array([[[1000.0, 100.0]]]), np.array([[[1.0, 10.0]]])
    given = pairs(REVENUE, Centred(n=n, x=np.array([[[50.0, 53.0]]]), xx=(n - 1) * sd**2))
    counted = pairs(BUYERS, proportions([[[1000, 100]]], [[[400, 20]]]))
    assert given.widening[0, 0] == 1
    assert counted.widening[0, 0] > 1
    for found in (given, counted):
        effect, _ = estimates.fixed_effect(found, 0.05)
        assert estimates.confirmed_fixed(found, effect)[0, 0] == effect.p_value[0, 0]
    sequence, _ = estimates.anytime(given, np.array([900.0]), 0.05)
    assert estimates.confirmed_anytime(given, sequence, np.array([900.0]), 0.05) == sequence.p_value


def test_without_intervals_a_sequence_is_held_against_the_score_test_alone() -> None:
    """Rates far apart: the sequence's own variance would be surer than the score test. Amounts beside them in
    the same call keep the p of their sequence."""
    rates = proportions([[[40, 40]]], [[[1, 39]]])
    amounts = Centred(
        n=np.full((1, 1, 2), 400.0), x=np.array([[[5.0, 8.0]]]), xx=np.full((1, 1, 2), 40_000.0)
    )
    star = np.array([100.0, 500.0])[:, None]
    found = stacked_pairs([(BUYERS, rates), (REVENUE, amounts)])
    quick, _ = estimates.anytime(found, star, 0.05)
    _, p = proportions_ztest([39, 1], [40, 40])
    assert quick.p_value[0, 0] == pytest.approx(p, rel=1e-9, abs=0)
    alone, _ = estimates.anytime(pairs(REVENUE, amounts), star[1:], 0.05)
    assert quick.p_value[1, 0] == alone.p_value[0, 0] < 1
    assert alone.p_value[0, 0] > estimates.fixed_effect(pairs(REVENUE, amounts), 0.05)[0].p_value[0, 0]


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("direction", list(Direction))
def test_a_guardrail_that_holds_only_with_each_variants_own_variance_says_nothing_yet(
    once: bool, direction: Direction
) -> None:
    """The margin lies between what one error and what the other excludes."""
    sign = 1 if direction is Direction.INCREASE else -1
    rail, star = replace(REVENUE, direction=direction), np.array([1000.0])

    def read(change: float, margin: float) -> tuple[bool, bool, bool]:
        found = estimates.guards(
            uneven(sign * change), rail, Size(value=margin, relative=False), star, 0.05, once=once
        )
        return bool(found.safe[0, 0]), bool(found.harmed[0, 0]), bool(found.unconfirmed[0, 0])

    assert read(0.0, 1.2) == (False, False, True)  # safe by 0.33, not by 0.96
    assert read(0.0, 5.0) == (True, False, False)
    assert read(0.0, 0.1) == (False, False, False)
    assert read(-2.2, 1.0) == (False, False, True)  # harm likewise
    assert read(-9.0, 1.0) == (False, True, False)


def test_a_widened_contrast_keeps_what_is_not_an_error() -> None:
    found = uneven(0.7)
    wide: Contrast = estimates.widened(found)
    for name in ("n", "effect", "baseline", "df", "reason"):
        np.testing.assert_array_equal(getattr(wide, name), getattr(found.contrast, name))
