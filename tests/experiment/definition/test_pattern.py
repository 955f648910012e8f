"""Patterns decide as JavaScript does, by its own engine, and no pattern and text stall anybody."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchpoint.experiment.definition.condition import ConditionError, compile_condition
from switchpoint.experiment.definition.pattern import MAX_PATTERN, MAX_TEXT, PatternError, compile_pattern
from switchpoint.experiment.errors import DefinitionError
from switchpoint.experiment.language import experiment as parsing
from tests.router import world

SCRIPT = """
require("readline").createInterface({input: process.stdin}).on("line", (line) => {
  const [pattern, fold, texts] = JSON.parse(line);
  let answer;
  try {
    const found = new RegExp(pattern, fold ? "i" : "");
    answer = texts.map((text) => found.test(text));
  } catch (error) {
    answer = String(error);
  }
  process.stdout.write(JSON.stringify(answer) + "\\n");
});
"""
Ask = Callable[[str, bool, list[str]], "list[bool] | str"]

SIGNS = [*"aAbzZkKsS019_ -.@/", "\t", "\n", "\r", "\v", "\0", "\x85", "\xa0", "é", "É", "ß", "ẞ", "ſ", "\u212a", "\u212b", "å",
         "Å", "ı", "İ", "σ", "ς", "Σ", "μ", "µ", "θ", "ϴ", "\u1680", "\u180e", "\u2028", "\u200b", "\ufeff", "漢", "٣", "😀", "😁",
         "\ud83d", "\ude00", "\uffff", "ǆ", "ǅ", "ʼ", "ŉ", "\u0345", "ι", "ա", "ﬀ", "ӏ", "Ӏ", "ა", "Ა", "ꭰ", "Ꭰ", "ᏸ", "Ᏸ"]  # fmt: skip


@pytest.fixture(scope="module")
def node() -> Iterator[Ask]:
    """JavaScript's own engine; without node on the machine these tests are skipped."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("node is not installed: patterns are NOT compared with JavaScript")
    process = subprocess.Popen(
        [path, "-e", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(pattern: str, fold: bool, texts: list[str]) -> list[bool] | str:
        process.stdin.write(json.dumps([pattern, fold, texts]) + "\n")  # type: ignore[union-attr]
        answer: list[bool] | str = json.loads(process.stdout.readline())  # type: ignore[union-attr]
        return answer

    yield ask
    process.stdin.close()
    process.wait()
    process.stdout.close()


literals = st.sampled_from(SIGNS).map(lambda sign: "\\" + sign if sign in "./-" else sign)
escapes = st.sampled_from(
    ["\\d", "\\D", "\\w", "\\W", "\\s", "\\S", "\\t", "\\n", "\\v", "\\f", "\\r", "\\x41", "\\xe9", "\\u212a", "\\ud83d", "\\.", "\\$", "\\/"]
)  # fmt: skip
ranges = st.sampled_from(
    ["a-z", "A-Z", "0-9", "à-ö", "α-ω", "\\x80-\\uffff", " -~", "\\t-\\r", "A-z", "^", "k-s"]
)
narrow = literals.filter(lambda text: len(text) > 1 or ord(text) <= 0xFFFF)
sets = st.tuples(
    st.sampled_from(["[", "[^"]), st.lists(narrow | escapes | ranges | st.just("\\b"), min_size=1, max_size=4)
).map(lambda pair: pair[0] + "".join(pair[1]) + "]")
atoms = st.one_of(literals, escapes, sets, st.just("."))
anchors = st.sampled_from(["^", "$", "\\b", "\\B"])
counts = st.sampled_from(
    ["", "", "", "*", "+", "?", "{2}", "{0}", "{1,}", "{0,2}", "*?", "+?", "??", "{1,2}?"]
)
terms = st.tuples(atoms, counts).map("".join)
patterns = st.recursive(
    st.lists(terms | anchors, max_size=4).map("".join),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["(", "(?:"]), inner, st.just(")"), counts).map("".join),
        st.tuples(inner, inner).map("|".join),
        st.tuples(inner, inner).map("".join),
    ),
    max_leaves=5,
)
texts = st.lists(st.sampled_from(SIGNS), max_size=6).map("".join)


def decisions(pattern: str, fold: bool, subjects: list[str]) -> list[bool] | None:
    try:
        matches = compile_pattern(pattern, fold=fold)
    except PatternError:
        return None
    return [matches(text) for text in subjects]


@settings(max_examples=1_500, deadline=None)
@given(pattern=patterns, fold=st.booleans(), subjects=st.lists(texts, min_size=1, max_size=8))
def test_generated_patterns_decide_as_in_javascript(
    node: Ask, pattern: str, fold: bool, subjects: list[str]
) -> None:
    mine = decisions(pattern, fold, [*subjects, *SIGNS])
    if mine is not None:
        assert mine == node(pattern, fold, [*subjects, *SIGNS])


@settings(max_examples=500, deadline=None)
@given(
    pattern=st.text(st.sampled_from("ab1\\^$.*+?()[]{}|-,:=!<>dDwWsSbBxukcp0é😀 "), max_size=12),
    fold=st.booleans(),
)
def test_whatever_is_accepted_means_the_same_in_javascript(node: Ask, pattern: str, fold: bool) -> None:
    """Any heap of signs: refused here, or the same regular expression there."""
    subjects = ["", "a", "ab1", "é😀", pattern, pattern[::-1], "a-b,c", "{}[]()"]
    mine = decisions(pattern, fold, subjects)
    if mine is not None:
        assert mine == node(pattern, fold, subjects)


def test_every_code_unit_in_every_class_and_case_is_javascripts(node: Ask) -> None:
    units = [chr(unit) for unit in range(0x10000)]
    for pattern in ("\\d", "\\w", "\\s", "[^\\s\\w]", "^.$"):
        assert decisions(pattern, True, units) == node(pattern, True, units), pattern
    for letter in ("k", "s", *"ßſςİǅι", "\u212a", "ꭰ"):
        assert decisions(letter, True, units) == node(letter, True, units), letter


def test_alternatives_without_regard_to_case_do_not_match_the_signs_of_units(node: Ask) -> None:
    """K is no Kelvin sign, s no long s, whatever stands beside them."""
    signs = ["k", "K", "s", "S", "a", "\u212a", "\u017f"]
    for pattern, fold in (
        ("a|k", True), ("s|b|k", True), ("[Aa]|[Kk]", False), ("(?:k|s)+x?", True), ("ak|k|s", True), ("^(?:k|[Ss])$", True),
    ):  # fmt: skip
        matches = compile_pattern(pattern, fold=fold)
        assert [matches(sign) for sign in signs] == node(pattern, fold, signs), pattern


def test_ordinary_patterns_are_taken(node: Ask) -> None:
    """What people write to choose mail addresses, versions, paths, countries and browsers."""
    rng = random.Random(3)
    signs = "anna.smith+1@shop.example/path?q=1 v2.10.3-beta US_de (iPhone; CPU) Mozilla/5.0"
    subjects = ["".join(rng.sample(signs, rng.randint(1, 30))) for _ in range(200)] + signs.split()
    for pattern in (
        "^[\\w.+-]+@shop[.]example$", "^v?(\\d+)\\.(\\d+)\\.(\\d+)(-[a-z]+)?$", "^/(path|shop)/", "^(US|DE|FR)$", "iPhone|iPad",
        "Mozilla/[45]\\.\\d", "^[A-F0-9]{8}-(?:[A-F0-9]{4}-){3}[A-F0-9]{12}$", "beta$", "^.{3,10}$", "\\bshop\\b", "", "^$", "a]", "b}",
        "^([a-zA-Z0-9]+)+@shop[.]example$",
    ):  # fmt: skip
        for fold in (False, True):
            assert decisions(pattern, fold, subjects) == node(pattern, fold, subjects), pattern


@pytest.mark.parametrize(
    ("pattern", "message", "fix"),
    [
        ("(?=a)b", "look-around", "$regexi"), ("(?<!a)b", "look-around", "(?:...)"), ("(?<n>a)", "named groups", "(...)"),
        ("(?i)a", "flags", "$regexi"), ("(a)\\1", "\\1 is not part", "\\d"), ("\\k<n>", "\\k", "\\d"), ("\\p{L}", "\\p", "\\d"),
        ("\\u{1F600}", "\\u", "\\uHHHH"), ("\\x4", "\\x", "\\xHH"), ("\\01", "\\0", "\\xHH"), ("\\cA", "\\c", "\\xHH"),
        ("\\e", "\\e", "backslash"), ("a\\", "\\ is not part", "backslash"), ("a\\Z", "\\Z", "backslash"),
        ("(", "does not end, at character 2", ")"), ("a)", "never began, at character 2", "\\)"), ("[a", "does not end", "]"),
        ("*a", "* has nothing to repeat, at character 1", "\\*"), ("a|+", "+ has nothing", "\\+"), ("{", "{ has nothing", "\\{"),
        ("a{,3}", "{ has nothing", "\\{"), ("a**", "repetition of a repetition", "(?:a*)*"), ("a{2}{3}", "repetition of", "(?:"),
        ("^*", "^ cannot be repeated", "leave"), ("\\b+", "\\b cannot", "leave"), ("a{3,2}", "counts", "smaller first"),
        ("a{1001}", "counts", "1000"), ("[]", "empty class", "\\["), ("[^]", "empty class", "\\["), ("[[a]]", "[ inside", "\\["),
        ("[z-a]", "range", "a-z"), ("[\\w-z]", "range", "a-z"), ("[😀]", "two code units", "|😀"), ("😀+", "two code units", "(?:😀)"),
        ("(?:a{100}){11}", "1123 character tests", "repeat less"), ("(" * 21 + "a" + ")" * 21, "groups within", "at most 20"),
        ("x" * (MAX_PATTERN + 1), "longer than", "500"),
    ],
)  # fmt: skip
def test_what_is_not_javascripts_linear_part_is_refused_with_the_cure(
    pattern: str, message: str, fix: str
) -> None:
    for operator in ("$regex", "$regexi", "$notRegex", "$notRegexi"):
        with pytest.raises(ConditionError) as caught:
            compile_condition({"a": {operator: pattern}})
        assert message in caught.value.message
        assert fix in caught.value.fix
        assert caught.value.field == f"a.{operator}"


def test_validate_names_file_line_and_cure() -> None:
    text = world.DEFINITION.replace("{country: US}", r"{email: {$regex: '(a)\1'}}")
    line = text.splitlines().index(next(row for row in text.splitlines() if "regex" in row)) + 1
    with pytest.raises(DefinitionError) as caught:
        parsing.load(text, file="home.yaml")
    assert str(caught.value).startswith(f"home.yaml:{line}: ")
    assert "Fix: use \\d" in str(caught.value)


@pytest.mark.parametrize(
    "pattern",
    ["^([a-zA-Z0-9]+)+@shop[.]example$", "(a|aa)+$", "(.*)*(.*)*(.*)*=", "^(\\w+\\s?)*$", "(x+x+)+y", "(?:\\w?\\W?){190}!$",
     "(x|y)*x(x|y){240}$"],
)  # fmt: skip
@pytest.mark.timeout(30)
def test_no_text_stalls_a_pattern(pattern: str) -> None:
    """Each of these takes a backtracking engine longer than the test may, most of them longer than the universe."""
    matches = compile_pattern(pattern)
    for sign in ("a", "x", "é", "ax ", "xy", "😀"):
        assert matches((sign * MAX_TEXT)[: MAX_TEXT - 1] + "!") in {True, False}


def test_a_text_of_more_than_the_bound_does_not_match() -> None:
    has, lacks = (compile_condition({"a": {name: "a$"}}) for name in ("$regex", "$notRegex"))
    assert has({"a": "a" * MAX_TEXT})
    assert not lacks({"a": "a" * MAX_TEXT})
    assert not has({"a": "a" * (MAX_TEXT + 1)})
    assert lacks({"a": "a" * (MAX_TEXT + 1)})


def test_what_is_no_text_does_not_match() -> None:
    assert not compile_condition({"a": {"$regex": "1"}})({"a": 1})
    assert compile_condition({"a": {"$notRegex": "1"}})({"a": 1})
