"""The parts of a rendered report that say whether its numbers may be believed."""

from __future__ import annotations

from switchpoint.analysis.report.section import (
    SEVERITY_TONE,
    Cell,
    Section,
    Table,
    Tone,
    finding,
    primary,
    primary_comparisons,
)
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.judgement import (
    Comparison,
    Estimate,
    ExperimentResult,
    MetricReading,
    Reading,
    SampleRatio,
    Severity,
    Sufficiency,
)
from switchpoint.analysis.results.sentences import deciding


def sufficiency(result: ExperimentResult) -> Section:
    """Is there enough data: one row per variant against control.

    Before anything has matured the units needed come from the live units, whose rate is all that is known.
    """
    early = not result.matured.n
    reading = result.live if early else result.matured
    rows = tuple(
        _sufficiency_row(metric, comparison, comparison.sufficiency, early=early)
        for metric in reading.metrics
        for comparison in metric.comparisons
        if comparison.sufficiency is not None
    )
    lines = tuple(
        _expected(comparison.variant, enough) if early else enough.message
        for _, comparison in primary_comparisons(reading)
        if (enough := comparison.sufficiency) is not None and (enough.n_needed is not None or not early)
    )
    columns = (
        "metric", "variant", "units live" if early else "units now", "needed", "reached", "units a day",
        "weeks left", "visible effect", "sufficient",
    )  # fmt: skip
    title = "Sample size, from units that have not matured" if early else "Sample size"
    table = Table(columns=columns, rows=rows, labels=2, spare=(5, 4)) if rows else None
    return Section(key="sufficiency", title=title, lines=lines, table=table)


def _sufficiency_row(
    metric: MetricReading, comparison: Comparison, enough: Sufficiency, *, early: bool
) -> tuple[Cell, ...]:
    waiting = early and enough.enough
    return (
        Cell(metric.key),
        Cell(comparison.variant),
        Cell(fmt.count(enough.n_now)),
        Cell(fmt.count(enough.n_needed)),
        Cell(fmt.share(enough.share, digits=0)),
        Cell(fmt.amount(enough.units_per_day)),
        Cell(fmt.ABSENT if waiting else fmt.weeks(enough.weeks_left, enough.weeks_left_slow)),
        Cell(fmt.share(enough.mde_now_relative)),
        Cell("not matured", Tone.WARN) if early else _sufficient(enough),
    )


def _expected(variant: str, enough: Sufficiency) -> str:
    """The units needed, from units that have not matured."""
    return (
        f"{variant}: {fmt.plural(enough.n_now, 'unit')} came, none has matured; by their live values "
        f"{fmt.count(enough.n_needed)} matured ones are needed."
    )


def _sufficient(enough: Sufficiency) -> Cell:
    return Cell("enough", Tone.GOOD) if enough.enough else Cell("not yet", Tone.WARN)


def overall_ratio(reading: Reading) -> SampleRatio | None:
    """The sample ratio over all strata; None where it was not computed."""
    return next((r for r in reading.sample_ratio if r.scope == "overall"), None)


def sample_ratio(result: ExperimentResult, *, short: bool) -> Section:
    """Observed against intended units; `short` shows only the sum over strata.

    Units count from their exposure on, so the live ones are shown too where they are more.
    """
    found = [
        (ratio.scope, ratio) for ratio in result.matured.sample_ratio if not short or ratio.scope == "overall"
    ]
    live = overall_ratio(result.live)
    if live is not None and result.live.n != result.matured.n:
        found.append(("overall, live", live))
    columns = ("stratum", "observed", "expected", "p", "anytime p", "finding")
    rows = tuple(_ratio_row(scope, ratio) for scope, ratio in found)
    order = " / ".join(v.key for v in result.header.variants)
    return Section(
        key="sample-ratio",
        title=f"Sample ratio ({order})",
        lines=tuple(dict.fromkeys(r.missing.message for _, r in found if r.missing is not None)),
        table=Table(columns=columns, rows=rows) if rows else None,
    )


def _ratio_row(scope: str, ratio: SampleRatio) -> tuple[Cell, ...]:
    return (
        Cell(scope),
        Cell(" / ".join(fmt.count(n) for n in ratio.observed)),
        Cell(" / ".join(fmt.amount(n) for n in ratio.expected or ()) or fmt.ABSENT),
        Cell(fmt.probability(ratio.p)),
        Cell(fmt.probability(ratio.anytime_p)),
        ratio_finding(ratio),
    )


def ratio_finding(ratio: SampleRatio) -> Cell:
    """What the test found, or that it could not be made."""
    if ratio.missing is not None and ratio.severity is Severity.OK:
        return Cell("not checked", Tone.MUTED)
    return Cell(ratio.severity.value, SEVERITY_TONE[ratio.severity])


def checks(result: ExperimentResult) -> Section:
    """Every validity check with its sentence."""
    rows = tuple(
        (
            Cell(c.name),
            Cell(c.severity.value, SEVERITY_TONE[c.severity])
            if c.checked
            else Cell("not checked", Tone.MUTED),
            Cell(c.message),
        )
        for c in result.checks
    )
    if not rows:
        return Section(key="checks", title="Checks")
    return Section(
        key="checks",
        title="Validity checks",
        table=Table(columns=("check", "finding", ""), rows=rows, labels=3),
    )


def beside(result: ExperimentResult) -> Section:
    """The primary metric as judged, with the units that were left out, and by what was served."""
    metric, found = primary(result.matured), result.contamination
    readings = (
        ("as judged", metric.comparisons if metric is not None else ()),
        ("with units of several variants", found.with_them),
        ("by what was served", found.as_served),
    )
    rows = tuple(
        (Cell(name), *_beside_row(metric, c))
        for name, comparisons in readings
        for c in comparisons
        if metric is not None and (found.with_them or found.as_served)
    )
    columns = ("reading", "variant", "units", "control", "variant value", "effect", "interval", "finding")
    return Section(
        key="beside",
        title="The same otherwise",
        table=Table(columns=columns, rows=rows, labels=2, spare=(2, 3, 4)) if rows else None,
        notes=("The verdict reads the first of them.",) if rows else (),
    )


def _beside_row(metric: MetricReading, comparison: Comparison) -> tuple[Cell, ...]:
    found, read = comparison.estimate, deciding(comparison)
    if found is None:
        return (Cell(comparison.variant), *(Cell(fmt.ABSENT, Tone.MUTED),) * 5, finding(comparison))
    shown, interval = read or found, None if read is None else read.interval
    return (
        Cell(comparison.variant),
        Cell(f"{fmt.count(found.n_control)} / {fmt.count(found.n_variant)}"),
        Cell(fmt.value_of(metric, shown.control_value)),
        Cell(fmt.value_of(metric, shown.variant_value)),
        Cell(fmt.effect_of(metric, shown.effect)),
        Cell(fmt.interval_of(metric, interval)),
        finding(comparison),
    )


def variants(result: ExperimentResult) -> Section:
    """Who is in each variant, over all days."""
    rows = tuple(
        (
            Cell(v.variant),
            Cell(fmt.count(v.n)),
            Cell(fmt.share(v.share)),
            Cell(fmt.count(v.exposures)),
            Cell(f"{fmt.count(v.fallbacks)} ({fmt.share(v.fallback_share)})"),
            Cell(fmt.count(v.mismatches)),
            Cell(fmt.count(v.contaminated)),
            Cell(fmt.count(v.carried)),
        )
        for v in result.live.variants
    )
    columns = (
        "variant",
        "units",
        "share",
        "exposures",
        "fallbacks",
        "unexplained",
        "contaminated",
        "carried over",
    )
    if not rows:
        return Section(key="variants", title="Variants")
    pending = (
        f"{fmt.count(result.pending)} units wait for a refold, "
        f"{fmt.count(result.late)} late events were kept but not summed."
    )
    return Section(
        key="variants",
        title="Who is in (all days)",
        table=Table(columns=columns, rows=rows),
        notes=(pending,),
    )


def overlap(result: ExperimentResult) -> Section:
    """Why a comparison is not identified and what could be done; empty where it is."""
    overlap = result.overlap
    if not overlap.aliased:
        return Section(key="overlap", title="Overlap")
    lines = (
        *((overlap.sentence,) if overlap.sentence and overlap.sentence not in result.verdict.reasons else ()),
        *(f"{rung.name}: {rung.text}" for rung in overlap.ladder),
    )
    rows = tuple((Cell(row.segment), *(Cell(fmt.count(n)) for n in row.n)) for row in overlap.rows)
    return Section(
        key="overlap",
        title="Not identified: segment and variant are aliased",
        lines=lines,
        table=Table(columns=("segment", *overlap.variants), rows=rows),
    )


def history(result: ExperimentResult) -> Section:
    """What was measured of models no longer in force; empty where they never changed."""
    found, metric = result.history, primary(result.matured)
    if found is None or metric is None:
        return Section(key="history", title="History")
    columns = (
        "variant", "models", "epochs", "days", "units", "control", "variant value", "effect",
        "confidence sequence",
    )  # fmt: skip
    rows = tuple(
        (
            Cell(pair.variant),
            Cell(f"{pair.variant_model} against {pair.control_model}"),
            Cell(", ".join(map(str, pair.epochs)), Tone.MUTED),
            Cell(f"{pair.first_day} to {pair.last_day}", Tone.MUTED),
            Cell(f"{fmt.count(pair.n_control)} / {fmt.count(pair.n_variant)}"),
            *_former_effect(metric, pair.estimate),
        )
        for pair in found.pairs
    )
    return Section(
        key="history",
        title="History: not evidence",
        lines=(found.sentence,),
        table=Table(columns=columns, rows=rows, labels=4, spare=(2, 3)) if rows else None,
        notes=("Effects of matured days, read by the confidence sequence; the verdict does not use them.",),
    )


def _former_effect(metric: MetricReading, found: Estimate | None) -> tuple[Cell, ...]:
    if found is None:
        return (Cell(fmt.ABSENT, Tone.MUTED),) * 4
    return (
        Cell(fmt.value_of(metric, found.control_value)),
        Cell(fmt.value_of(metric, found.variant_value)),
        Cell(fmt.effect_of(metric, found.effect)),
        Cell(fmt.interval_of(metric, found.sequence)),
    )


def thresholds(result: ExperimentResult) -> Section:
    """The limits that were applied."""
    rows = tuple((Cell(name, Tone.MUTED), Cell(f"{value:g}")) for name, value in result.thresholds.items())
    if not rows:
        return Section(key="thresholds", title="Thresholds")
    table = Table(columns=("threshold", "value"), rows=rows)
    return Section(key="thresholds", title="Thresholds in force", table=table, folded=True)
