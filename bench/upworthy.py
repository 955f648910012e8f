"""What half of the Upworthy archive says under one rule: writes docs/upworthy.md and its picture.

    python -m bench.upworthy ../shared/data/upworthy_exploratory_half_a.parquet

Every number of the page comes from this run: verdicts and intervals from `analyze` under
docs/examples/upworthy.yaml, the editor's choice from the archive's column `winner`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median, quantiles
from textwrap import fill

import numpy as np
import vl_convert

from bench.upworthy_chart import picture
from bench.upworthy_tests import Share, Test, read, share
from switchpoint.analysis.report.report import BatchReport
from switchpoint.analysis.results.judgement import Severity
from switchpoint.experiment.registry.decision import VerdictKind

PAGE, PICTURE = Path("docs/upworthy.md"), Path("docs/images/upworthy.svg")


def agreement(tests: Sequence[Test]) -> list[tuple[str, Share]]:
    """The editor's choice against the rule's winner, from both sides."""
    won = [t for t in tests if t.winner is not None]
    chosen = [t for t in tests if t.editor]
    both = [t for t in won if t.editor]
    return [
        ("tests with a winner by the rule", share(tests, lambda t: t.winner is not None)),
        ("tests in which the editor chose a winner", share(tests, lambda t: t.editor)),
        ("of the rule's winners: the editor chose one at all", share(won, lambda t: t.editor)),
        ("… and where both chose: the same one", share(both, lambda t: t.winner in t.editor)),
        ("of the editor's choices: the rule has a winner", share(chosen, lambda t: t.winner is not None)),
        ("of the editor's choices: had the highest CTR of their test", share(chosen, _highest)),
        ("of the rule's winners: had the highest CTR of their test", share(won, _winner_highest)),
    ]


def _highest(test: Test) -> bool:
    return any(test.rates[int(one) - 1] == max(test.rates) for one in test.editor)


def _winner_highest(test: Test) -> bool:
    return test.rates[int(test.winner or "1") - 1] == max(test.rates)


def chance(tests: Sequence[Test]) -> float:
    """How often a choice at random would agree, over the tests in which both chose."""
    both = [t for t in tests if t.winner is not None and t.editor]
    return float(np.mean([1 / len(t.rates) for t in both])) if both else 0.0


def page(found: BatchReport, tests: Sequence[Test]) -> str:
    """The analysis as Markdown."""
    judged = [t for t in tests if t.judged]
    clean = [t for t in judged if t.period != "inside"]
    inside = [t for t in judged if t.period == "inside"]
    parts = (
        _opening(found, tests), _validity(tests, inside), _winners(clean, inside), _editors(clean),
        _sufficiency(clean), _caveats(clean),
    )  # fmt: skip
    return "\n\n".join(block for part in parts for block in part) + "\n"


def _text(words: str) -> str:
    """A paragraph, wrapped."""
    return fill(" ".join(words.split()), 112, break_long_words=False, break_on_hyphens=False)


def _table(head: str, rows: Iterable[tuple[str, Share]]) -> str:
    return "\n".join([f"| {head} | |", "|---|--:|", *(f"| {name} | {found} |" for name, found in rows)])


def _opening(found: BatchReport, tests: Sequence[Test]) -> list[str]:
    rule, units = found.header, sum(t.row.n for t in tests)
    return [
        f"# What {len(tests):,} headline tests say",
        _text(
            f"""
            The exploratory half *a* of the Upworthy Research Archive (Matias, Munger, Aubin Le
            Quere, Ebersole 2021, doi 10.1038/s41597-021-00934-7, CC BY 4.0): every test showed
            2 to 12 headlines or images to random visitors, {units:,} of them in all. One rule
            judges every test, in one pass. Every number of this page comes from one command:
            """
        ),
        "```console\n$ python -m bench.upworthy upworthy_exploratory_half_a.parquet\n```",
        _text(
            f"""
            The rule (docs/examples/upworthy.yaml) reads the click-through rate with the
            {rule.design} design at alpha {rule.alpha:g}, Holm over the variants of a test, an
            MDE of {rule.mde:.0%} and a power of {rule.power:g}. The archive names no control,
            so each test's first row stands for it. Brackets are 95 % intervals (Wilson).
            """
        ),
        "![Broken sample ratios, and winners by how much data a test had](images/upworthy.svg)",
    ]


def _validity(tests: Sequence[Test], inside: Sequence[Test]) -> list[str]:
    names = {
        "before": "before 25 June 2013", "inside": "25 June 2013 to 10 January 2014",
        "after": "after 10 January 2014",
    }  # fmt: skip
    rows = [
        (name, share((t for t in tests if t.period == period), lambda t: t.row.srm is Severity.INVALID))
        for period, name in names.items()
    ]
    return [
        "## Which tests may be judged",
        _text(
            """
            Visitors should split equally over the variants. The archive's authors reported that
            randomisation was broken from 25 June 2013 to 10 January 2014. A chi-square test of
            the counts against an equal split (p < .001) finds that window:
            """
        ),
        _table("units do not split as intended, by the test's first week", rows),
        _text(
            f"""
            {sum(not t.judged for t in tests):,} tests get the verdict *invalid* and no winner.
            Another {len(inside):,} tests inside the window split as intended, but a time in
            which most tests were broken earns no trust: the rest of this page leaves them out.
            """
        ),
    ]


def _winners(clean: Sequence[Test], inside: Sequence[Test]) -> list[str]:
    kinds = (VerdictKind.PROMOTE, VerdictKind.KEEP, VerdictKind.STOP, VerdictKind.CONTINUE)
    won = [t for t in clean if t.winner is not None]
    first = sum(t.winner == "1" for t in won)
    low, mid, high = quantiles([t.row.lift or 0.0 for t in won if t.row.promoted], n=4)
    sure = sum(t.row.p is not None and t.row.p < 0.001 for t in won)
    comparisons = sum(len(t.rates) - 1 for t in clean)
    return [
        "## How many had a true winner",
        _table("verdict, outside the window", [(k.value, share(clean, _verdict(k))) for k in kinds]),
        _text(
            f"""
            **{share(clean, _won)}** of the tests have a true winner by the rule:
            {len(won) - first:,} promote another variant than the first, and in {first:,} the
            first beats every other one. If no headline made any difference, at most 5 % of the
            tests, about {0.05 * len(clean):.0f}, would show a difference, most of them with
            data too few to be called; {sure:,} of the winners have p < .001 before Holm, where
            all {comparisons:,} comparisons together would give {0.001 * comparisons:.0f} by
            chance. Inside the window, where it cannot be trusted, {share(inside, _won)} would
            have one.
            """
        ),
        _text(
            f"""
            The promoted variants lead by {mid:.0%} (median; half of them between {low:.0%} and
            {high:.0%}). They were selected for being large, so these lifts are too large: the
            winner's curse. Without asking for the units first, {share(clean, _ahead)} have a best
            variant with p < .05 after Holm.
            """
        ),
    ]


def _ahead(test: Test) -> bool:
    """The best variant is better than the first with p < .05 after Bonferroni, Holm's first step."""
    p, lift = test.row.p, test.row.lift
    return p is not None and lift is not None and lift > 0 and p * (len(test.rates) - 1) < 0.05


def _won(test: Test) -> bool:
    return test.winner is not None


def _verdict(kind: VerdictKind) -> Callable[[Test], bool]:
    return lambda test: test.row.verdict is kind


def _editors(clean: Sequence[Test]) -> list[str]:
    both = [t for t in clean if t.winner is not None and t.editor]
    chosen = [t for t in clean if t.editor]
    without = [t for t in chosen if t.winner is None]
    short = sum((t.information or 0.0) < 1 for t in without)
    return [
        "## Does the editor's `winner` agree",
        "An editor could mark a winner after a test. Against the rule, outside the window:",
        _table("", agreement(clean)),
        _text(
            f"""
            Where both chose, a choice at random would agree in {chance(clean):.1%} of the
            tests; the editor agrees in {share(both, lambda t: t.winner in t.editor)}. Both take
            a high rate; they differ in when to speak. In
            {share(chosen, lambda t: t.winner is None)} of the tests with an editor's choice the
            data show no winner, and {short:,} of these {len(without):,} had fewer units than
            the rule asks for.
            """
        ),
    ]


def _sufficiency(clean: Sequence[Test]) -> list[str]:
    known = [t for t in clean if t.information is not None]
    filled = sorted(t.information or 0.0 for t in known)
    parts, mde = quantiles(filled, n=10), 0.5
    enough = [t for t in known if (t.information or 0.0) >= 1]
    less = [t for t in known if (t.information or 0.0) < 1]
    return [
        "## Was there enough data",
        _text(
            """
            Every test is asked how many units the comparison of its best variant with the first
            needs for the MDE at the rule's power, given its own rate:
            """
        ),
        _table(
            "",
            [
                ("tests with the units they need", share(known, lambda t: (t.information or 0.0) >= 1)),
                ("of these: with a winner", share(enough, _won)),
                ("of the others: with a winner", share(less, _won)),
            ],
        ),
        _text(
            f"""
            The median test has {median(filled):.0%} of the units it needs (one in ten less than
            {parts[0]:.0%}, one in ten more than {parts[-1]:.0%}): it would show a lift of
            {mde / median(filled) ** 0.5:.0%} with the rule's power. An MDE of 10 % would take
            {(mde / 0.1) ** 2:.0f} times the units, which
            {share(known, lambda t: (t.information or 0.0) >= (mde / 0.1) ** 2)} of the tests
            have.
            """
        ),
    ]


def _caveats(clean: Sequence[Test]) -> list[str]:
    sizes = [len(t.rates) for t in clean]
    most = f"A test has {min(sizes)} to {max(sizes)} variants, {np.mean(sizes):.1f} on average."
    points = (
        f"{most} Headline and image often change together, so a winner is a package, not a headline.",
        "A test counts for the week it started in. Days are not recorded: no novelty, no weekdays.",
        "The first row as control is our choice. The rule asks what beats it, not which of many is best.",
        "The editor knew more than the click-through rate. Disagreement is no reproach.",
        "This half was split off for exploration: nothing here confirms a hypothesis.",
    )
    bullets = (fill(p, 112, initial_indent="- ", subsequent_indent="  ") for p in points)
    return ["## What to keep in mind", "\n".join(bullets)]


def main() -> int:
    """Write the page and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="upworthy_exploratory_half_a.parquet")
    found, tests = read(parser.parse_args().file)
    PAGE.write_text(page(found, tests), encoding="utf-8")
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(vl_convert.vegalite_to_svg(picture(tests)), encoding="utf-8")
    print(f"wrote {PAGE} and {PICTURE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
