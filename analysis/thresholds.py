"""Every threshold a verdict depends on, in one place; reports carry them."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Shares are fractions. Sources: statistics.md 2d-2f; Fabijan et al. (KDD 2019) for the sample ratio.

    `srm_invalid`, `srm_warn`: p of the sample-ratio test below which a comparison is void, or worth a word.
    `contamination_invalid`: share of units seen in several variants above which nothing holds.
    `mismatch_invalid`: share of exposures served another variant without a cause on record.
    `whole_week_days`: a verdict needs at least one whole week. `pooled_gap`: standard errors between the
    pooled and the stratified effect that are worth a word; a changed sign is from `pooled_p` on.
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

    def to_dict(self) -> dict[str, float | int]:
        """Plain numbers for the report."""
        return asdict(self)


DEFAULT = Thresholds()
