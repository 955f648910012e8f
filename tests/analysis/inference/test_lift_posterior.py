"""The posterior of a lift between proportions: against brute force, the normal limit, and itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special

from switchpoint.analysis.inference import contrast, sample
from switchpoint.analysis.inference.posterior import EffectPrior, binomial_lift, effect_posterior
from switchpoint.analysis.numerics.reasons import Reason
from switchpoint.experiment.definition.types import Direction


def _brute(counts: tuple[int, int, int, int], prior: EffectPrior) -> tuple[float, float, float]:
    """Mean lift, P(lift > 0) and E max(−lift, 0) by adaptive quadrature over both rates themselves."""
    xc, nc, xt, nt = counts
    top = special.betaln(xc + 1, nc - xc + 1) + special.betaln(xt + 1, nt - xt + 1)

    def density(pt: float, pc: float) -> float:
        lift = pt / pc - 1
        log = xc * np.log(pc) + (nc - xc) * np.log1p(-pc) + xt * np.log(pt) + (nt - xt) * np.log1p(-pt)
        # p_t = p_c (1 + l): the prior of l has the density of p_t divided by p_c
        return float(np.exp(log - top - 0.5 * ((lift - prior.mean) / prior.sd) ** 2) / pc)

    def integral(of: Callable[[float, float], float], low: Any = 1e-9, high: Any = 1 - 1e-9) -> float:
        return float(integrate.dblquad(of, 1e-9, 1 - 1e-9, low, high, epsabs=1e-9, epsrel=1e-9)[0])

    total = integral(density)
    mean = integral(lambda pt, pc: (pt / pc - 1) * density(pt, pc)) / total
    above = integral(density, lambda pc: pc) / total
    down = integral(lambda pt, pc: (1 - pt / pc) * density(pt, pc), 1e-9, lambda pc: pc) / total
    return mean, above, down


@pytest.mark.parametrize(
    ("counts", "prior"),
    [
        ((5, 40, 9, 40), EffectPrior()),
        ((20, 100, 35, 90), EffectPrior(sd=0.5)),
        ((30, 60, 40, 62), EffectPrior(mean=-0.05, sd=0.1)),
        ((35, 40, 38, 40), EffectPrior(sd=0.2)),
    ],
)
def test_it_is_the_integral_over_both_rates(counts: tuple[int, int, int, int], prior: EffectPrior) -> None:
    found = binomial_lift(np.array(counts, float), prior=prior)
    mean, above, down = _brute(counts, prior)
    assert float(found.mean) == pytest.approx(mean, abs=2e-6)
    assert float(found.better) == pytest.approx(above, abs=2e-6)
    assert float(found.loss_treatment) == pytest.approx(down, abs=2e-6)


@settings(max_examples=80, deadline=None)
@given(st.data(), st.sampled_from([0.01, 0.05, 0.2]), st.sampled_from([0.02, 0.3]))
def test_interval_probability_and_losses_are_one_posterior(
    data: st.DataObject, alpha: float, sd: float
) -> None:
    n = data.draw(st.integers(30, 100_000)), data.draw(st.integers(30, 100_000))
    x = data.draw(st.integers(1, n[0] - 1)), data.draw(st.integers(1, n[1] - 1))
    counts = np.array([x[0], n[0], x[1], n[1]], float)
    found = binomial_lift(counts, prior=EffectPrior(sd=sd), alpha=alpha)
    assert found.reason == 0
    assert found.low < found.high
    better = float(found.better)
    if min(abs(better - alpha / 2), abs(better - 1 + alpha / 2)) > 1e-9:
        assert (found.low > 0) == (better > 1 - alpha / 2)
        assert (found.high < 0) == (better < alpha / 2)
    # E max(l, 0) − E max(−l, 0) = E l
    assert float(found.loss_control - found.loss_treatment) == pytest.approx(float(found.mean), abs=1e-9)
    down = binomial_lift(counts, prior=EffectPrior(sd=sd), alpha=alpha, direction=Direction.DECREASE)
    assert float(down.better) == pytest.approx(1 - better, abs=1e-12)
    assert float(down.loss_treatment) == float(found.loss_control)


def test_many_units_give_the_normal_posterior() -> None:
    counts = np.array([5_000_000, 1e8, 5_006_000, 1e8])
    exact = binomial_lift(counts, prior=EffectPrior(sd=0.05))
    pair = sample.proportion(counts[1], counts[0]), sample.proportion(counts[3], counts[2])
    normal = effect_posterior(contrast.delta_lift(contrast.from_samples(*pair)), prior=EffectPrior(sd=0.05))
    for name in ("mean", "sd", "low", "high", "better"):
        assert float(getattr(exact, name)) == pytest.approx(float(getattr(normal, name)), rel=0.01, abs=2e-6)


def test_a_rate_that_is_not_known_has_a_reason() -> None:
    counts = np.array([[0, 100, 0, 100], [100, 100, 100, 100], [0, 0, 3, 10], [0, 100, 3, 100]], float)
    found = binomial_lift(counts, prior=EffectPrior())
    reasons = [Reason.of(int(code)) for code in found.reason]
    assert reasons == [Reason.ZERO_CONTROL, Reason.ZERO_VARIANCE, Reason.TOO_FEW_UNITS, None]
    assert np.isnan(found.mean[:3]).all()
    assert found.better[3] > 0.5
