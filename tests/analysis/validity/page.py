"""docs/checks.md: every validity check with its threshold and the sentence it says about a planted problem.

The sentences are the product's own words about the planted tables, so the page cannot say what the checks do not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from switchpoint.analysis.report.report import BatchReport, Report, escape
from switchpoint.analysis.results.judgement import Check, CheckName
from switchpoint.analysis.results.thresholds import DEFAULT
from tests.analysis.validity.more_worlds import (
    MORE,
    counted,
    live,
    nobody_else,
    several,
    standing,
    without_days,
)
from tests.analysis.validity.worlds import (
    APART,
    BALANCED,
    DAY_MS,
    TWINS,
    clean_units,
    clusters,
    events,
    segments,
)

PLANTED = TWINS | MORE
_INTRO = """# What is checked before a verdict

Every report runs these checks; a table of many experiments runs them for each. **invalid**: there is no verdict,
whatever the numbers say. **gate**: the verdict waits (`continue`). **warn**: the verdict stands and carries the
warning. Every report lists every check, in one order; a check that has nothing to look at says "not checked" and
why, never "ok".

Thresholds are in force as printed in every report. For each check there is a small table with that one problem
and a twin without it; the tests ask that the problem is found in these words and that no check says anything
about the twin. The sentences below are taken from those tables. This page is written by
`python -m tests.analysis.validity`, and a test compares it with what the checks say.
"""


_WHERE = """## Where each check looks

A table of one row per unit, one of many experiments (each is judged exactly as it is alone), two tables of
events, counted rows per day, rows that say where things stood (`cumulative`, read by their differences), and a
live ledger with its counts of what arrived. `yes`: it looks there, in a healthy source with all columns; the last column are the product's own
words where there is nothing to look at.
"""


@dataclass(frozen=True)
class Told:
    """A check: what it finds in plain words, and when it speaks."""

    finds: str
    when: str


T = DEFAULT
CHECKS = {
    "variants": Told("Only one variant is there.", "invalid"),
    "rows": Told(
        "A row of the experiment cannot be read: a label is missing, an amount is no number.",
        "invalid in a table of many experiments, whose others are judged; a file of one experiment is refused"),
    "window": Told(
        "Many experiments that ran on the same days lost units, so the cause may have touched this one too.",
        f"warn where {T.window_share:.0%} of them, and at least {T.window_least}, have a broken sample ratio"),
    "overlap": Told(
        "Segment and variant go together (one country got only model 1, the other only model 2), so the "
        "difference is that of the models plus that of the segments.",
        "invalid where no segment holds control and the variant; the report then offers ways out"),
    "sample ratio": Told(
        "Units do not split as intended, over all, in a segment or in an epoch: some were lost or moved.",
        f"chi-square per stratum with its own weights: invalid at p < {T.srm_invalid:g} (strata share the "
        f"threshold) or an anytime-valid e-value of 1,000 (Dirichlet-multinomial), warn at p < {T.srm_warn:g}; "
        "unknown weights are asked for (gate where units were randomised)"),
    "sample ratio by day": Told(
        "Units went missing on single days that the sum hides.",
        f"chi-square per day: invalid at p < {T.srm_invalid:g}, warn at p < {T.srm_warn:g}, days share both"),
    "contamination": Told(
        "Units were seen in several variants.",
        f"invalid above {T.contamination_invalid:.0%} of the units, else warn: they are left out and the result "
        "with them is shown beside"),
    "served": Told(
        "What was shown is not what was assigned.",
        f"invalid above {T.mismatch_invalid:.0%} of the exposures without a cause on record, else warn"),
    "fallback": Told(
        "The model failed and control answered: the effect is diluted.",
        f"warn above {T.fallback_warn:.0%} of the exposures"),
    "carry-over": Told(
        "Units came back after a new allocation opened an epoch.",
        f"warn above {T.carried_warn:.0%} of the units"),
    "eligibility": Told(
        "Rows do not meet the condition, perhaps because of what the variant did.",
        "warn; gate where the condition reads what a metric measures; invalid where variants lose different "
        f"shares (p < {T.srm_invalid:g})"),
    "other experiments": Told(
        "The same units are in another experiment.",
        f"warn: in a table where the variants of both go together (p < {T.shared_p:g}), for a live experiment "
        "where no layer keeps them apart (the sentence says whether the model is the same)"),
    "copies": Told(
        "Rows or events are there more than once.",
        f"warn above {T.copies_warn:.1%} of the rows (events)"),
    "ids": Told(
        "Unit ids were damaged on the way: shortened by a spreadsheet, of mixed types, padded, placeholders.",
        f"warn from one such id in a sample of the rows, or one event of a live project (gate above "
        f"{T.ids_gate:.0%} of its events)"),
    "early outcomes": Told(
        "Outcomes lie before their exposure: it is recorded too late, or clocks differ.",
        f"warn where more than {T.early_warn:.0%} of the outcomes fall in the hour before exposure (live: the clock "
        f"hour of the exposure or the one before), gate above {T.early_gate:.0%}; of two tables whose clocks are "
        "whole hours apart: gate where outcomes are behind, warn where they are ahead"),
    "outcomes": Told(
        "Outcomes come and count for nobody: other ids, or a type that no metric reads.",
        f"gate where none of {T.joined_least} or more belongs to an exposed unit, or lies inside its window; warn "
        "where a metric's type never came and others did; the share of units that were never exposed is shown, and "
        "of tables how many lie outside the window"),
    "jump": Told(
        "A metric jumps on one day: recording broke more often than behaviour changed.",
        "warn where a day lies farther from the nearest other day than all others lie apart, by "
        f"{T.jump_errors:g} standard errors, and by {T.jump_share:.0%} of it (with less than two weeks: "
        f"{T.jump_factor:g}-fold); from {T.series_days} days on"),
    "before exposure": Told(
        "Variants differed before the experiment began.",
        f"covariates: invalid at p < {T.imbalance_invalid:g} where units were said to be randomised, "
        f"warn at p < {T.imbalance_warn:g}"),
    "novelty": Told(
        "The effect wears off (novelty) or grows (primacy), so the mean over the days is not what comes.",
        f"warn at p < {T.trend_p:g} of a trend over exposure days, from {T.series_days} days on"),
    "outlier": Told(
        "A single unit carries the effect.",
        f"warn where it moves the effect by {T.outlier_shift:g} standard error, or by half of one and decides "
        "sign or significance; the result without it is in the sentence"),
    "unit of analysis": Told(
        "Rows are not what was randomised, so intervals would be too narrow.",
        f"gate where another id keeps to one variant: fewer than {T.nested_share:.0%} of the mixtures that "
        "chance would give"),
    "denominator": Told(
        "The treatment moved the denominator of a ratio.",
        f"warn at p < {T.denominator_p:g}"),
    "early harm": Told(
        "The first conversions are missing from a variant, or the first errors are all in it.",
        "warn in a live report where the exact sequence of the events' variants passes the rule's alpha, shared "
        "over the primary metric and the guardrails that are proportions; valid from the first event on"),
    "events": Told(
        "Too few events in the smaller variant for any interval to hold.",
        "gate below the number the method needs (by metric type and design; in the report)"),
    "clusters": Told(
        "Too few clusters were randomised.", f"gate below {T.clusters_needed} in a variant"),
    "mix": Told(
        "The pooled reading misleads: segments or epochs of different allocation are mixed (Simpson's paradox).",
        f"warn where pooled and stratified effect differ by {T.pooled_gap:g} standard errors or in sign"),
    "strata": Told(
        "A segment or epoch cannot be compared and is left out of the effect.",
        "warn, with the share of units the effect speaks for"),
    "evidence": Told(
        "The evidence is weaker than the rule asks for, for example nobody says how units were assigned.",
        "gate"),
    "matured": Told("No exposure day has closed its window.", "gate, with the date on which the first one does"),
    "runtime": Told(
        "The experiment is younger than the minimum runtime or a whole week.",
        f"gate below the rule's min_runtime or {T.whole_week_days} days; warn where days are not recorded"),
    "pending": Told(
        "Units wait for a refold of the log, or events came too late to be summed.", "warn"),
}  # fmt: skip

# what each planted table and its clean twin are
STORIES = {
    "units lost in one variant": ("15 % of one variant's users are missing", "all 6,000 users"),
    "units lost on one day": ("half of one variant is missing on one day", "all days whole"),
    "units lost in one segment": ("400 of 2,800 users are missing in one country", "both countries whole"),
    "units lost in one epoch": ("400 of 2,000 are missing after the allocation changed", "both epochs whole"),
    "unknown weights are asked for": (
        "the spec does not say the weights",
        "`weights: equal`",
    ),
    "units in several variants": ("200 users come back in the other variant", "nobody comes back"),
    "a few units in several variants": ("200 of 40,000 live units met both variants", "none did"),
    "served another variant": ("4 % of one variant were shown the other", "everybody saw what was assigned"),
    "ineligible units": ("5 % of the rows are from another country", "nobody is"),
    "a condition that depends on the variant": ("one variant sends users to another country", "nobody moves"),
    "another experiment, tied": ("two tests gave the same users the same variant", "they drew independently"),
    "another experiment, by definition": (
        "two live experiments on one model without a layer",
        "two slices of one layer",
    ),
    "copied rows": ("400 rows are there twice", "each once"),
    "repeated events": ("150 purchases were delivered twice", "each once"),
    "ids through a spreadsheet": ("every seventh long id became 9.65491E+11", "the same ids as text"),
    "ids as text and as numbers": ("every third id is text, the others numbers", "all numbers"),
    "a row that cannot be read": ("one amount of six experiments is a word", "all are numbers"),
    "a time in which much is broken": ("three of six experiments lose a fifth of a variant", "none does"),
    "an unknown unit": ("one id is `unknown`", "all ids are names"),
    "undefined units, live": ("1 % of the events are of the unit `undefined`", "none is"),
    "many undefined units, live": ("10 % of the events are of the unit `undefined`", "none is"),
    "a clock that is behind, live": ("100 purchases are dated just before their exposure", "none is"),
    "a clock that is far behind, live": ("more purchases lie before their exposure than after", "none does"),
    "nothing joins, live": ("purchases carry other ids than exposures", "most are of exposed units"),
    "a type that is misspelt, live": ("the sender calls purchases `page`", "purchases come under their name"),
    "ids with spaces": ("every ninth id ends in a space", "none does"),
    "ids in two cases": ("some users are there in capitals too", "one spelling each"),
    "outcomes before exposure": (
        "a fifth of the purchases precede their exposure",
        "old purchases only, weeks before",
    ),
    "a broken day": ("no click was recorded on one day", "all days alike"),
    "different before exposure": ("past spending is 15 % higher in one variant", "alike in both"),
    "novelty": ("30 points more buyers on the first day, none after ten", "a constant rate"),
    "primacy": ("two points more buyers with every day", "a constant rate"),
    "one unit carries the effect": ("one order of 60,000", "orders between 10 and 60"),
    "rows are not the unit": ("users were randomised, rows are their sessions", "sessions were randomised"),
    "a moved denominator": ("one more view per user in one variant", "equal views"),
    "a canary that breaks": (
        "errors are six times as frequent in a canary of 5 %",
        "as frequent as in control",
    ),
    "too few events": ("2 % of the buyers remain", "all buyers"),
    "too few clusters": ("12 houses", "1,200 houses"),
    "mix shift": ("the worse variant has more users where more people buy", "the same mix in both"),
    "aliased segments": ("one country got one variant, the other the other", "both got both"),
    "only one variant": ("control alone", "both variants"),
    "a model that fails over": ("one exposure in thirty fell back to control", "none did"),
    "units of an earlier epoch": ("one unit in forty came back after a new epoch", "none did"),
    "a segment with control only": ("one country is all control", "half and half"),
    "an unknown assignment": ("`assignment: unknown`", "`assignment: randomised`"),
    "windows that are all open": ("three days with a window of seven", "100 days later"),
    "five days of data": ("five days", "two weeks"),
    "a table without days": ("no day column", "with one"),
    "units waiting for a refold": ("12 units wait", "none does"),
    "events after their window": ("12 events came late", "none did"),
}


def told(found: Report | BatchReport, row: int) -> tuple[Check, ...]:
    """The checks of a report, or of one row of a table of many experiments."""
    return found.rows[row].checks if isinstance(found, BatchReport) else found.checks


WHERE: dict[str, Callable[[], tuple[Check, ...]]] = {
    "units": lambda: clean_units().checks,
    "batch": lambda: several().rows[0].checks,
    "events": lambda: events().checks,
    "counts": lambda: segments(BALANCED, "  weights: equal\n").checks,
    "cumulative": lambda: standing().checks,
    "live": lambda: counted().checks,
}
"""A healthy source of every kind, beside those that have nothing to look at."""
BARE: tuple[Callable[[], tuple[Check, ...]], ...] = (
    lambda: without_days().checks, lambda: clusters(1200).checks, lambda: live(at=0, change=lambda cells: {}).checks,
    lambda: live(at=2 * DAY_MS, days=2).checks, lambda: segments(APART, "  weights: equal\n").checks,
    lambda: nobody_else().checks,
)  # fmt: skip


def looks() -> str:
    """Which check looks at what, and what it says where it has nothing to look at, from the product's output."""
    seen = {name: {c.name: c for c in made()} for name, made in WHERE.items()}
    bare = [{c.name: c for c in made()} for made in BARE]
    lines = [f"| check | {' | '.join(WHERE)} | not checked because |", "|---|" + ":-:|" * len(WHERE) + "---|"]
    for name in CheckName:
        cells = ["yes" if found[name].checked else "–" for found in seen.values()]
        unseen = [c for c in (found[name] for found in (*seen.values(), *bare)) if not c.checked]
        why = dict.fromkeys(c.message.removeprefix("Not checked: ").rstrip(".") for c in unseen)
        lines.append(f"| {name} | {' | '.join(cells)} | {'; '.join(map(escape, why))} |")
    return "\n".join(lines)


def render() -> str:
    """The whole page."""
    head = ["| check | what it finds | when it speaks |", "|---|---|---|"]
    rows = [f"| [{name}](#{_anchor(name)}) | {one.finds} | {one.when} |" for name, one in CHECKS.items()]
    parts = [_INTRO, *head, *rows, "", _WHERE, looks(), "", *(_section(name) for name in CHECKS)]
    return "\n".join(parts).rstrip() + "\n"


def _section(check: str) -> str:
    lines = [f"## {check}", ""]
    for name, twin in PLANTED.items():
        if twin.check != check:
            continue
        (found,) = (c for c in told(twin.planted(), twin.row) if c.name == check)
        planted, clean = STORIES[name]
        lines += [f"**{name}** ({found.severity.value}). Planted: {planted}; clean: {clean}.", ""]
        lines += [f"> {escape(found.message)}", ""]
    return "\n".join(lines)


def _anchor(name: str) -> str:
    return name.replace(" ", "-")
