"""Units that did not get, or did not only get, what they were assigned."""

from __future__ import annotations

from dataclasses import dataclass

from switchpoint.analysis.evidence.facts import Unseen
from switchpoint.analysis.results.judgement import Check, Comparison, Severity
from switchpoint.analysis.results.thresholds import Thresholds
from switchpoint.analysis.validity.gates import unchecked

_NOBODY = Unseen("no unit has come")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """The primary comparisons with the units that were seen in several variants (under their first one), and
    with every unit under the variant it was first served; empty where that is the same, or not known."""

    with_them: tuple[Comparison, ...] = ()
    as_served: tuple[Comparison, ...] = ()


def contamination(
    units: int, contaminated: int, limits: Thresholds, shown: tuple[str, str], *, what: str = "unit"
) -> Check:
    """Units (`what` they are) seen in several variants of one epoch, out of all `units` (these included).

    Args:
        shown: the effects without them and with them, in words; empty where there are none.
    """
    if not units:
        return unchecked("contamination", _NOBODY)
    share = contaminated / units
    numbers = {"units": contaminated, "share": share}
    if share > limits.contamination_invalid:
        level, text = Severity.INVALID, (
            f"{contaminated:,} {what}s ({share:.2%}) were seen in several variants, more than "
            f"{limits.contamination_invalid:.0%}: the variants are mixed and cannot be compared."
        )  # fmt: skip
    elif contaminated:
        level, text = Severity.WARN, (
            f"{contaminated:,} {what}s ({share:.2%}) were seen in several variants and are left out"
            f"{_beside('with them', shown)}."
        )  # fmt: skip
    else:
        level, text = Severity.OK, f"No {what} was seen in several variants."
    return Check(name="contamination", severity=level, message=text, numbers=numbers)


def _beside(other: str, shown: tuple[str, str]) -> str:
    """The effect as judged and the `other` one."""
    judged, beside = shown
    return f"; effect as judged: {judged}; {other}: {beside}" if judged and beside else ""


def served(
    every: tuple[int, int], kept: tuple[int, int], limits: Thresholds, shown: tuple[str, str]
) -> Check:
    """Exposures that were served another variant than assigned, without a cause on record.

    Args:
        every: such exposures of all units, and all exposures. kept: the same without units that were seen in
            several variants, which the results leave out; serving is judged before they are. shown: the
            effects as assigned and by what was served, in words; empty where there are none.
    """
    (wrong, exposures), (left, rest) = every, kept
    if not exposures:
        return unchecked("served", _NOBODY)
    share, kept_share = wrong / exposures, left / rest if rest else 0.0
    numbers = {"mismatches": wrong, "share": share, "kept_mismatches": left, "kept_share": kept_share}
    without = (
        f" Without the units seen in several variants it is {left:,} ({kept_share:.2%})."
        if exposures != rest
        else ""
    )
    if share > limits.mismatch_invalid:
        level, text = Severity.INVALID, (
            f"{wrong:,} of {exposures:,} exposures ({share:.2%}) were served another variant than assigned "
            f"without a cause on record, more than {limits.mismatch_invalid:.0%}: assignment and treatment "
            f"disagree.{without}"
        )  # fmt: skip
    elif wrong:
        level, text = Severity.WARN, (
            f"{wrong:,} of {exposures:,} exposures ({share:.2%}) were served another variant than assigned "
            f"without a cause on record{_beside('by what was served', shown)}.{without}"
        )  # fmt: skip
    else:
        level, text = Severity.OK, "Every unit was served what it was assigned, or the cause is on record."
    return Check(name="served", severity=level, message=text, numbers=numbers)


def fallbacks(exposures: int, fallen: int, limits: Thresholds) -> Check:
    """Exposures answered by a fallback: the effect is that of assignment (intention to treat), diluted."""
    if not exposures:
        return unchecked("fallback", _NOBODY)
    share = fallen / exposures
    level = Severity.WARN if share > limits.fallback_warn else Severity.OK
    text = (
        f"{fallen:,} exposures ({share:.2%}) fell back to control; the effect shown is that of assignment."
        if fallen
        else "No exposure fell back."
    )
    return Check(name="fallback", severity=level, message=text, numbers={"fallbacks": fallen, "share": share})


def carry_over(units: int, carried: int, limits: Thresholds) -> Check:
    """Units that came back in a later epoch; they stay counted in their first one."""
    if not units:
        return unchecked("carry-over", _NOBODY)
    share = carried / units
    level = Severity.WARN if share > limits.carried_warn else Severity.OK
    text = (
        f"{carried:,} units ({share:.2%}) came back in a later epoch; they count in their first epoch only."
        if carried
        else "No unit came back in a later epoch."
    )
    return Check(name="carry-over", severity=level, message=text, numbers={"units": carried, "share": share})
