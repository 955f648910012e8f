"""The parts of a report that show the primary metric: matured and live, by day, as its design decides it."""

from __future__ import annotations

from switchpoint.analysis.report.section import (
    Cell,
    Section,
    Table,
    Tone,
    finding,
    headline_interval,
    primary,
    primary_comparisons,
)
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.judgement import Comparison, ExperimentResult, MetricReading, Reading
from switchpoint.analysis.results.numbers import LookTaken

# Column names of the wide tables, in the order of their row functions.
_EFFECT_COLUMNS = (
    "variant", "units", "control", "variant value", "effect", "confidence sequence", "lift", "lift sequence",
    "anytime p", "fixed interval", "fixed p", "finding",
)  # fmt: skip
_LIVE_COLUMNS = ("variant", "units", "control", "variant value", "effect", "headline interval", "lift")


def effect(result: ExperimentResult) -> Section:
    """The effect on the primary metric over matured days, which the verdict reads."""
    metric, matured = primary(result.matured), result.matured
    if metric is None or not metric.comparisons or not matured.n:
        line = "No exposure day has matured yet, so there is nothing the verdict may read."
        return Section(key="effect", title="Effect on matured days", lines=(line,))
    missing = [
        (c.variant, c.missing or (c.estimate and c.estimate.sequence_missing)) for c in metric.comparisons
    ]
    rows = tuple(_effect_row(metric, c) for c in metric.comparisons if c.estimate)
    return Section(
        key="effect",
        title=f"{metric.key} on matured days ({_size(matured)})",
        lines=tuple(f"{variant}: {why.message}" for variant, why in missing if why),
        table=Table(columns=_EFFECT_COLUMNS, rows=rows, spare=_spare(metric)) if rows else None,
    )


def _spare(metric: MetricReading) -> tuple[int, ...]:
    """What a narrow terminal leaves out first: what the rule does not decide by."""
    sequential = metric.comparisons[0].headline == "sequence"
    fixed, anytime = (9, 10), (5, 7, 8)
    return (*(fixed if sequential else anytime), 2, 3, *((7,) if sequential else ()))


def _effect_row(metric: MetricReading, comparison: Comparison) -> tuple[Cell, ...]:
    estimate = comparison.estimate
    if estimate is None:
        return (Cell(comparison.variant), *(Cell(fmt.ABSENT, Tone.MUTED),) * 10, finding(comparison))
    return (
        Cell(comparison.variant),
        Cell(f"{fmt.count(estimate.n_control)} / {fmt.count(estimate.n_variant)}"),
        Cell(fmt.value_of(metric, estimate.control_value)),
        Cell(fmt.value_of(metric, estimate.variant_value)),
        Cell(fmt.effect_of(metric, estimate.effect)),
        Cell(fmt.interval_of(metric, estimate.sequence)),
        Cell(fmt.share(estimate.lift, signed=True)),
        Cell(fmt.lift_interval(estimate.lift_sequence)),
        Cell(fmt.probability(estimate.anytime_p, estimate.log10_anytime_p)),
        Cell(fmt.interval_of(metric, estimate.interval)),
        Cell(fmt.probability(estimate.p, estimate.log10_p)),
        finding(comparison),
    )


def daily_table(result: ExperimentResult) -> Table:
    """The cumulative effect on the primary metric after each matured exposure day."""
    rows = tuple(
        (
            Cell(day.day),
            Cell(c.variant),
            Cell(f"{fmt.count(day.n_control_day)} / {fmt.count(day.n_variant_day)}"),
            Cell(f"{fmt.count(day.n_control)} / {fmt.count(day.n_variant)}"),
            Cell(f"{fmt.value_of(metric, day.control_value)} → {fmt.value_of(metric, day.variant_value)}"),
            Cell(fmt.effect_of(metric, day.effect)),
            Cell(fmt.interval_of(metric, day.sequence)),
        )
        for metric, c in primary_comparisons(result.matured)
        for day in c.daily
        if day.effect is not None
    )
    columns = (
        "day", "variant", "units that day", "units so far", "control → variant so far", "effect so far",
        "confidence sequence",
    )  # fmt: skip
    return Table(columns=columns, rows=rows, labels=2)


def live(result: ExperimentResult) -> Section:
    """The state with open windows, where it differs from the matured one."""
    live, metric, next_ = result.live, primary(result.live), result.matures
    if metric is None or live.n == result.matured.n:
        return Section(key="live", title="Live")
    lines = []
    if next_ is not None:
        which = "the first exposure day" if not result.matured.n else "the next exposure day"
        lines.append(
            f"{which.capitalize()} to mature is {next_.day}: its window closes at {fmt.moment(next_.at)}."
        )
    if not result.matured.n:
        units = ", ".join(f"{v.variant} {fmt.count(v.n)}" for v in live.variants)
        lines.append(f"Units so far: {units}.")
    return Section(
        key="live",
        title=f"{metric.key} live, unmatured days included ({_size(live)})",
        lines=tuple(lines),
        table=Table(
            columns=_LIVE_COLUMNS,
            rows=tuple((*_effect_row(metric, c)[:5], *_headline(metric, c)) for c in metric.comparisons),
        ),
        notes=("Windows of the latest days are still open; the verdict reads matured days only.",),
    )


def _headline(metric: MetricReading, comparison: Comparison) -> tuple[Cell, Cell]:
    """The interval the rule reads, and the lift."""
    estimate = comparison.estimate
    if estimate is None:
        return Cell(fmt.ABSENT, Tone.MUTED), Cell(fmt.ABSENT, Tone.MUTED)
    interval = headline_interval(comparison, estimate)
    return Cell(fmt.interval_of(metric, interval)), Cell(fmt.share(estimate.lift, signed=True))


def _size(reading: Reading) -> str:
    """How much a reading holds; days only where they are recorded."""
    units = fmt.plural(reading.n, "unit")
    return f"{units}, {fmt.plural(reading.days, 'day')}" if reading.days else units


def pooled(result: ExperimentResult) -> Section:
    """The naive effect over all strata at once, beside the stratified one."""
    rows = []
    for metric, comparison in primary_comparisons(result.matured):
        pooled = comparison.pooled
        if pooled is None or comparison.estimate is None:
            continue
        rows.append((
            Cell(comparison.variant),
            Cell(fmt.effect_of(metric, comparison.estimate.effect)),
            Cell(fmt.effect_of(metric, pooled.effect)),
            Cell(fmt.interval_of(metric, pooled.interval)),
            Cell(fmt.effect_of(metric, pooled.between)),
            Cell("Simpson's paradox", Tone.BAD) if pooled.simpson else Cell("same sign", Tone.MUTED),
        ))  # fmt: skip
    if not rows:
        return Section(key="pooled", title="Naive reading")
    columns = ("variant", "stratified", "pooled", "pooled interval", "between strata", "finding")
    return Section(
        key="pooled",
        title="Naive pooled reading, for comparison",
        table=Table(columns=columns, rows=tuple(rows)),
        notes=("The pooled reading mixes segments of different allocation; the verdict does not use it.",),
    )


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
