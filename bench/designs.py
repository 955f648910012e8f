"""Which design should decide a promotion? Measures them on the same simulated experiments and prints tables.

    python -m bench.designs [--runs 10000] [--seed 1] [--json]

5 % conversion, MDE 10 %, a split of 50/50, traffic that brings the units of the fixed design in 28 days;
every run is read by every design with the estimators of a report. Units are multiples of the fixed design's.
Overrun: nothing was found at the end of the plan, and the test is read on, every day, until twice the fixed
design's units. The second table is about harm: a guardrail that is worse, watched from the first day. The
third one runs the whole rule: gates, minimum runtime of 14 days, a guardrail of 3 % with a margin of 20 %.
A Bayesian rule promises no error rate; its rows show the one it has when it is read daily. The fourth asks
whether rules with a large relative MDE have the power they were given.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence import pairs as estimates
from switchpoint.analysis.inference import contrast
from switchpoint.analysis.inference.contrast import Contrast
from switchpoint.analysis.inference.sequential import boundary, mixing_units
from switchpoint.analysis.inference.spending import spending_bounds
from switchpoint.analysis.judgement.verdicts import flat
from switchpoint.analysis.numerics.crossing import fixed_drift
from switchpoint.analysis.numerics.estimates import Alternative
from switchpoint.analysis.numerics.rates import Rate, rate
from switchpoint.analysis.planning.cost import looks_cost, sequential_cost
from switchpoint.analysis.simulation import runs as draw
from switchpoint.analysis.simulation.operating import Operating, fixed_units, operating
from switchpoint.analysis.simulation.runs import Baseline, Scenario, World
from switchpoint.experiment.definition.types import WEAK_LIFT, Design, Experiment, Size, Spending
from switchpoint.experiment.language.experiment import load

FIXED_DAYS, HORIZON, ALPHA, POWER, MDE = 28, 56, 0.05, 0.8, 0.1
RATE = 0.05
FIRST_LOOK = 7
_DEFINITION = """\
key: study
hypothesis: A study of designs.
owner: bench
unit: unit
model: m
variants: [{key: control, model: m@1}, {key: treatment, model: m@2}]
segments: [{key: all, traffic: 100%, allocation: {control: 0.5, treatment: 0.5}}]
metrics:
  - {key: rate, type: proportion, event: e, role: primary}
  - {key: errors, type: proportion, event: f, role: guardrail, direction: decrease, margin: 20%}
window: 1d
decision: {design: fixed, alpha: 0.05, power: 0.8, mde: 10%, min_runtime: 14d, max_runtime: 56d}
"""
Looks = NDArray[np.int64]
Z = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A way to read a test: |Z| to pass on each look day; `after`: by day, for reading on past the plan."""

    name: str
    days: Looks
    bounds: Z
    after: Z


@dataclass(frozen=True, kw_only=True)
class Row:
    """One design. Shares of runs, and units as multiples of the fixed design's."""

    design: str
    looks: int
    false_positive: Rate
    false_promotion: Rate
    power: Rate
    mean_null: float
    mean_mde: float
    maximum: float
    overrun_false_positive: Rate


@dataclass(frozen=True, kw_only=True)
class Harm:
    """A guardrail that is worse: share found within 28 days, and days until then (28 where not found)."""

    design: str
    harm: float
    found: Rate
    mean_days: float


def plans(fixed: float) -> tuple[Plan, ...]:
    """The designs compared; `fixed`: units of the fixed design in 28 days."""
    every = np.arange(1, HORIZON + 1)
    z = np.full(HORIZON, 1.959964)
    cost = sequential_cost(ALPHA, POWER)
    last = int(np.ceil(FIXED_DAYS * cost))
    k = float(mixing_units(cost * fixed, ALPHA))
    sequence = boundary(every * fixed / FIXED_DAYS, ALPHA, k)
    daily = every[FIRST_LOOK - 1 :]
    return (
        Plan(name="fixed, one look", days=np.array([FIXED_DAYS]), bounds=z[:1], after=z),
        Plan(
            name="fixed, read daily",
            days=daily[daily <= FIXED_DAYS],
            bounds=z[daily[daily <= FIXED_DAYS] - 1],
            after=z,
        ),
        Plan(
            name="sequential, daily",
            days=daily[daily <= last],
            bounds=sequence[daily[daily <= last] - 1],
            after=sequence,
        ),
        group_sequential("group sequential, weekly", 7, Spending.OBRIEN_FLEMING),
        group_sequential("group sequential, weekly, Pocock", 7, Spending.POCOCK),
        group_sequential("group sequential, daily", 1, Spending.OBRIEN_FLEMING),
        group_sequential(
            "group sequential, weekly, read on at its last bound", 7, Spending.OBRIEN_FLEMING, naive=True
        ),
        bayesian(WEAK_LIFT),
        bayesian(0.05),
    )


def bayesian(sd: float) -> Plan:
    """P(better) above 97.5 % under a prior N(0, sd²) of the lift, read daily: the Z that takes, by day."""
    error = (
        MDE
        / fixed_drift(ALPHA, POWER, Alternative.TWO_SIDED)
        * np.sqrt(FIXED_DAYS / np.arange(1, HORIZON + 1))
    )
    z = 1.959964 * np.sqrt(1 + np.square(error / sd))
    days = np.arange(FIRST_LOOK, FIXED_DAYS + 1)
    return Plan(name=f"bayesian, prior sd {sd:.0%}, daily", days=days, bounds=z[days - 1], after=z)


def group_sequential(name: str, every: int, spending: Spending, *, naive: bool = False) -> Plan:
    """Looks from day 7 on, the last one on the day that brings the plan's units; then nothing is left."""
    count = len(range(FIRST_LOOK, FIXED_DAYS, every)) + 1
    last = int(np.ceil(FIXED_DAYS * looks_cost(count, alpha=ALPHA, power=POWER, spending=spending) - 0.5))
    days = np.array([*range(FIRST_LOOK, last, every), last])
    bounds = spending_bounds(days / last, alpha=ALPHA, spending=spending).z
    after = np.full(HORIZON, bounds[-1] if naive else np.inf)
    return Plan(name=name, days=days, bounds=bounds, after=after)


def experiment() -> tuple[Experiment, World, float]:
    """The definition, its world and the units of the fixed design."""
    definition = load(_DEFINITION)
    world = World(
        per_day=1.0, shares=(1.0,), baselines={"rate": Baseline(mean=RATE), "errors": Baseline(mean=0.03)}
    )
    fixed = fixed_units(definition, world)
    return definition, replace(world, per_day=fixed / FIXED_DAYS), fixed


def comparisons(effect: float, runs: int, rng: np.random.Generator) -> Contrast:
    """Effect and standard error of every run at the end of every day, as a report has them: (runs, days)."""
    definition, world, _ = experiment()
    metric = definition.primary
    n = draw.arrivals(definition, world, days=HORIZON, runs=runs, rng=rng)
    mean = draw.means(metric, definition, world, Scenario.NO_EFFECT) * np.array([1.0, 1.0 + effect])
    found = estimates.pairs(metric, flat(draw.totals(metric, n, mean, world.baselines["rate"], rng)))
    return found.contrast


def statistics(effect: float, runs: int, rng: np.random.Generator) -> Z:
    """Z of every run at the end of every day: (runs, days)."""
    found = contrast.effect(comparisons(effect, runs, rng), alpha=ALPHA)
    return np.asarray(found.statistic.reshape(runs, HORIZON), dtype=np.float64)


def stop(plan: Plan, z: Z) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Looks]:
    """Whether each run ends with a result, whether it is upward, and the day it ends."""
    at = z[:, plan.days - 1]
    passed = np.abs(at) > plan.bounds
    hit = np.asarray(passed.any(axis=1))
    first = np.where(hit, passed.argmax(axis=1), len(plan.days) - 1)
    return hit, hit & (at[np.arange(len(z)), first] > 0), plan.days[first]


def row(plan: Plan, null: Z, mde: Z) -> Row:
    """Measure one design on runs without effect and with the effect of the MDE."""
    wrong, up, ended = stop(plan, null)
    _, found, ended_mde = stop(plan, mde)
    later = slice(int(plan.days[-1]), HORIZON)
    overrun = wrong | (np.abs(null[:, later]) > plan.after[later]).any(axis=1)
    return Row(
        design=plan.name, looks=len(plan.days), false_positive=rate(wrong), false_promotion=rate(up),
        power=rate(found), mean_null=float(ended.mean()) / FIXED_DAYS,
        mean_mde=float(ended_mde.mean()) / FIXED_DAYS, maximum=float(plan.days[-1]) / FIXED_DAYS,
        overrun_false_positive=rate(overrun),
    )  # fmt: skip


def harms(runs: int, rng: np.random.Generator, fixed: float) -> list[Harm]:
    """How soon a worse guardrail is seen by a sequence read daily and by a plan read weekly."""
    every = np.arange(1, HORIZON + 1)
    k = float(mixing_units(sequential_cost(ALPHA, POWER) * fixed, ALPHA))
    days = every[:FIXED_DAYS]
    watched = Plan(
        name="sequential, daily",
        days=days,
        bounds=boundary(days * fixed / FIXED_DAYS, ALPHA, k),
        after=np.full(HORIZON, np.inf),
    )
    weekly = group_sequential("group sequential, weekly", 7, Spending.OBRIEN_FLEMING)
    weekly = replace(weekly, days=np.array([7, 14, 21, 28]), bounds=weekly.bounds[:4])
    found = []
    for harm in (0.1, 0.2, 0.4):
        z = statistics(-harm, runs, rng)
        for plan in (watched, weekly):
            hit, up, ended = stop(plan, z)
            found.append(
                Harm(
                    design=plan.name,
                    harm=harm,
                    found=rate(hit & ~up),
                    mean_days=float(np.where(hit, ended, FIXED_DAYS).mean()),
                )
            )
    return found


def text(found: Rate) -> str:
    """A rate with its Monte Carlo error, in per cent."""
    assert found.share is not None
    assert found.error is not None
    return f"{found.share:.1%} ± {found.error:.1%}"


def rules(runs: int, seed: int) -> list[Operating]:
    """The whole rule under each design: what a team would live with."""
    definition, world, _ = experiment()
    found = []
    for design in (Design.FIXED, Design.SEQUENTIAL, Design.GROUP_SEQUENTIAL, Design.BAYESIAN):
        rule = replace(definition.decision, design=design)
        rng = np.random.default_rng(seed)
        found.append(operating(replace(definition, decision=rule), world, rng=rng, runs=runs))
    return found


def sizes(runs: int, seed: int) -> list[tuple[float, Operating]]:
    """Rules without guardrails whose MDE is relative and large: is the power what was asked for?"""
    base, found = experiment()[0], []
    for mde, baseline in ((0.1, 0.1), (0.3, 0.05), (0.5, 0.01)):
        for design in (Design.FIXED, Design.GROUP_SEQUENTIAL, Design.SEQUENTIAL):
            rule = replace(
                base.decision, design=design, mde=Size(value=mde, relative=True), min_runtime_days=7,
                max_runtime_days=90,
            )  # fmt: skip
            own = replace(base, decision=rule, metrics=base.metrics[:1])
            world = World(per_day=1.0, shares=(1.0,), baselines={"rate": Baseline(mean=baseline)})
            world = replace(world, per_day=fixed_units(own, world) / FIXED_DAYS)
            found.append((baseline, operating(own, world, rng=np.random.default_rng(seed), runs=runs)))
    return found


DESIGN_COLUMNS = (
    "design", "looks", "false positive", "false promotion", "power", "units, no effect", "units, MDE",
    "maximum", "false positive when read on to 2×",
)  # fmt: skip
HARM_COLUMNS = ("guardrail worse by", "watched by", "found within 28 days", "days until found")
SIZE_COLUMNS = (
    "MDE, rate", "design", "false promotion", "power", "days, no effect", "days, MDE",
)  # fmt: skip
RULE_COLUMNS = ("design", "what is true", "promotes", "keeps control", "rolls back", "days, mean", "longest")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows)]


def markdown(found: Study) -> str:
    """The tables for the decision record."""
    designs = [
        (
            r.design, str(r.looks), text(r.false_positive), text(r.false_promotion), text(r.power),
            f"{r.mean_null:.2f}", f"{r.mean_mde:.2f}", f"{r.maximum:.2f}", text(r.overrun_false_positive),
        )
        for r in found.rows
    ]  # fmt: skip
    harm = [(f"{h.harm:.0%}", h.design, text(h.found), f"{h.mean_days:.1f}") for h in found.harm]
    rules = [
        (
            one.design.replace("_", " "), c.scenario.value, text(c.promoted), text(c.kept),
            text(c.rolled_back), f"{c.mean_days:.1f}", f"{c.longest_days:.0f}",
        )
        for one in found.rules
        for c in one.scenarios
    ]  # fmt: skip
    sizes = [
        (
            f"{one.mde:.0%}, {baseline:.0%}", one.design.replace("_", " "),
            text(one.scenarios[0].promoted), text(one.scenarios[1].promoted),
            f"{one.scenarios[0].mean_days:.1f}", f"{one.scenarios[1].mean_days:.1f}",
        )
        for baseline, one in found.sizes
    ]  # fmt: skip
    parts = (
        table(DESIGN_COLUMNS, designs), table(HARM_COLUMNS, harm), table(RULE_COLUMNS, rules),
        table(SIZE_COLUMNS, sizes),
    )  # fmt: skip
    return "\n\n".join("\n".join(part) for part in parts)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that was measured."""

    runs: int
    seed: int
    fixed_units: int
    rows: list[Row]
    harm: list[Harm]
    rules: list[Operating]
    sizes: list[tuple[float, Operating]]


def study(runs: int, seed: int) -> Study:
    """All figures of the study; the whole rule with a quarter of the runs."""
    rng = np.random.default_rng(seed)
    _, _, fixed = experiment()
    null, mde = statistics(0.0, runs, rng), statistics(MDE, runs, rng)
    rows = [row(plan, null, mde) for plan in plans(fixed)]
    return Study(
        runs=runs, seed=seed, fixed_units=round(fixed), rows=rows, harm=harms(runs, rng, fixed),
        rules=rules(max(runs // 4, 100), seed), sizes=sizes(max(runs // 4, 100), seed),
    )  # fmt: skip


def main() -> int:
    """Print the study; 0 unless a design that promises alpha exceeds it by more than chance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    begin = time.perf_counter()
    found = study(chosen.runs, chosen.seed)
    if chosen.json:
        print(json.dumps(asdict(found), indent=2))
    else:
        seconds = time.perf_counter() - begin
        print(
            f"{found.runs:,} runs, seed {found.seed}, fixed design of {found.fixed_units:,}, {seconds:.0f} s"
        )
        print(f"\n{markdown(found)}")
    promised = [r for r in found.rows if not r.design.startswith(("fixed, read daily", "bayesian"))]
    return int(any(r.false_positive.above(ALPHA, significance=1e-3) for r in promised))


if __name__ == "__main__":
    sys.exit(main())
