"""Parts written into a definition's text: what stands elsewhere in it stays, whoever wrote it."""

from __future__ import annotations

from typing import Any

import pytest

from switchpoint.experiment.language.experiment import load
from switchpoint.experiment.language.template import INIT_YAML, with_key
from switchpoint.experiment.language.yaml import read


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("key", "other"),
        ("hypothesis", 'He said: "more" # no comment\n- nor a list: {a} \\ end'),
        ("owner", "true"),
        ("window", "3d"),
        ("dimensions", ["device", "a: b", "[x]"]),
        ("variants", [{"key": "control", "model": "ranker@1"}, {"key": "new", "model": "ranker@3"}]),
        ("segments", [{"key": "all", "when": {"a: b": {"$in": ["US", "1"]}}, "allocation": "equal"}]),
        ("decision", {"mde": "5%", "design": "fixed"}),
    ],
)
def test_a_key_is_written_anew_and_all_others_stay(key: str, value: Any) -> None:
    before, _ = read(INIT_YAML, "f")
    text = with_key(INIT_YAML, key, value)
    after, _ = read(text, "f")
    assert after == {**before, key: value}
    assert list(after) == list(before)  # in its place
    assert "# optional: experiments of one layer" in text
    assert with_key(text, key, value) == text


def test_a_definition_grows_key_by_key_in_the_order_people_read_it() -> None:
    text = "# mine\nowner: us\n"
    parts: dict[str, Any] = {
        "decision": {"mde": "2%"}, "window": "7d", "key": "k", "unit": "user_id", "model": "ranker",
        "metrics": [{"key": "buyers", "type": "proportion", "event": "buy", "role": "primary"}],
        "segments": [{"key": "all", "allocation": "equal"}],
        "variants": [{"key": "a", "model": "ranker@1"}, {"key": "b", "model": "ranker@2"}],
    }  # fmt: skip
    for key, value in parts.items():
        text = with_key(text, key, value)
    assert load(text).key == "k"
    assert list(read(text, "f")[0]) == [
        "key", "owner", "unit", "model", "variants", "segments", "metrics", "window", "decision",
    ]  # fmt: skip
    assert "# mine" in text


def test_lists_without_indentation_are_one_block_and_comments_after_it_stay() -> None:
    text = "key: k\ndimensions:\n- a\n- b\n\n# about the window\nwindow: 7d\n"
    assert (
        with_key(text, "dimensions", ["c"]) == "key: k\ndimensions: [c]\n\n# about the window\nwindow: 7d\n"
    )
