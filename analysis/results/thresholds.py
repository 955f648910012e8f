"""Every threshold a verdict depends on, in one place; reports carry them."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Shares are fractions. Sources: statistics.md 2d-2f; Fabijan et al. (KDD 2019) for the sample ratio.

    `srm_invalid`, `srm_warn`: p of the sample-ratio test below which a comparison is void, or worth a word.
    `contamination_invalid`: share of units seen in several variants above which nothing holds.
    `mismatch_invalid`: share of exposures served another variant without a cause on record.
    `srm_log_e`: log e-value of the sequential test from which it alone voids a comparison (e = 1,000).
    `whole_week_days`: a verdict needs at least one whole week. `pooled_gap`: standard errors between the
    pooled and the stratified effect that are worth a word; a changed sign is from `pooled_p` on.
    `copies_warn`: share of rows (events) that are there more than once. `early_warn`,
    `early_gate`: share of outcomes in the hour before exposure. `ids_gate`: share of a live ledger's events
    whose unit's id looks damaged. `joined_least`: outcomes of which at least one should be of an exposed
    unit.
    `nested_share`: mixed values of a column as a share of those chance would mix, below
    which that column looks like the randomised unit, once chance would mix `nested_least`.
    `imbalance_invalid`,
    `imbalance_warn`: p of a difference before exposure. `denominator_p`: p of a moved denominator.
    `outlier_shift`: standard errors by which one unit may move the effect. `trend_p`: p of a trend of the
    effect over exposure days. `jump_share`: how far a day's value must lie from every other day's, as a share
    of it (`jump_factor` with fewer than two weeks), and `jump_errors` in standard errors. `series_days`:
    fewest
    days for both. `clusters_needed`: per variant. `shared_p`: p of two experiments' variants going together.
    `window_share`: share of the experiments running at the same time whose sample ratio is broken from which
    the others are warned, `window_least`: how many those are at least.
    """

    srm_invalid: float = 0.001
    srm_warn: float = 0.01
    contamination_invalid: float = 0.01
    mismatch_invalid: float = 0.01
    fallback_warn: float = 0.01
    carried_warn: float = 0.01
    whole_week_days: int = 7
    pooled_gap: float = 2.0
    pooled_p: float = 0.05
    srm_log_e: float = 6.907755278982137
    window_share: float = 0.2
    window_least: int = 3
    copies_warn: float = 0.001
    early_warn: float = 0.01
    early_gate: float = 0.5
    ids_gate: float = 0.05
    joined_least: int = 20
    nested_share: float = 0.1
    nested_least: float = 10.0
    imbalance_invalid: float = 0.001
    imbalance_warn: float = 0.01
    denominator_p: float = 0.001
    outlier_shift: float = 1.0
    trend_p: float = 0.005
    jump_share: float = 0.25
    jump_factor: float = 2.0
    jump_errors: float = 5.0
    series_days: int = 7
    clusters_needed: int = 10
    shared_p: float = 0.001

    def to_dict(self) -> dict[str, float | int]:
        """Plain numbers for the report."""
        return asdict(self)


DEFAULT = Thresholds()
