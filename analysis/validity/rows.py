"""What the rows of a table say about themselves: copies, damaged ids, ineligible units, the wrong unit."""

from __future__ import annotations

from collections.abc import Mapping

from switchpoint.analysis.evidence.facts import Arrived, Copies, Eligibility, Ids, Nesting, Outcomes, Unseen
from switchpoint.analysis.inference.shares import association
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.judgement import Check, Severity
from switchpoint.analysis.results.thresholds import Thresholds
from switchpoint.analysis.validity.gates import unchecked

Numbers = dict[str, float | int | str | None]


def readable(reason: str | Unseen) -> Check:
    """Rows of the experiment that cannot be read; `reason` names the first one, and is empty without any."""
    if isinstance(reason, Unseen):
        return unchecked("rows", reason)
    level = Severity.INVALID if reason else Severity.OK
    return Check(name="rows", severity=level, message=reason or "Every row can be read.", numbers={})


def copies(found: Copies | Unseen, limits: Thresholds) -> Check:
    """Rows that are there twice; events of one id are counted once, plain rows count again."""
    if isinstance(found, Unseen):
        return unchecked("copies", found)
    numbers: Numbers = {"copies": found.copies, "repeated": found.repeated, "rows": found.rows}
    doubled = found.copies / found.rows if found.rows else 0.0
    again = found.repeated / (found.rows + found.repeated) if found.repeated else 0.0
    if doubled > limits.copies_warn:
        text = (
            f"{found.copies:,} rows ({doubled:.1%}) are copies of another row and count twice: delivered or "
            "joined twice? Remove them, or add the column that tells them apart (time, event id)."
        )
        return Check(name="copies", severity=Severity.WARN, message=text, numbers=numbers)
    if again > limits.copies_warn:
        text = f"{found.repeated:,} events ({again:.1%}) came more than once under one id; each counted once."
        return Check(name="copies", severity=Severity.WARN, message=text, numbers=numbers)
    return Check(name="copies", severity=Severity.OK, message="No row is there twice.", numbers=numbers)


_WHY = {
    "scientific notation": "a spreadsheet shortened them, so different units may share one id",
    "rounded numbers": "beyond 2^53 a decimal number cannot hold an id, so different units share one",
    "numbers as decimals": "the same id may also be written without them",
    "mixed types": "the same id may be there as text and as a number",
    "placeholders": "they stand for unknown units, which are no unit",
    "spaces around them": "the same id may also be there without spaces",
    "upper and lower case mixed": "one unit may be counted as two",
}


def ids(found: Ids | Unseen, limits: Thresholds) -> Check:
    """Unit ids that were damaged on the way."""
    if isinstance(found, Unseen):
        return unchecked("ids", found)
    if not found.wrong:
        return Check(name="ids", severity=Severity.OK, message="Unit ids look sound.", numbers={})
    if found.live:
        return _live_ids(found, limits)
    parts = [
        f"{what} in {number:,} of {found.looked_at:,} rows (such as {found.examples[what]!r}): {_WHY[what]}"
        for what, number in found.wrong.items()
    ]
    text = f"Unit ids look damaged: {'; '.join(parts)}. Export the ids again, as text."
    return Check(name="ids", severity=Severity.WARN, message=text, numbers=dict(found.wrong))


def _live_ids(found: Ids, limits: Thresholds) -> Check:
    """Every event of a live project whose unit's id looks damaged, with their share."""
    wrong = sum(found.wrong.values())
    share = wrong / found.looked_at
    parts = [f"{what} in {number:,} ({_WHY[what]})" for what, number in found.wrong.items()]
    text = (
        f"{wrong:,} of {found.looked_at:,} events of the project ({share:.1%}) have unit ids that look "
        f"damaged: {'; '.join(parts)}. Mend the sender; `switchpoint events` counts them."
    )
    level = Severity.GATE if share > limits.ids_gate else Severity.WARN
    return Check(name="ids", severity=level, message=text, numbers={**found.wrong, "share": share})


def eligibility(found: Eligibility | Unseen, limits: Thresholds) -> Check:
    """Rows that do not meet the condition; void if the condition removes one variant more than another."""
    if isinstance(found, Unseen):
        return unchecked("eligibility", found)
    out = sum(found.excluded.values())
    if not out:
        text = "Every row meets the condition."
        return Check(name="eligibility", severity=Severity.OK, message=text, numbers={"excluded": 0})
    variants = sorted(found.kept.keys() | found.excluded.keys())
    kept = [found.kept.get(v, 0) for v in variants]
    gone = [found.excluded.get(v, 0) for v in variants]
    total = [a + b for a, b in zip(kept, gone, strict=True)]
    p = association([kept, gone])
    share = out / sum(total)
    numbers: Numbers = {"excluded": out, "share": share, "p": p}
    text = f"{out:,} rows ({share:.1%}) do not meet the condition and are left out"
    if p is not None and p < limits.srm_invalid:
        shares = ", ".join(f"{v} {b / n:.1%}" for v, b, n in zip(variants, gone, total, strict=True) if n)
        text += (
            f", and not alike in the variants ({shares}; {fmt.p_is(p)}): the condition depends "
            "on what the variant "
            "does, so what is left cannot be compared. Use only what was known before exposure."
        )
        return Check(name="eligibility", severity=Severity.INVALID, message=text, numbers=numbers)
    if found.outcomes:
        text += (
            f", by {', '.join(found.outcomes)}, which a metric measures after assignment: what is left is "
            "not what was randomised. Use only what was known before exposure; where an empty cell means 0, "
            "write `empty: 0` in the source"
        )
        return Check(name="eligibility", severity=Severity.GATE, message=f"{text}.", numbers=numbers)
    return Check(name="eligibility", severity=Severity.WARN, message=f"{text}.", numbers=numbers)


def unit_of_analysis(columns: tuple[Nesting, ...] | Unseen, limits: Thresholds) -> Check:
    """Rows that were not randomised one by one although each is taken as a unit.

    Of several columns that keep to one variant (devices of users, users of households) the one with the
    fewest values was randomised: the others only lie inside it.
    """
    name = "unit of analysis"
    if isinstance(columns, Unseen):
        return unchecked(name, columns)
    kept = [
        found
        for found in columns
        if found.expected >= limits.nested_least and found.mixed <= limits.nested_share * found.expected
    ]
    if not kept:
        text = "No other column looks like the randomised unit."
        return Check(name=name, severity=Severity.OK, message=text, numbers={})
    found = max(kept, key=lambda column: column.rows_per_value)
    text = (
        f"Each {found.column} holds {found.rows_per_value:.1f} rows on average and keeps to one variant "
        f"({found.mixed:,} of {found.values:,} hold several; {found.expected:,.0f} would if rows had been "
        f"randomised): {found.column} was randomised, not rows. Rows of one {found.column} are alike, so "
        f"intervals would be too narrow. Write `unit: {found.column}` (rows are then added up) or "
        f"`cluster: {found.column}`."
    )
    numbers: Numbers = {"column": found.column, "mixed": found.mixed, "expected": found.expected}
    return Check(name=name, severity=Severity.GATE, message=text, numbers=numbers)


_SHIFT = {True: Severity.GATE, False: Severity.WARN}
"""Outcomes that seem to lie before their exposures do not count; those ahead of them mostly do."""
_ZONES, _LEAST_SHIFTED, _LEAST_AT_EDGE, _EDGE = 14, 100, 10, 0.01
"""Most hours between time zones that meet, fewest outcomes that show it, fewest of them in the hour of the
edge, and the share of all that may lie before it."""


def shifted(hours: Mapping[int, int]) -> int:
    """By how many whole hours outcomes seem to be written behind (below 0) or ahead of exposures; 0 where
    nothing shows it. `hours`: outcomes by the number of hours since their unit's first exposure.

    Outcomes follow their exposure, so that their number begins with an edge at hour 0. An edge elsewhere is a
    shift: next to nothing before it, and nearly as many right behind it as in any hour; ahead of the
    exposure, where a slow product would rise gently, a quarter of them all. Purchases of all times have no
    edge.
    """
    total = sum(hours.values())
    if total < _LEAST_SHIFTED:
        return 0
    before, edge = 0, min(hours)
    while before + hours.get(edge, 0) <= _EDGE * total:
        before += hours.get(edge, 0)
        edge += 1
    least = 0.4 * max(hours.values()) if edge < 0 else total / 4
    steep = hours[edge] >= max(least, _LEAST_AT_EDGE)
    return edge if steep and abs(edge) <= _ZONES else 0


def early(found: Outcomes | Unseen, limits: Thresholds) -> Check:
    """Outcomes shortly before their unit's first exposure: the exposure came late, or clocks differ."""
    name = "early outcomes"
    if isinstance(found, Unseen):
        return unchecked(name, found)
    near = found.early + found.counted
    shift = shifted(found.hours)
    if shift:
        hours = fmt.plural(abs(shift), "hour")
        text = (
            f"The outcomes seem to be written {hours} {'behind' if shift < 0 else 'ahead of'} the exposures: "
            f"{found.hours[shift]:,} lie in the hour that begins {hours} "
            f"{'before' if shift < 0 else 'after'} their unit's first exposure, next to none earlier. Write "
            "both tables in one time zone."
        )
        around: Numbers = {"hours": shift, "outcomes": sum(found.hours.values())}
        return Check(name=name, severity=_SHIFT[shift < 0], message=text, numbers=around)
    if not near:
        return unchecked(name, Unseen("no outcome is near or after its unit's exposure"))
    share = found.early / near
    numbers: Numbers = {
        "early": found.early, "before": found.before, "counted": found.counted, "share": share,
    }  # fmt: skip
    if share <= limits.early_warn:
        text = "Outcomes follow their exposure."
        return Check(name=name, severity=Severity.OK, message=text, numbers=numbers)
    sources = "senders" if found.before is None else "tables"
    text = (
        f"{found.early:,} outcomes ({share:.1%}) lie within the hour before their unit's first exposure and "
        f"do not count: the exposure is recorded too late, or the clocks of the two {sources} differ."
    )
    level = Severity.GATE if share > limits.early_gate else Severity.WARN
    return Check(name=name, severity=level, message=text, numbers=numbers)


def arrived(found: Arrived | Unseen, limits: Thresholds) -> Check:
    """Outcomes of a live ledger or a table that belong to nobody, to no window, or to no metric."""
    name = "outcomes"
    if isinstance(found, Unseen):
        return unchecked(name, found)
    came, missing = sum(found.read.values()), [kind for kind, count in found.read.items() if not count]
    unread = ", ".join(f"{kind} {fmt.count(count)}" for kind, count in found.unread.items())
    numbers: Numbers = {
        "outcomes": came, "joined": found.joined, "unexposed": found.unexposed,
        "unread": sum(found.unread.values()), "share": found.unexposed / came if came else 0.0,
    }  # fmt: skip
    if came >= limits.joined_least and not found.joined and found.outside:
        text = (
            f"None of the {came:,} outcomes of {', '.join(found.read)} counts: {found.outside:,} lie before "
            "their unit's first exposure or after its window. Are the times of both tables of one clock, and "
            "is the window long enough?"
        )
        return Check(name=name, severity=Severity.GATE, message=text, numbers=numbers)
    if came >= limits.joined_least and not found.joined:
        text = (
            f"None of the {came:,} outcomes of {', '.join(found.read)} is of a unit that was exposed here "
            f"({found.unexposed:,} are of units that were never exposed to anything): are unit ids written "
            "alike in exposures and outcomes?"
        )
        return Check(name=name, severity=Severity.GATE, message=text, numbers=numbers)
    if missing and unread:
        text = f"No outcome has the type {' or '.join(missing)}; no metric reads what came instead: {unread}."
        return Check(name=name, severity=Severity.WARN, message=text, numbers=numbers)
    if not came:
        return unchecked(name, Unseen("no outcome has come yet"))
    text = f"{found.unexposed:,} of {came:,} outcomes ({numbers['share']:.1%}) are of units never exposed."
    if found.outside:
        text += f" {found.outside:,} lie before their exposure or after its window and do not count."
    text += f" No metric reads: {unread}." if unread else ""
    return Check(name=name, severity=Severity.OK, message=text, numbers=numbers)
