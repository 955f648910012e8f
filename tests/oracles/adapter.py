"""Oracle method name → call of the product's public functions; no arithmetic of its own."""

from __future__ import annotations

from tests.oracles import adjusted, comparisons, designs, sizes
from tests.oracles.shared import Method

METHODS: dict[str, Method] = comparisons.METHODS | sizes.METHODS | adjusted.METHODS | designs.METHODS

DECLINED = {
    "binomial_ci.jeffreys": "a Bayesian interval under a frequentist heading; Wilson and Clopper-Pearson are offered",
    "adjust.simes-hochberg": "Hochberg needs independence; Holm holds under any dependence",
    "rule_of_thumb_16": "a rounding of the formula that is offered",
    "evan_miller.n_per_arm": "null variance from the baseline alone matches no test that is offered",
}

CONTESTED = {
    "power-002": "the library's own TTestIndPower().power at its answer 0.3981391138964959 is 0.8000019, at ours "
    "(0.3981381375682367) 0.8000000000: its root finder stopped early, by more than the tolerance stated",
}
