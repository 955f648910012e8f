"""The parts of a report that show how the design decides: the looks of a plan, the posterior and its loss."""

from __future__ import annotations

from switchpoint.analysis.report.section import Cell, Section, Table, Tone, primary_comparisons
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.judgement import Comparison, ExperimentResult
from switchpoint.analysis.results.numbers import LookTaken


def looks(result: ExperimentResult) -> Section:
    """Every look a group sequential plan has taken, and when the next one is."""
    found = [(c, c.planned) for _, c in primary_comparisons(result.matured) if c.planned is not None]
    rows = tuple(_look(c, number, one) for c, plan in found for number, one in enumerate(plan.looks, start=1))
    note = (
        "Looks are reconstructed from what had matured by their day; the confidence sequence above may be "
        "read at any time."
    )
    columns = ("look", "variant", "day", "units", "share of plan", "alpha spent", "|Z|", "to pass", "finding")
    return Section(
        key="looks",
        title="Planned looks",
        lines=tuple(f"{c.variant}: {plan.sentence}" for c, plan in found),
        table=Table(columns=columns, rows=rows, labels=2) if rows else None,
        notes=(note,) if found else (),
    )


def _look(c: Comparison, number: int, one: LookTaken) -> tuple[Cell, ...]:
    day = one.date if one.date is not None else fmt.ABSENT if one.day is None else f"day {one.day}"
    return (
        Cell(str(number)),
        Cell(c.variant),
        Cell(day),
        Cell(fmt.count(one.units)),
        Cell(fmt.share(one.share)),
        Cell(fmt.probability(one.spent)),
        Cell(f"{abs(one.z):.2f}"),
        Cell(fmt.ABSENT if one.bound is None else f"{one.bound:.2f}"),
        Cell("passed", Tone.GOOD) if one.passed else Cell("not passed", Tone.MUTED),
    )


def losses(result: ExperimentResult) -> Section:
    """What choosing each side now would give up on average, under the rule's prior."""
    found = [(c, c.posterior) for _, c in primary_comparisons(result.matured) if c.posterior is not None]
    rows = tuple(
        (
            Cell(c.variant),
            Cell(fmt.share(one.better)),
            Cell(fmt.share(one.mean, signed=True)),
            Cell(fmt.lift_interval(one.interval)),
            Cell(fmt.share(one.loss_variant)),
            Cell(fmt.share(one.loss_control)),
        )
        for c, one in found
    )
    if not rows:
        return Section(key="loss", title="Expected loss")
    prior = found[0][1]
    decides = found[0][0].headline == "posterior"
    note = f"Prior of the lift: normal, mean {fmt.share(prior.prior_mean)}, sd {fmt.share(prior.prior_sd)}. "
    note += (
        "The rule decides by this posterior; under repeated looks it does not hold false promotions at alpha."
        if decides
        else "Shown beside the verdict; the rule does not read it."
    )
    columns = ("variant", "probability better", "lift", "credible interval", "loss if chosen",
               "loss if control is kept")  # fmt: skip
    return Section(
        key="loss",
        title="Expected loss (share of control)",
        table=Table(columns=columns, rows=rows),
        notes=(note,),
    )
