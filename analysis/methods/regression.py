"""Regression from units: least squares with robust variances, and Lin's adjusted effect.

For what moments cannot give: several covariates, interactions, predictions of a model as the covariate,
clusters. One table at a time; rows are units (or, with `cluster`, rows of randomised clusters).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from switchpoint.analysis.inference.contrast import Contrast, from_standard_error, once
from switchpoint.analysis.numerics.estimates import Alternative, Estimates, Float
from switchpoint.analysis.numerics.reasons import CannotEstimate, Reason
from switchpoint.experiment.errors import BadInput

_RANK = 1e-10


class Robust(StrEnum):
    """Variance estimator.

    `HC2`: independent rows (MacKinnon & White 1985). Clusters: `CR0` plain; `CR1` times G/(G − 1)·(N − 1)/
    (N − p), the usual default, too small for few clusters; `CR2` with Satterthwaite's degrees of freedom
    (Bell & McCaffrey 2002; Imbens & Kolesár 2016), the one to use; `CR3` the jackknife (MacKinnon, Nielsen,
    Webb 2023).
    """

    HC2 = "HC2"
    CR0 = "CR0"
    CR1 = "CR1"
    CR2 = "CR2"
    CR3 = "CR3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Coefficients, their covariance, and the degrees of freedom of each (inf: normal)."""

    coefficient: Float
    covariance: Float
    df: Float

    def estimate(
        self,
        index: int,
        *,
        method: str = "regression",
        alpha: float = 0.05,
        alternative: Alternative = Alternative.TWO_SIDED,
    ) -> Estimates:
        """Test and dual interval of one coefficient."""
        error = np.sqrt(self.covariance[index, index])
        criterion = once(self.df[index], alpha=alpha, alternative=alternative, method=method)
        return from_standard_error(self.coefficient[index], error, criterion)


def least_squares(
    outcome: ArrayLike, design: ArrayLike, *, robust: Robust = Robust.HC2, cluster: ArrayLike | None = None
) -> Fit:
    """Ordinary least squares of outcome on the columns of design, with a robust covariance.

    Degrees of freedom: rows − columns for HC2, clusters − 1 for CR0, CR1 and CR3, Satterthwaite's for CR2.

    Raises:
        BadInput: when rows do not match, values are not finite, or a clustered variance has no clusters.
        CannotEstimate: too few rows or clusters, or columns that determine each other.
    """
    y, x = _table(outcome, design)
    if x.shape[0] <= x.shape[1]:
        raise CannotEstimate(Reason.TOO_FEW_UNITS, "regression")
    gram = x.T @ x
    if np.linalg.cond(gram) > 1 / _RANK:
        raise CannotEstimate(Reason.ZERO_VARIANCE, "regression: a column is constant or implied by others")
    bread = np.asarray(np.linalg.inv(gram), dtype=np.float64)
    beta = np.asarray(bread @ (x.T @ y), dtype=np.float64)
    residual = y - x @ beta
    if robust is Robust.HC2:
        leverage = np.einsum("ij,jk,ik->i", x, bread, x)
        if (leverage > 1 - 1e-9).any():
            raise CannotEstimate(Reason.TOO_FEW_UNITS, "regression: one row decides a coefficient alone")
        meat = (x * (residual**2 / (1 - leverage))[:, None]).T @ x
        df = np.full(x.shape[1], float(x.shape[0] - x.shape[1]))
        return Fit(coefficient=beta, covariance=bread @ meat @ bread, df=df)
    if cluster is None:
        raise BadInput("a clustered variance needs clusters", field="cluster", value=None)
    return _clustered(x, residual, bread, beta, _groups(cluster, y.size), robust)


def _clustered(
    x: Float, residual: Float, bread: Float, beta: Float, groups: list[NDArray[np.intp]], robust: Robust
) -> Fit:
    rows, columns, count = x.shape[0], x.shape[1], len(groups)
    if count < 2:
        raise CannotEstimate(Reason.ONE_CLUSTER, "regression")
    df = np.full(columns, float(count - 1))
    if robust is Robust.CR3:
        kept = [_without(x[rows_of], residual[rows_of], bread) for rows_of in groups]
        shift = np.array(kept)
        return Fit(coefficient=beta, covariance=(count - 1) / count * shift.T @ shift, df=df)
    if robust is Robust.CR2:
        return _bell_mccaffrey(x, residual, bread, beta, groups)
    scores = np.array([x[rows_of].T @ residual[rows_of] for rows_of in groups])
    factor = count / (count - 1) * (rows - 1) / (rows - columns) if robust is Robust.CR1 else 1.0
    return Fit(coefficient=beta, covariance=factor * bread @ scores.T @ scores @ bread, df=df)


def _without(x: Float, residual: Float, bread: Float) -> Float:
    """How the coefficients change when a cluster is left out."""
    kernel = np.eye(x.shape[1]) - x.T @ x @ bread
    if np.linalg.cond(kernel) > 1 / _RANK:
        raise CannotEstimate(Reason.ONE_CLUSTER, "regression: one cluster decides a coefficient alone")
    return np.asarray(bread @ np.linalg.solve(kernel, x.T @ residual), dtype=np.float64)


def _bell_mccaffrey(
    x: Float, residual: Float, bread: Float, beta: Float, groups: list[NDArray[np.intp]]
) -> Fit:
    """CR2: residuals of cluster g times (I − H_gg)^(−1/2), with the df of each coefficient.

    H_gg has the rank of the design, so its powers come from the singular vectors of x_g·bread^(1/2). With
    p_g = (I − H_gg)^(−1/2)·x_g·bread·c the df are (Σ Q_gg)²/Σ Q_gh², Q = pᵀ(I − H)p (working model: equal
    independent variances). An (I − H_gg) without inverse takes its generalised one.
    """
    root = np.linalg.cholesky(bread)
    scores, loads, selves = [], [], []
    for rows_of in groups:
        own = x[rows_of]
        u, s, _ = np.linalg.svd(own @ root, full_matrices=False)
        left = 1 - s**2
        stretch = np.where(left > _RANK, 1 / np.sqrt(np.where(left > _RANK, left, 1.0)), 0.0) - 1

        def scaled(values: Float, u: Float = u, stretch: Float = stretch) -> Float:
            return np.asarray(values + (u * stretch) @ (u.T @ values), dtype=np.float64)

        scores.append(own.T @ scaled(residual[rows_of]))
        p = scaled(own @ bread)
        loads.append(own.T @ p)
        selves.append((p * p).sum(axis=0))
    score = np.array(scores)
    covariance = bread @ score.T @ score @ bread
    return Fit(
        coefficient=beta, covariance=covariance, df=_satterthwaite(np.array(loads), np.array(selves), bread)
    )


def _satterthwaite(loads: Float, selves: Float, bread: Float) -> Float:
    """loads: (clusters, columns, coefficients) = x_gᵀp_g. selves: (clusters, coefficients) = p_gᵀp_g."""
    df = np.empty(bread.shape[0])
    for j in range(bread.shape[0]):
        load = loads[:, :, j]
        q = np.diag(selves[:, j]) - load @ bread @ load.T
        df[j] = np.trace(q) ** 2 / np.square(q).sum()
    return df


def lin_effect(
    outcome: ArrayLike,
    treated: ArrayLike,
    covariates: ArrayLike,
    *,
    robust: Robust = Robust.HC2,
    cluster: ArrayLike | None = None,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
) -> Estimates:
    """Effect of treatment adjusted by Lin's fully interacted regression.

    y ~ 1 + T + (z − z̄) + T·(z − z̄); never less precise than the plain difference in large samples,
    whatever the truth is. A covariate may be the prediction of any model, provided it was fitted without
    the unit's own outcome (cross-fitting, one model per fold): then a bad model costs precision, not
    validity (MLRATE).

    Args:
        outcome: one value per row. treated: 1 for treatment, 0 for control.
        covariates: one column, or (rows, columns); measured before the treatment.

    Sources: Lin (2013), Ann. Appl. Stat. 7:295; Guo et al. (NeurIPS 2021), arXiv 2106.07263.
    """
    fit, _ = _lin(outcome, treated, covariates, robust, cluster)
    return fit.estimate(1, method="lin", alpha=alpha, alternative=alternative)


def lin_contrast(
    outcome: ArrayLike,
    treated: ArrayLike,
    covariates: ArrayLike,
    *,
    robust: Robust = Robust.HC2,
    cluster: ArrayLike | None = None,
) -> Contrast:
    """Lin's effect against the adjusted control mean (the intercept), for lifts and sequences."""
    fit, n = _lin(outcome, treated, covariates, robust, cluster)
    scalar = [np.asarray(value, float) for value in (
        n, fit.coefficient[1], fit.coefficient[0], fit.covariance[1, 1], fit.covariance[0, 1],
        fit.covariance[0, 0], fit.df[1],
    )]  # fmt: skip
    reason = np.asarray(Reason.ZERO_VARIANCE.code if fit.covariance[1, 1] <= 0 else 0, dtype=np.uint8)
    n_, effect, baseline, variance, covariance, baseline_variance, df = scalar
    return Contrast(
        n=n_, effect=effect, baseline=baseline, variance=variance, covariance=covariance,
        baseline_variance=baseline_variance, df=df, reason=reason,
    )  # fmt: skip


def _lin(
    outcome: ArrayLike,
    treated: ArrayLike,
    covariates: ArrayLike,
    robust: Robust,
    cluster: ArrayLike | None,
) -> tuple[Fit, int]:
    t = np.asarray(treated, float)
    if not np.isin(t, (0.0, 1.0)).all():
        raise BadInput("treated is 1 or 0 per row", field="treated", value=t[~np.isin(t, (0.0, 1.0))][0])
    z = np.asarray(covariates, float)
    z = z[:, None] if z.ndim == 1 else z
    if z.shape[0] != t.size:
        raise BadInput("one covariate row per unit", field="covariates", value=z.shape)
    centred = z - z.mean(axis=0)
    # a covariate without variance says nothing; keeping it would make the design singular
    centred = centred[:, np.ptp(centred, axis=0) > 0]
    design = np.column_stack([np.ones_like(t), t, centred, t[:, None] * centred])
    return least_squares(outcome, design, robust=robust, cluster=cluster), t.size


def clustered_effect(
    outcome: ArrayLike,
    treated: ArrayLike,
    cluster: ArrayLike,
    *,
    robust: Robust = Robust.CR2,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
) -> Estimates:
    """Difference of row means when whole clusters were randomised."""
    t = np.asarray(treated, float)
    design = np.column_stack([np.ones_like(t), t])
    fit = least_squares(outcome, design, robust=robust, cluster=cluster)
    return fit.estimate(1, method=f"clustered-{robust.value}", alpha=alpha, alternative=alternative)


def _table(outcome: ArrayLike, design: ArrayLike) -> tuple[Float, Float]:
    y, x = np.asarray(outcome, float), np.asarray(design, float)
    if y.ndim != 1 or x.ndim != 2 or x.shape[0] != y.size:
        raise BadInput(
            "outcome has one value per row of the design", field="outcome", value=(y.shape, x.shape)
        )
    if not (np.isfinite(y).all() and np.isfinite(x).all()):
        raise BadInput(
            "values must be finite",
            field="outcome",
            value="NaN or inf",
            fix="drop or impute such rows before",
        )
    return y, x


def _groups(cluster: ArrayLike, rows: int) -> list[NDArray[np.intp]]:
    """Row indices of each cluster."""
    ids = np.asarray(cluster)
    if ids.shape != (rows,):
        raise BadInput("one cluster id per row", field="cluster", value=ids.shape)
    _, inverse = np.unique(ids, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(inverse[order])) + 1)
