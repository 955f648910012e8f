"""What the demo calls right, wrong and undecided, for every verdict a report may reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from switchpoint.analysis.report.report import Report
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.registry.decision import VerdictKind
from switchpoint.experiment.store.artifacts import Artifacts
from switchpoint.experiment.store.memory import MemoryLedger, MemoryRecords
from switchpoint.router.demo.plan import DemoPlan
from switchpoint.router.demo.training import train
from switchpoint.router.demo.truth import judge
from tests.router.demo.offline import run_offline

Judge = Callable[..., bool | None]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report of a run far too small for a verdict."""
    folder = tmp_path_factory.mktemp("small")
    plan = DemoPlan(shoppers=300)
    return run_offline(plan, Catalog(MemoryRecords()), MemoryLedger(), Artifacts(folder)).look.report


@pytest.fixture(scope="module")
def say(small: Report) -> Judge:
    """Judges the small run with another verdict, another number of units needed, or as an A/A run."""
    trained = train(DemoPlan(shoppers=300))

    def judged(
        kind: VerdictKind, variant: str | None = None, *, needed: int | None = None, aa: bool = False
    ) -> bool | None:
        report = replace(small, verdict=replace(small.verdict, kind=kind, variant=variant))
        if needed is not None:
            report = _needing(report, needed)
        treatment = trained.control if aa else trained.treatment
        return judge(trained.world, trained.control.score, treatment.score, report).right

    return judged


def _needing(report: Report, units: int) -> Report:
    metrics = []
    for metric in report.matured.metrics:
        comparisons = tuple(
            replace(c, sufficiency=replace(c.sufficiency, n_needed=units)) if c.sufficiency else c
            for c in metric.comparisons
        )
        metrics.append(replace(metric, comparisons=comparisons))
    return replace(report, matured=replace(report.matured, metrics=tuple(metrics)))


@pytest.mark.parametrize(
    "kind", [VerdictKind.CONTINUE, VerdictKind.INVALID, VerdictKind.STOP, VerdictKind.ROLLBACK]
)
def test_a_verdict_that_claims_nothing_about_the_primary_effect_is_undecided(
    say: Judge, kind: VerdictKind
) -> None:
    assert say(kind) is None


def test_only_promoting_the_better_variant_is_right(say: Judge) -> None:
    assert say(VerdictKind.PROMOTE, "treatment") is True
    assert say(VerdictKind.PROMOTE, "control") is False


def test_keeping_control_is_wrong_only_with_the_units_to_see_the_difference(say: Judge) -> None:
    """The true lift of this world, about a third, is three times the smallest that matters."""
    assert say(VerdictKind.KEEP) is None
    assert say(VerdictKind.KEEP, needed=1) is False


def test_without_a_true_difference_only_a_promotion_is_wrong(say: Judge) -> None:
    assert say(VerdictKind.PROMOTE, "treatment", aa=True) is False
    assert say(VerdictKind.KEEP, aa=True) is True
    assert say(VerdictKind.CONTINUE, aa=True) is True
    assert say(VerdictKind.INVALID, aa=True) is None
