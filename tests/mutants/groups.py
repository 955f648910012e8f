"""What is mutated, and which tests have to notice: the files whose faults would be wrong verdicts or lost events."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Mutant:
    """One fault, by what it changes: names of the tool move with every edit of a function, this does not."""

    file: str
    function: str
    was: str
    now: str


@dataclass(frozen=True, slots=True)
class Group:
    """Files (glob patterns) and the tests that belong to them; all of them run in one process, so no test of the
    command line by subprocess is among them."""

    files: tuple[str, ...]
    tests: tuple[str, ...]


LUA = "lua"
"""The group that tests.mutants.lua mutates: the tool of the others knows Python only."""

DIRECT = (
    "concurrent", "readings", "words_of_rows", "words_of_gates", "words_of_comparisons", "words_of_others",
    "checks", "days", "overlap", "allocation", "canary", "sample_ratio", "sensitivity",
)  # fmt: skip
"""Tests of single checks: they make no table first."""

GROUPS = {
    "rule": Group(
        files=(
            "analysis/judgement/rule.py", "analysis/judgement/verdict.py", "analysis/judgement/verdicts.py",
            "analysis/results/sentences.py",
        ),
        tests=tuple(
            f"tests/analysis/judgement/test_{name}.py"
            for name in ("rule", "verdict", "verdicts", "sentences", "told", "columnar")
        ),
    ),
    "guards": Group(
        files=("analysis/judgement/comparisons.py", "analysis/evidence/event_gate.py"),
        tests=(
            "tests/analysis/judgement/test_comparisons.py",
            *(
                f"tests/analysis/{name}"
                for name in (
                    "test_ledger.py::test_a_variant_with_a_new_model_waits_and_does_not_hold_the_other_back",
                    "test_ledger.py::test_the_minimum_runtime_of_a_new_model_ends_with_its_last_day",
                    "test_looks.py::test_a_bayesian_verdict_is_its_probability_and_its_credible_interval",
                )
            ),
            *(
                f"tests/analysis/evidence/test_event_gate.py::{name}"
                for name in (
                    "test_what_is_counted_follows_from_the_metric",
                    "test_events_of_the_smaller_variant_are_expected_from_both",
                    "test_the_rarer_outcome_of_a_ratio_is_counted_where_events_are_a_part_of_chances",
                    "test_every_place_is_judged_by_its_own_units",
                    "test_a_ratio_of_a_count_to_an_amount_has_no_other_outcome",
                    "test_events_are_summed_over_the_strata_of_the_pair",
                    "test_an_unlucky_canary_is_not_judged_however_sure_its_interval_looks",
                )
            ),
        ),
    ),
    "estimates": Group(
        files=("analysis/evidence/pairs.py",),
        tests=("tests/analysis/evidence/test_pairs.py", "tests/analysis/evidence/test_pairs_oracles.py"),
    ),
    "planning": Group(
        files=(
            "analysis/planning/*.py", "analysis/numerics/crossing.py", "analysis/inference/spending.py",
            "experiment/definition/looks.py",
        ),
        tests=(
            "tests/analysis/planning", "tests/analysis/numerics/test_crossing.py",
            "tests/analysis/inference/test_spending.py", "tests/experiment/definition/test_looks.py",
            "tests/oracles/test_oracles.py::test_the_cases_of_planning_agree",
        ),
    ),
    "validity": Group(
        files=("analysis/validity/[!er]*.py", "analysis/validity/rows.py", "analysis/inference/shares.py"),
        tests=(
            *(f"tests/analysis/validity/test_{name}.py" for name in DIRECT),
            "tests/analysis/inference/test_association.py", "tests/analysis/inference/test_shares.py",
        ),
    ),
    "checks": Group(
        files=("analysis/validity/run.py",),
        tests=("tests/analysis/validity/test_findings.py",),
    ),
    "fold": Group(
        files=("experiment/ledger/fold.py",),
        tests=("tests/experiment/ledger/test_fold.py", "tests/experiment/store/test_ledger.py"),
    ),
    LUA: Group(
        files=("experiment/store/redis/ledger*.lua",),
        tests=("tests/experiment/store/test_ledger.py", "tests/experiment/store/redis/test_ledger.py"),
    ),
    "assignment": Group(
        files=("experiment/assignment/assign.py",),
        tests=("tests/experiment/assignment/test_assignment.py",),
    ),
    "lifecycle": Group(
        files=("experiment/registry/lifecycle.py", "experiment/definition/state.py"),
        tests=("tests/experiment/registry/test_lifecycle.py",),
    ),
    "champion": Group(
        files=("experiment/registry/champion.py",),
        tests=("tests/experiment/registry/test_champion.py",),
    ),
    "spool": Group(
        files=("experiment/store/spool.py", "experiment/store/database.py"),
        tests=("tests/experiment/store/test_spool.py", "tests/experiment/store/test_spool_faults.py"),
    ),
    "recorder": Group(files=("router/recording/recorder.py",), tests=("tests/router/recording/test_recorder.py",)),
    "client": Group(
        files=("router/client/*.py",),
        tests=(
            "tests/router/client/test_values.py", "tests/router/client/test_messages.py",
            "tests/router/client/test_calls.py", "tests/router/client/test_background.py",
            "tests/router/client/test_arguments.py", "tests/router/client/test_thread.py",
        ),
    ),
}  # fmt: skip
