"""Champions per segment: a promotion changes exactly its units, a rollback restores exactly what was."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchpoint.experiment.definition.condition import compile_condition
from switchpoint.experiment.definition.types import BUCKETS, ModelRef, Segment
from switchpoint.experiment.errors import BadInput, Conflict, NotFound, Refused
from switchpoint.experiment.language.document import from_body, to_body
from switchpoint.experiment.registry.champion import (
    Champion,
    ChampionChange,
    ChampionRule,
    Grounds,
    Move,
    champion_at,
    compile_champion,
    promote,
    rollback,
    rules_for,
)


def segment(key: str, when: dict[str, Any] | None) -> Segment:
    return Segment(key=key, when=when, traffic=BUCKETS, allocation=(5000, 5000))


US, CA = segment("us", {"country": "US"}), segment("ca", {"country": "CA"})
REST = segment("rest", None)
MOBILE = segment("mobile", {"device": "mobile"})
SHOP = (US, CA, REST)
EVERYBODY = ("us", "ca", "rest")


def grounds(at: int = 0) -> Grounds:
    return Grounds(at=at, actor="ana", reason="test")


def first(version: int = 1) -> Champion:
    return promote(Champion(model="ranker"), version, grounds=grounds(), move=Move.START)


def put(
    champion: Champion, version: int, *chosen: str, at: int = 0, segments: tuple[Segment, ...] = SHOP
) -> Champion:
    return promote(champion, version, rules=rules_for(segments, chosen, version), grounds=grounds(at))


def served(champion: Champion, **attributes: str) -> int | None:
    found = compile_champion(champion)(attributes)
    assert found is None or found.name == "ranker"
    return found.version if found else None


def test_nobody_is_champion_at_first() -> None:
    nobody = Champion(model="ranker")
    assert compile_champion(nobody)({"country": "US"}) is None
    assert (nobody.default, nobody.assignments) == (None, ())


def test_a_first_promotion_of_one_segment_leaves_the_others_without_a_champion() -> None:
    champion = put(put(Champion(model="ranker"), 2, "us"), 3, "us")
    choose = compile_champion(champion)
    assert (choose({"country": "US"}), choose({"country": "CA"})) == (ModelRef("ranker", 3), None)
    assert served(rollback(champion, segments=["us"], grounds=grounds()), country="US") == 2
    with pytest.raises(Refused, match="no earlier version"):
        rollback(put(champion, 4, "ca"), segments=["ca"], grounds=grounds())


def test_the_first_champion_serves_everybody() -> None:
    assert served(first(), country="US") == served(first()) == 1


def test_the_newest_champion_for_everybody_counts_and_hides_what_is_older() -> None:
    champion = promote(put(promote(first(), 2, grounds=grounds()), 3, "us"), 4, grounds=grounds())
    assert (champion.default, champion.assignments) == (4, ())
    assert (served(champion, country="US"), served(champion)) == (4, 4)
    back = rollback(champion, grounds=grounds())
    assert (served(back, country="US"), served(back), back.default) == (3, 2, 2)


def test_a_segment_keeps_its_condition_after_promotion() -> None:
    champion = put(first(), 2, "us")
    assert (served(champion, country="US"), served(champion, country="CA"), served(champion)) == (2, 1, 1)
    assert champion.assignments == (ChampionRule(segment="us", when={"country": "US"}, version=2),)
    assert champion.default == 1


def test_the_remaining_segment_means_everybody_else() -> None:
    champion = put(first(), 2, "rest")
    assert (served(champion, country="US"), served(champion, country="CA"), served(champion)) == (1, 1, 2)


def test_all_segments_together_serve_everybody() -> None:
    champion = put(first(), 2, *EVERYBODY)
    assert {served(champion, country=c) for c in ("US", "CA", "DE")} == {2}
    assert [champion.incumbents.version_for(key) for key in EVERYBODY] == [2, 2, 2]


_ATTRIBUTES = [
    {"country": country, "device": device}
    for country in ("US", "CA", "DE")
    for device in ("mobile", "desktop")
]
_LAYOUTS = st.lists(
    st.sampled_from([US, CA, MOBILE, REST]), min_size=1, max_size=4, unique_by=lambda s: s.key
).map(lambda chosen: tuple(sorted(chosen, key=lambda s: s.when is None)))


@settings(max_examples=200)
@given(steps=st.lists(st.tuples(_LAYOUTS, st.sets(st.integers(0, 3), min_size=1)), min_size=1, max_size=4))
def test_a_promotion_changes_exactly_the_units_the_experiment_routes_there(
    steps: list[tuple[tuple[Segment, ...], set[int]]],
) -> None:
    """Whatever conditions overlap and whatever was promoted before."""
    champion = first()
    for version, (layout, picks) in enumerate(steps, 2):
        chosen = {layout[index].key for index in picks if index < len(layout)} or {layout[0].key}
        before = [served(champion, **attributes) for attributes in _ATTRIBUTES]
        champion = put(champion, version, *chosen, segments=layout)
        for attributes, old in zip(_ATTRIBUTES, before, strict=True):
            routed = next((s.key for s in layout if compile_condition(s.when)(attributes)), None)
            assert served(champion, **attributes) == (version if routed in chosen else old)


@settings(max_examples=100)
@given(steps=st.lists(st.tuples(_LAYOUTS, st.sets(st.integers(0, 3), min_size=1)), min_size=1, max_size=4))
def test_rolling_everything_back_walks_through_every_earlier_champion(
    steps: list[tuple[tuple[Segment, ...], set[int]]],
) -> None:
    champion, path = first(), []
    for version, (layout, picks) in enumerate(steps, 2):
        path.append([served(champion, **attributes) for attributes in _ATTRIBUTES])
        chosen = [layout[index].key for index in picks if index < len(layout)] or [layout[0].key]
        champion = put(champion, version, *chosen, segments=layout)
    for expected in reversed(path):
        champion = rollback(champion, grounds=grounds())
        assert [served(champion, **attributes) for attributes in _ATTRIBUTES] == expected
    with pytest.raises(Refused, match="no earlier version"):
        rollback(champion, grounds=grounds())


@settings(max_examples=200)
@given(
    steps=st.lists(st.tuples(_LAYOUTS, st.sets(st.integers(0, 3), min_size=1)), min_size=1, max_size=3),
    pick=st.integers(0, 3),
)
def test_rolling_one_segment_back_changes_exactly_its_units(
    steps: list[tuple[tuple[Segment, ...], set[int]]], pick: int
) -> None:
    champion = first()
    for version, (layout, picks) in enumerate(steps, 2):
        before = champion
        chosen = [layout[index].key for index in sorted(picks) if index < len(layout)] or [layout[0].key]
        champion = put(champion, version, *chosen, segments=layout)
    back = chosen[pick % len(chosen)]
    after = rollback(champion, segments=[back], grounds=grounds())
    for attributes in _ATTRIBUTES:
        routed = next((s.key for s in layout if compile_condition(s.when)(attributes)), None)
        assert served(after, **attributes) == served(before if routed == back else champion, **attributes)


def test_a_segment_served_by_the_rule_for_everybody_is_rolled_back_with_it() -> None:
    champion = put(put(first(), 2, "us"), 3, "rest", segments=(REST,))
    with pytest.raises(Refused, match=r"segment rest serves it.*roll back rest"):
        rollback(champion, segments=["us"], grounds=grounds())
    assert served(rollback(champion, segments=["rest"], grounds=grounds()), country="US") == 2


def test_one_segment_is_rolled_back_step_by_step_and_the_others_stay() -> None:
    champion = put(put(put(first(), 2, *EVERYBODY), 3, "us"), 4, "us", "ca")
    seen = []
    for _ in range(3):
        champion = rollback(champion, segments=["us"], grounds=grounds())
        seen.append(served(champion, country="US"))
        assert served(champion, country="CA") == 4
    assert seen == [3, 2, 1]
    assert served(champion) == 2
    with pytest.raises(Refused, match="the default serves it"):
        rollback(champion, segments=["us"], grounds=grounds())


def test_a_segment_named_twice_goes_back_once() -> None:
    champion = put(put(put(first(), 2, "us"), 3, "us"), 4, "us")
    back = rollback(champion, segments=["us", "us"], grounds=grounds())
    assert (served(back, country="US"), back.history[-1].segments) == (3, ("us",))


def test_rolling_one_segment_back_then_everything_returns_before_that_promotion() -> None:
    champion = put(put(first(), 2, *EVERYBODY), 3, "us", "ca")
    champion = rollback(champion, segments=["us"], grounds=grounds())
    champion = rollback(champion, grounds=grounds())
    assert (served(champion, country="US"), served(champion, country="CA")) == (2, 2)


def test_a_promotion_taken_back_segment_by_segment_is_gone() -> None:
    champion = put(put(first(), 2, "us"), 3, "us", "ca")
    for key in ("us", "ca"):
        champion = rollback(champion, segments=[key], grounds=grounds())
    assert (served(champion, country="US"), served(champion, country="CA")) == (2, 1)
    assert served(rollback(champion, grounds=grounds()), country="US") == 1


_MISTAKES: list[tuple[Callable[[], object], type[BadInput], str, object]] = [
    (
        lambda: rules_for(SHOP, ["us", "eu"], 2),
        NotFound,
        "segments: no such segment. Fix: known: us, ca, rest",
        "eu",
    ),
    (
        lambda: rollback(first(), segments=["us"], grounds=grounds()),
        Refused,
        (
            "segments: champion ranker: this segment has no rule of its own, the default serves it. "
            "Fix: roll back without naming a segment"
        ),
        "us",
    ),
    (
        lambda: rollback(put(first(), 2, "rest", segments=(REST,)), segments=["us"], grounds=grounds()),
        Refused,
        (
            "segments: champion ranker: this segment has no rule of its own, segment rest serves it. "
            "Fix: roll back rest"
        ),
        "us",
    ),
    (
        lambda: rollback(put(Champion(model="ranker"), 2, "us", "ca"), segments=["us"], grounds=grounds()),
        Refused,
        (
            "segments: champion ranker has no earlier version to return to. "
            "Fix: promote the version you want with an override"
        ),
        ["us"],
    ),
    (
        lambda: rollback(first(), grounds=grounds()),
        Refused,
        (
            "segments: champion ranker has no earlier version to return to. "
            "Fix: promote the version you want with an override"
        ),
        [],
    ),
]


@pytest.mark.parametrize(("call", "kind", "message", "value"), _MISTAKES)
def test_a_mistake_is_told_with_field_value_and_fix(
    call: Callable[[], object], kind: type[BadInput], message: str, value: object
) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert (str(caught.value), caught.value.field, caught.value.value) == (message, "segments", value)


def test_a_segment_without_a_rule_of_its_own_cannot_be_rolled_back_alone() -> None:
    champion = promote(first(), 2, grounds=grounds())
    with pytest.raises(Refused, match=r"the default serves it.*without naming a segment"):
        rollback(champion, segments=["us"], grounds=grounds())
    assert served(rollback(champion, grounds=grounds())) == 1


def test_a_history_that_takes_back_what_never_was_leaves_everything_as_it_is() -> None:
    champion = put(first(), 2, "us")
    odd = ChampionChange(move=Move.ROLLBACK, segments=("eu",), grounds=grounds(9))
    again = Champion(model="ranker", history=(*champion.history, odd))
    assert again.incumbents == champion.incumbents


def test_every_change_is_kept_with_its_grounds() -> None:
    why = Grounds(at=7, actor="bo", reason="home: treatment", decision="home/1", override=None)
    champion = promote(first(), 2, rules=rules_for(SHOP, ["us", "rest"], 2), grounds=why)
    kept = champion.history[-1]
    assert (kept.move, kept.segments, kept.version, kept.grounds) == (Move.PROMOTE, ("us", "rest"), 2, why)
    assert [(rule.segment, rule.unless) for rule in kept.rules] == [
        ("us", ()),
        ("rest", ({"country": "CA"},)),
    ]
    back = rollback(champion, segments=["rest"], grounds=grounds(8)).history[-1]
    assert (back.move, back.segments, back.version, back.rules) == (Move.ROLLBACK, ("rest",), None, ())
    assert first().history[0].move is Move.START


def test_the_first_champion_cannot_be_rolled_back() -> None:
    with pytest.raises(Refused, match="no earlier version"):
        rollback(first(), grounds=grounds())
    with pytest.raises(Refused, match="no earlier version"):
        rollback(Champion(model="ranker"), grounds=grounds())


def test_a_promotion_that_expects_another_champion_conflicts_and_names_the_segment() -> None:
    champion = put(first(), 2, "us")
    rules = rules_for(SHOP, ["us"], 3)
    again = "read it again and decide anew"
    with pytest.raises(Conflict, match=f"^champion ranker: us is at version 2, expected 1: {again}$"):
        promote(champion, 3, rules=rules, expected=1, grounds=grounds())
    with pytest.raises(Conflict, match=f"^champion ranker: everywhere is at version 1, expected 2: {again}$"):
        promote(champion, 3, expected=2, grounds=grounds())
    assert served(promote(champion, 3, rules=rules, expected=2, grounds=grounds()), country="US") == 3
    assert (
        served(
            promote(champion, 3, rules=rules_for(SHOP, ["ca"], 3), expected=1, grounds=grounds()),
            country="CA",
        )
        == 3
    )


def test_who_was_champion_can_be_asked_for_any_time() -> None:
    champion = put(promote(Champion(model="ranker"), 1, grounds=grounds(10)), 2, "us", at=20)
    champion = rollback(put(champion, 3, *EVERYBODY, at=30), grounds=grounds(40))
    asked = [champion_at(champion.history, "us", at) for at in (9, 10, 19, 20, 29, 30, 39, 40, 99)]
    assert asked == [None, 1, 1, 2, 2, 3, 3, 2, 2]
    assert [champion_at(champion.history, "ca", at) for at in (20, 30, 40)] == [1, 3, 1]
    assert champion_at(champion.history, None, 30) == 3


def test_the_history_survives_storage() -> None:
    champion = rollback(put(put(first(), 2, "us"), 3, "ca", "rest"), segments=["rest"], grounds=grounds(9))
    again = from_body(Champion, json.loads(json.dumps(to_body(champion))))
    assert again == champion
    assert compile_champion(again)({"country": "CA"}) == ModelRef("ranker", 3)


def test_promoting_over_and_over_keeps_the_rules_in_force_few() -> None:
    champion = first()
    for version in range(2, 40):
        champion = put(champion, version, *EVERYBODY)
    assert [rule.version for rule in champion.assignments] == [39, 39, 39]
    assert len(champion.history) == 39


def test_who_was_champion_before_is_whom_the_newest_promotion_replaced() -> None:
    """Not after a rollback: it took the newer one back because it was no good."""
    one = first(1)
    assert (Champion(model="ranker").predecessor, one.predecessor) == (None, None)
    two = put(one, 2, *EVERYBODY)
    assert two.predecessor == one
    assert rollback(two, grounds=grounds()).predecessor is None
    assert put(two, 3, "us").predecessor == two


def test_since_when_each_segment_has_its_champion_and_who_is_left() -> None:
    start = first()
    assert (start.otherwise, start.since(), start.since("us")) == (1, 0, 0)
    some = promote(start, 2, rules=rules_for(SHOP, ("us",), 2), expected=1, grounds=grounds(5))
    assert (some.otherwise, some.since(), some.since("us"), some.since("ca")) == (1, 0, 5, 0)
    every = promote(start, 2, rules=rules_for(SHOP, EVERYBODY, 2), expected=1, grounds=grounds(7))
    assert every.otherwise is None  # the last segment takes whoever is left
    back = rollback(some, grounds=grounds(9))
    assert (back.otherwise, back.since("us")) == (1, 9)
    assert Champion(model="ranker").since() is None
