"""Assignment: golden vectors of the official SDK, shares, first match, ramps, and who is not enrolled."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchpoint.experiment.assignment import assign as assignment
from switchpoint.experiment.assignment.assign import Reason
from switchpoint.experiment.assignment.hashing import bucketer, fnv1a32, hash_bucket, hash_unit
from switchpoint.experiment.definition.types import BUCKETS, Experiment, ModelRef
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.language import experiment as parsing
from switchpoint.experiment.registry import lifecycle
from tests.experiment.definitions import DESIGN_EXAMPLE, digests, experiment, minimal, running

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "assignment.json").read_text())

texts = st.text(max_size=40)


def test_buckets_are_those_of_the_official_sdk() -> None:
    for seed, unit, expected in GOLDEN["buckets"]:
        assert hash_bucket(seed, unit) / BUCKETS == expected, (seed, unit)
        assert bucketer(seed)(unit) / BUCKETS == expected, (seed, unit)


def test_assignments_are_those_of_the_official_sdk() -> None:
    compiled = assignment.compile(running(parsing.load(GOLDEN["definition"])))
    for unit, attributes, expected in GOLDEN["assignments"]:
        found = compiled.assign(unit, attributes)
        assert (found.variant if found.enrolled else None) == expected, (unit, attributes)


def test_hash_rows_of_the_conformance_file(shared: Path) -> None:
    rows = json.loads((shared / "data" / "growthbook_cases.json").read_text())["hash"]
    assert len(rows) == 15
    for seed, value, version, expected in rows:
        assert hash_unit(seed, value, version) == expected


def test_published_fnv_vectors() -> None:
    """Vectors of the FNV authors' test suite (draft-eastlake-fnv, 32-bit FNV-1a)."""
    assert [fnv1a32(text) for text in ("", "a", "b", "foobar")] == [
        0x811C9DC5,
        0xE40C292C,
        0xE70C2DE5,
        0xBF9CF968,
    ]


@given(texts, st.text(min_size=1, max_size=300))
def test_the_quick_bucketer_equals_the_plain_hash(seed: str, unit: str) -> None:
    assert bucketer(seed)(unit) == hash_bucket(seed, unit)


def test_the_quick_digits_equal_the_plain_hash_on_short_inner_hashes() -> None:
    """Inner hashes below a million have no leading digits; found by search over small ids."""
    seed = "s"
    small = [str(n) for n in range(200_000) if fnv1a32(seed + str(n)) < 1_000_000]
    assert small
    assert all(bucketer(seed)(unit) == hash_bucket(seed, unit) for unit in small)


@st.composite
def definitions(draw: st.DrawFn) -> Experiment:
    """Two to four variants, one to three segments by country, the last possibly without condition."""
    keys = ["control", "a", "b", "c"][: draw(st.integers(2, 4))]
    segments = []
    count = draw(st.integers(1, 3))
    for index in range(count):
        cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=len(keys) - 1, max_size=len(keys) - 1)))
        parts = [b - a for a, b in zip([0, *cuts], [*cuts, 100], strict=True)]
        segment = {
            "key": f"s{index}",
            "traffic": f"{draw(st.integers(1, 100))}%",
            "allocation": {key: part / 100 for key, part in zip(keys, parts, strict=True)},
        }
        if index < count - 1 or draw(st.booleans()):
            segment["when"] = {"country": "ABC"[index]}
        segments.append(segment)
    variants = [{"key": key, "model": f"ranker@{n}"} for n, key in enumerate(keys, 1)]
    layer = draw(st.sampled_from([None, {"key": "l", "slice": [0.2, 0.7]}]))
    return experiment(variants=variants, segments=segments, layer=layer)


@settings(max_examples=60, deadline=None)
@given(definitions(), st.sampled_from(["A", "B", "C", "D"]))
def test_every_bucket_goes_to_the_first_match_in_exact_shares(definition: Experiment, country: str) -> None:
    """By enumeration of all 10,000 buckets: widths are floor(traffic·weight), the rest is TRAFFIC."""
    state = running(definition)
    epoch = state.epoch
    assert epoch is not None
    for segment in epoch.segments:
        found = assignment.outcomes(state, epoch, segment)
        counts = dict.fromkeys((variant.key for variant in definition.variants), 0)
        for bucket in range(BUCKETS):
            outcome = found.options[found.position[bucket]]
            assert outcome.segment == segment.key
            assert outcome.enrolled == (outcome.reason is not Reason.TRAFFIC)
            if outcome.enrolled:
                counts[outcome.variant] += 1
        expected = [segment.traffic * weight // BUCKETS for weight in segment.allocation]
        assert list(counts.values()) == expected
        assert found.options[found.position[BUCKETS]].reason is Reason.LAYER
    first = next((s for s in epoch.segments if s.when is None or s.when["country"] == country), None)
    routed = assignment.compile(state).assign("unit-1", {"country": country})
    assert routed.segment == (first.key if first else None)
    if first is None:
        assert routed.reason is Reason.DEFAULT


@settings(max_examples=60, deadline=None)
@given(definitions(), st.data())
def test_raising_traffic_moves_nobody_already_in(definition: Experiment, data: st.DataObject) -> None:
    state = running(definition)
    wider = {s.key: data.draw(st.integers(s.traffic, BUCKETS)) for s in definition.segments}
    if all(wider[s.key] == s.traffic for s in definition.segments):
        return
    ramped = lifecycle.ramp(state, wider, at=2, actor="ana")
    assert ramped.epoch is not None
    assert state.epoch is not None
    assert ramped.epoch.salt == state.epoch.salt
    for old, new in zip(state.epoch.segments, ramped.epoch.segments, strict=True):
        before = assignment.outcomes(state, state.epoch, old)
        after = assignment.outcomes(ramped, ramped.epoch, new)
        for bucket in range(BUCKETS):
            was = before.options[before.position[bucket]]
            if was.enrolled:
                assert after.options[after.position[bucket]].variant == was.variant


def test_hashed_units_come_in_the_intended_shares() -> None:
    """20,000 ids: each count within five standard deviations of its binomial expectation."""
    compiled = assignment.compile(running(parsing.load(DESIGN_EXAMPLE)))
    counts: dict[tuple[str | None, str | None], int] = {}
    units = 20_000
    for n in range(units):
        found = compiled.assign(f"u{n}", {"country": "DE"})
        key = (found.segment, found.variant if found.enrolled else None)
        counts[key] = counts.get(key, 0) + 1
    for share, variant in ((0.18, "control"), (0.02, "treatment"), (0.8, None)):
        sigma = (units * share * (1 - share)) ** 0.5
        assert abs(counts["rest", variant] - units * share) < 5 * sigma


def test_propensity_is_the_probability_given_enrolment() -> None:
    compiled = assignment.compile(running(parsing.load(DESIGN_EXAMPLE)))
    found = {compiled.assign(f"u{n}", {"country": "DE"}) for n in range(2_000)}
    assert {(a.variant, a.propensity, a.reason) for a in found} == {
        ("control", 0.9, Reason.SPLIT),
        ("treatment", 0.1, Reason.SPLIT),
        ("control", None, Reason.TRAFFIC),
    }
    assert {a.model for a in found if a.variant == "treatment"} == {ModelRef("ranker", 2)}


def test_a_segment_with_one_variant_is_targeting_not_a_split() -> None:
    aliased = [
        {"key": "us", "when": {"country": "US"}, "allocation": {"control": 1, "treatment": 0}},
        {"key": "ca", "when": {"country": "CA"}, "allocation": {"control": 0, "treatment": 1}},
    ]
    compiled = assignment.compile(running(experiment(segments=aliased)))
    found = compiled.assign("u1", {"country": "CA"})
    assert (found.variant, found.reason, found.propensity, found.enrolled) == (
        "treatment",
        Reason.TARGETING_MATCH,
        1.0,
        True,
    )


def test_shares_of_one_bucket_are_a_split() -> None:
    smallest = [{"key": "all", "traffic": "0.02%", "allocation": "equal"}]
    compiled = assignment.compile(running(experiment(segments=smallest)))
    for bucket, variant in ((0, "control"), (5_000, "treatment")):
        found = compiled.assign(unit_in("exp/1", bucket), {})
        assert (found.variant, found.propensity, found.reason) == (variant, 0.5, Reason.SPLIT)


def test_a_segment_without_traffic_routes_and_enrols_nobody() -> None:
    closed = lifecycle.ramp(running(experiment()), {"all": 0}, at=2, actor="ana")
    compiled = assignment.compile(closed)
    for unit in (unit_in("exp/1", 0), unit_in("exp/1", 5_000)):
        found = compiled.assign(unit, {})
        assert (found.segment, found.reason, found.propensity) == ("all", Reason.TRAFFIC, None)


def test_an_assignment_says_which_experiment_revision_and_epoch_it_is_of() -> None:
    """Whoever is enrolled, and whoever is not: events are joined by these."""
    state = lifecycle.ramp(running(parsing.load(DESIGN_EXAMPLE)), {"rest": 1_000}, at=2, actor="ana")
    rebuilt = {**digests(state.definition), "treatment": "sha256:new"}
    state = lifecycle.revise(state, state.definition, digests=rebuilt, at=3, actor="ana")
    assign = assignment.compile(state).assign
    found = [assign(f"u{n}", {"country": country}) for n in range(200) for country in ("US", "DE")]
    assert {a.reason for a in found} == {Reason.SPLIT, Reason.TRAFFIC}
    assert {(a.experiment, a.revision, a.epoch) for a in found} == {("home-ranker", 4, 2)}


def test_only_a_running_experiment_enrols() -> None:
    state = lifecycle.create(parsing.load(DESIGN_EXAMPLE), ordinal=1, at=0, actor="ana")
    started = running(state.definition)
    paused = lifecycle.pause(started, at=2, actor="ana")
    stopped = lifecycle.stop(paused, at=3, actor="ana")
    decided = lifecycle.decide(stopped, action="keep control", at=4, actor="ana")
    for each in (state, paused, stopped, decided):
        found = assignment.compile(each).assign("u1", {"country": "US"})
        assert (found.enrolled, found.reason, found.variant) == (False, Reason.DISABLED, "control")
        assert found.revision == each.revision
    assert (
        assignment.compile(lifecycle.resume(paused, at=4, actor="ana"))
        .assign("u1", {"country": "US"})
        .enrolled
    )


def test_layers_with_disjoint_slices_share_no_unit() -> None:
    low, high = (
        assignment.compile(running(experiment(key=key, layer={"key": "home", "slice": bounds})))
        for key, bounds in (("low", [0, 0.3]), ("high", [0.3, 1]))
    )
    for n in range(2_000):
        found = [low.assign(f"u{n}", {}), high.assign(f"u{n}", {})]
        assert [a.enrolled for a in found].count(True) == 1
        assert [a.reason for a in found if not a.enrolled] == [Reason.LAYER]


def unit_in(seed: str, bucket: int) -> str:
    """A unit that lies in this bucket."""
    return next(unit for unit in map(str, range(10**6)) if hash_bucket(seed, unit) == bucket)


@pytest.mark.parametrize(
    ("slice_", "inside", "outside"),
    [
        ([0.2, 0.7], (2_000, 6_999), (1_999, 7_000)),
        ([0, 0.3], (0, 2_999), (3_000, 9_999)),
        ([0.3, 1], (3_000, 9_999), (0, 2_999)),
        ([0.0001, 1], (1, 9_999), (0,)),
        ([0, 0.9999], (0, 9_998), (9_999,)),
    ],
)
def test_a_slice_holds_its_first_bucket_and_not_the_one_after_its_last(
    slice_: list[float], inside: tuple[int, ...], outside: tuple[int, ...]
) -> None:
    """Two layers' slices that touch share no bucket; `explain` says the same and with which numbers."""
    compiled = assignment.compile(running(experiment(layer={"key": "home", "slice": slice_})))
    start, end = (round(bound * BUCKETS) for bound in slice_)
    for bucket in (*inside, *outside):
        unit = unit_in("layer/home", bucket)
        found = compiled.assign(unit, {})
        assert found.enrolled is (bucket in inside)
        assert (found.reason is Reason.LAYER) is (bucket in outside)
        step = next(step for step in compiled.explain(unit, {}) if step.rule == "layer home")
        assert (step.passed, step.detail) == (bucket in inside, f"bucket {bucket}, slice [{start}, {end})")


def test_the_variants_ranges_hold_their_first_bucket_and_not_the_one_after_their_last() -> None:
    """60 % of a 50/50 split: control has [0, 3000), treatment [5000, 8000)."""
    sixty = [{"key": "all", "traffic": "60%", "allocation": "equal"}]
    compiled = assignment.compile(running(experiment(segments=sixty)))
    wanted = {
        0: "control",
        2_999: "control",
        3_000: None,
        4_999: None,
        5_000: "treatment",
        7_999: "treatment",
        8_000: None,
    }
    for bucket, variant in wanted.items():
        unit = unit_in("exp/1", bucket)
        found = compiled.assign(unit, {})
        assert (found.variant if found.enrolled else None) == variant
        step = compiled.explain(unit, {})[-2]
        assert (step.rule, step.passed) == ("traffic all", variant is not None)
        assert step.detail == (f"bucket {bucket} of salt 'exp/1'; control [0, 3000), treatment [5000, 8000)")


def test_conditions_see_the_unit_under_its_name_and_the_unit_wins() -> None:
    staff = {
        "key": "staff",
        "when": {"user_id": {"$in": ["u1"]}},
        "allocation": {"control": 0, "treatment": 1},
    }
    compiled = assignment.compile(running(experiment(segments=[staff])))
    assert compiled.assign("u1", {"user_id": "somebody"}).variant == "treatment"
    assert compiled.assign("u2", {"user_id": "u1"}).reason is Reason.DEFAULT


@pytest.mark.parametrize("unit", ["", None, 7, 7.5, True, ["u"], b"u"])
@pytest.mark.parametrize("start", [True, False])
def test_units_that_are_not_text_are_refused(unit: object, start: bool) -> None:
    definition = experiment()
    state = running(definition) if start else lifecycle.create(definition, ordinal=1, at=0, actor="ana")
    with pytest.raises(BadInput) as caught:
        assignment.compile(state).assign(unit, {})  # type: ignore[arg-type]
    assert str(caught.value) == f"unit: {unit!r} is not a unit id. Fix: give a non-empty string."
    assert (caught.value.field, caught.value.value) == ("unit", unit)


def test_a_unit_of_a_kind_of_text_is_assigned_as_its_text() -> None:
    class Name(str):
        __slots__ = ()

    compiled = assignment.compile(running(experiment()))
    assert compiled.assign(Name("u1"), {}) == compiled.assign("u1", {})


def test_units_assigned_elsewhere_are_never_assigned_here() -> None:
    source = {"shape": "units", "variant": "arm", "columns": {"ctr": "clicked"}}
    definition = experiment(
        model=None, variants=[{"key": "control"}, {"key": "b"}], segments=None, source=source
    )
    found = assignment.compile(running(definition)).assign("u1", {})
    assert (found.enrolled, found.reason) == (False, Reason.DISABLED)


def test_explain_names_the_rules_in_order() -> None:
    state = running(parsing.load(DESIGN_EXAMPLE))
    steps = assignment.compile(state).explain("u1", {"country": "CA"})
    assert [step.rule for step in steps] == [
        "status",
        "layer home",
        "segment us",
        "segment ca",
        "traffic ca",
        "assignment",
    ]
    assert [step.passed for step in steps] == [True, True, False, True, True, True]
    paused = assignment.compile(lifecycle.pause(state, at=2, actor="ana"))
    assert [step.passed for step in paused.explain("u1", {})] == [False, False]


@settings(max_examples=60, deadline=None)
@given(definitions(), st.sampled_from(["A", "B", "C", "D"]), st.text("abc123", min_size=1, max_size=6))
def test_explain_tells_the_way_to_what_assign_says(definition: Experiment, country: str, unit: str) -> None:
    """Every rule asked with its answer, read back into the assignment it leads to."""
    compiled = assignment.compile(running(definition))
    found, steps = compiled.assign(unit, {"country": country}), compiled.explain(unit, {"country": country})
    answers = {step.rule: step.passed for step in steps}
    assert next(iter(answers)) == "status"
    assert answers.pop("status") is True
    assert answers.pop("assignment") is found.enrolled
    layer, asked = answers.pop("layer l", None), [s.key for s in definition.segments]
    assert (layer is None) == (definition.layer is None)
    traffic = {rule: passed for rule, passed in answers.items() if rule.startswith("traffic")}
    matched = [
        rule.removeprefix("segment ") for rule, passed in answers.items() if passed and rule not in traffic
    ]
    assert [rule for rule in answers if rule not in traffic] == [
        f"segment {key}" for key in asked[: asked.index(matched[0]) + 1 if matched else len(asked)]
    ]
    assert found.segment == (matched[0] if matched else None)
    assert list(traffic) == [f"traffic {key}" for key in matched]
    assert found.enrolled is (bool(matched) and layer is not False and traffic[f"traffic {matched[0]}"])
    chance = "" if found.propensity is None else f" with probability {found.propensity:g}"
    assert steps[-1].detail == f"{found.variant}{chance}: {found.reason}"
    if not matched:
        assert found.reason is Reason.DEFAULT


def test_explain_shows_the_conditions_and_sees_the_units_own_id() -> None:
    staff = {"key": "staff", "when": {"user_id": "u1"}, "allocation": {"control": 0, "treatment": 1}}
    compiled = assignment.compile(
        running(experiment(segments=[staff, {"key": "all", "allocation": "equal"}]))
    )
    first, second = compiled.explain("u1", {"user_id": "u9"}), compiled.explain("u9", {})
    assert [(s.rule, s.passed, s.detail) for s in first[:2]] == [
        ("status", True, "running, revision 2"), ("segment staff", True, "{'user_id': 'u1'}"),
    ]  # fmt: skip
    assert [(s.rule, s.passed, s.detail) for s in second[1:3]] == [
        ("segment staff", False, "{'user_id': 'u1'}"), ("segment all", True, "every unit"),
    ]  # fmt: skip
    with pytest.raises(BadInput, match="not a unit id"):
        compiled.explain("", {})
    nobody = assignment.compile(running(experiment(segments=[staff]))).explain("u9", {})
    assert [(s.rule, s.passed) for s in nobody] == [
        ("status", True), ("segment staff", False), ("assignment", False),
    ]  # fmt: skip
    assert nobody[-1].detail == "control: DEFAULT"


def test_who_is_not_enrolled_gets_control_and_its_model_without_a_chance() -> None:
    state = running(parsing.load(DESIGN_EXAMPLE))
    found = next(
        a for a in (assignment.compile(state).assign(f"u{n}", {}) for n in range(99)) if not a.enrolled
    )
    assert (found.variant, found.model, found.propensity, found.epoch, found.revision) == (
        "control", ModelRef("ranker", 1), None, 1, 2,
    )  # fmt: skip
    draft = lifecycle.create(state.definition, ordinal=1, at=0, actor="ana")
    assert assignment.compile(draft).assign("u1", {}).epoch == 0


def test_a_new_epoch_randomises_anew() -> None:
    """Under a new salt about half the units of a 50/50 split change variant."""
    state = running(experiment())
    changed_split = experiment(segments=[{"key": "all", "allocation": {"control": 0.4, "treatment": 0.6}}])
    second = lifecycle.revise(state, changed_split, digests=digests(changed_split), at=5, actor="ana")
    old, new = assignment.compile(state), assignment.compile(second)
    assert new.assign("u1", {}).epoch == 2
    moved = sum(old.assign(f"u{n}", {}).variant != new.assign(f"u{n}", {}).variant for n in range(4_000))
    assert 1_800 < moved < 2_200


def test_minimal_document_parses() -> None:
    assert replace(parsing.from_document(minimal()), key="x").key == "x"
