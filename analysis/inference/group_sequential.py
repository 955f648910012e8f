"""Group sequential reading of a comparison at one look: repeated confidence interval and repeated p-value.

At look k with bound z_k the interval is estimate ± z_k·SE. It holds whatever was decided at earlier looks,
whether or not anybody stopped, and also when the plan is overrun; it excludes the null exactly when the
bound is passed. The p-value is the smallest alpha at which this would have happened, found by moving alpha
through the same spending function, so p < alpha ⟺ |Z| ≥ z_k ⟺ the interval excludes the null.

The stagewise ordering gives shorter intervals, but only at the look that stops and only if stopping was
obeyed; a report that anybody opens at any time needs the repeated one. The price is a little width at the
last look (z 2.01-2.04 for 1.96).

Sources: Jennison & Turnbull (1989), JRSS-B 51:305; Jennison & Turnbull (2000), ch. 9.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from switchpoint.analysis.inference import proportion
from switchpoint.analysis.inference.contrast import Contrast, fieller, from_samples, lift_statistic
from switchpoint.analysis.inference.repeated import Looks, repeated_p
from switchpoint.analysis.inference.sample import Sample
from switchpoint.analysis.numerics.estimates import Alternative, Estimates, estimates
from switchpoint.analysis.numerics.reasons import Codes, Reason, first_code, first_reason
from switchpoint.analysis.numerics.tail import open_side

_BEYOND, _HIGHEST_Z = 60.0, 37.0


class Stage(StrEnum):
    """Where in its plan a comparison is."""

    RUNNING = "running"
    FINAL = "final"
    OVERRUN = "overrun"
    LATE = "late"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """The look in its plan, and what it means for the reader.

    `fraction`: units now over units planned. `bound`: |Z| to pass here. `spent`: alpha spent so far.
    `decided_at`: index of the look whose reading counts (this one, or the one that ended the plan).
    """

    stage: Stage
    look: int
    fraction: float
    bound: float
    spent: float
    alpha: float
    decided_at: int

    @property
    def sentence(self) -> str:
        """One sentence an analyst understands."""
        spent = f"{self.spent:.4f} of the alpha of {self.alpha:g} is spent"
        if self.stage is Stage.RUNNING:
            need = (
                "no result can be called yet" if np.isinf(self.bound) else f"|Z| has to pass {self.bound:.2f}"
            )
            return f"Look {self.look} at {self.fraction:.0%} of the planned units: {need}; {spent}."
        if self.stage is Stage.FINAL:
            return f"Look {self.look} completes the plan: |Z| has to pass {self.bound:.2f}; {spent}."
        if self.stage is Stage.OVERRUN:
            return (
                f"Look {self.look} is the first at or past the planned units ({self.fraction:.0%} of them): "
                f"it ends the plan and spends what is left, with the bound {self.bound:.2f} for its units."
            )
        return (
            f"The plan ended at look {self.decided_at + 1} with all alpha spent; this is look {self.look}, "
            f"at {self.fraction:.0%} of the planned units. Read the result of look {self.decided_at + 1}: "
            "units that came later may be shown, but cannot decide."
        )


def position(
    looks: Looks, *, alpha: float = 0.05, alternative: Alternative = Alternative.TWO_SIDED
) -> Position:
    """Where the last of these looks stands in the plan."""
    bounds = looks.bounds(alpha, alternative)
    here, ended = len(looks.times) - 1, bounds.ended
    fraction = float(bounds.shares[-1])
    if ended is not None and ended < here:
        stage = Stage.LATE
    elif ended == here:
        stage = Stage.OVERRUN if fraction > 1 + 1e-9 else Stage.FINAL
    else:
        stage = Stage.FINAL if looks.final else Stage.RUNNING
    return Position(
        stage=stage, look=here + 1, fraction=fraction, bound=float(bounds.z[-1]),
        spent=float(bounds.spent[-1]), alpha=alpha, decided_at=here if ended is None else ended,
    )  # fmt: skip


def from_standard_error(
    estimate: ArrayLike,
    standard_error: ArrayLike,
    looks: Looks,
    *,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
    reason: Codes | None = None,
) -> Estimates:
    """Repeated interval and p-value of any asymptotically normal estimate at the last of these looks.

    A look so early that no alpha is spent has the reason `too_early`, a look after the plan's end
    `plan_ended`.
    """
    value, error = np.asarray(estimate, float), np.asarray(standard_error, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (value - np.asarray(null, float)) / error
        half = float(looks.bounds(alpha, alternative).z[-1]) * error
    low, high = open_side(value - half, value + half, alternative)
    codes = first_reason((~(error > 0), Reason.ZERO_VARIANCE))
    columns: dict[str, ArrayLike] = {
        "estimate": value, "standard_error": error, "statistic": z, "low": low, "high": high, "alpha": alpha,
    }  # fmt: skip
    known = codes if reason is None else first_code(reason, codes)
    return _finish("group-sequential", looks, alternative, known, columns)


def effect(
    control: Sample,
    treatment: Sample,
    looks: Looks,
    *,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
) -> Estimates:
    """mean_treatment − mean_control at this look."""
    return contrast_effect(
        from_samples(control, treatment), looks, alpha=alpha, alternative=alternative, null=null
    )


def lift(
    control: Sample,
    treatment: Sample,
    looks: Looks,
    *,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
) -> Estimates:
    """mean_treatment / mean_control − 1 at this look (Fieller's set at this look's bound)."""
    return contrast_lift(
        from_samples(control, treatment), looks, alpha=alpha, alternative=alternative, null=null
    )


def contrast_effect(
    contrast: Contrast,
    looks: Looks,
    *,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
) -> Estimates:
    """The effect of a contrast (adjusted, post-stratified) at this look."""
    return from_standard_error(
        contrast.effect, np.sqrt(contrast.variance), looks, alpha=alpha, alternative=alternative, null=null,
        reason=contrast.reason,
    )  # fmt: skip


def contrast_lift(
    contrast: Contrast,
    looks: Looks,
    *,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
) -> Estimates:
    """The lift of a contrast at this look; excludes zero exactly when `contrast_effect` does.

    Reasons as for the effect, and those of every lift.
    """
    bound = float(looks.bounds(alpha, alternative).z[-1])
    low, high, unbounded = fieller(contrast, np.asarray(min(bound, _BEYOND)))
    z, error = lift_statistic(contrast, null)
    low, high = open_side(low, high, alternative)
    positive = contrast.baseline > 0
    ratio = contrast.effect / np.where(positive, contrast.baseline, np.nan)
    codes = first_reason((~positive, Reason.ZERO_CONTROL), (unbounded, Reason.UNBOUNDED_LIFT))
    columns: dict[str, ArrayLike] = {
        "estimate": ratio, "standard_error": error, "statistic": z, "low": low, "high": high, "alpha": alpha,
    }  # fmt: skip
    return _finish(
        "group-sequential-fieller", looks, alternative, first_code(contrast.reason, codes), columns
    )


def _finish(
    method: str, looks: Looks, alternative: Alternative, reason: Codes, columns: dict[str, ArrayLike]
) -> Estimates:
    alpha = float(np.asarray(columns["alpha"]))
    silent = _silent(looks, alpha, alternative)
    if silent is not None:
        codes = np.full(reason.shape, silent.code, dtype=np.uint8)
        nothing = dict.fromkeys(columns, np.nan) | {"p_value": np.nan, "log_p": np.nan, "df": np.nan}
        kept = {"estimate": columns["estimate"], "alpha": alpha}
        return estimates(method, alternative, first_code(codes, reason), nothing | kept)
    p, log_p = repeated_p(columns["statistic"], looks, alternative, alpha=alpha)
    return estimates(method, alternative, reason, columns | {"p_value": p, "log_p": log_p, "df": np.inf})


def _silent(looks: Looks, alpha: float, alternative: Alternative) -> Reason | None:
    """Why this look can say nothing; None where it can."""
    here = position(looks, alpha=alpha, alternative=alternative)
    if here.stage is Stage.LATE:
        return Reason.PLAN_ENDED
    return Reason.TOO_EARLY if np.isinf(here.bound) else None


def score_effect(
    counts: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike],
    looks: Looks,
    *,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
) -> Estimates:
    """p_treatment − p_control at this look by the score test and the interval that inverts it.

    The score's variance is taken under the null, so a small variant with few events does not reject by its
    own bad luck: at 99/1 with 50 events it keeps its 5 %, where the unpooled variance makes 6 to 9 %.

    Args:
        counts: control successes, control units, treatment successes, treatment units.
    """
    return _score(proportion.score_difference, counts, looks, alpha, alternative, null)


def score_lift(
    counts: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike],
    looks: Looks,
    *,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
) -> Estimates:
    """p_treatment / p_control − 1 at this look by the same score test."""
    return _score(proportion.score_lift, counts, looks, alpha, alternative, null)


def _score(
    test: Callable[..., Estimates],
    counts: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike],
    looks: Looks,
    alpha: float,
    alternative: Alternative,
    null: ArrayLike,
) -> Estimates:
    """A fixed score test at the level this look's bound stands for, with the repeated p-value."""
    bound = min(float(looks.bounds(alpha, alternative).z[-1]), _HIGHEST_Z)
    sides = 2 if alternative is Alternative.TWO_SIDED else 1
    found = test(*counts, alpha=sides * float(special.ndtr(-bound)), alternative=alternative, null=null)
    columns: dict[str, ArrayLike] = {
        "estimate": found.estimate, "standard_error": found.standard_error, "statistic": found.statistic,
        "low": found.low, "high": found.high, "alpha": alpha,
    }  # fmt: skip
    return _finish(f"group-sequential-{found.method}", looks, alternative, found.reason, columns)
