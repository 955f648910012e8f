"""Numbers as countries and spreadsheets write them: read by all of a column together, or asked for."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.ledger.numbers import Numbers, count_of, number_of, numbers_of

NBSP, NARROW = "\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}"


def read(*texts: str, decimal: str | None = None) -> list[int | float | None]:
    notation = numbers_of({"n": texts}, decimal)["n"]
    return [notation.number(text) for text in texts]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("1,5", "2,25"), [1.5, 2.25]),
        (("1.5", " 2 "), [1.5, 2]),
        (("1.234,50", "12,5", "1.234"), [1234.5, 12.5, 1234]),
        (("1,234.5", "3", "1,234"), [1234.5, 3, 1234]),
        (("0.123", "1.234"), [0.123, 1.234]),  # no group of thousands begins with 0
        (("1.234", "1.2345"), [1.234, 1.2345]),
        (("1.234.567", "5"), [1_234_567, 5]),
        (("1 234,5", f"1{NBSP}234", f"1{NARROW}234"), [1234.5, 1234, 1234]),
        (("1'234.50", "1’234.5"), [1234.5, 1234.5]),
        (("$5", "-$1,234.50", "$-3", "($12.50)"), [5, -1234.5, -3, -12.5]),
        (("5,5 €", "−3 €", "EUR 4"), None),  # two signs of one currency are two
        (("12 %", "3,5%", "0"), [0.12, 0.035, 0]),
        (("yes", "No", "Y"), [1, 0, 1]),
        (("ja", "nein", "1", "0"), [1, 0, 1, 0]),
        (("wahr", "falsch", ""), [1, 0, None]),
        (("5e-3", "1E5", "-2.5e+1"), [0.005, 1e5, -25.0]),
        (("7", "NA", "", "n/a", "NaN", "-"), [7, None, None, None, None, None]),
        (("12345678901234567890",), [12345678901234567890]),
        ((".5", "5."), [0.5, 5.0]),
    ],
)
def test_a_column_is_read_as_it_is_written(texts: tuple[str, ...], expected: list[object] | None) -> None:
    if expected is None:
        with pytest.raises(BadInput, match="several currencies"):
            read(*texts)
        return
    assert read(*texts) == expected


@pytest.mark.parametrize("texts", [("1.234",), ("1,234", "-5,678"), ("1.234", "7")])
def test_what_can_be_read_in_two_ways_is_asked_for(texts: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match=r"may be .*no other number tells which.*`decimal: '\.'`"):
        read(*texts)
    for decimal in ".,":
        number = read(texts[0], decimal=decimal)[0]
        assert number == (1.234 if decimal in texts[0] else 1234)


def test_what_one_column_leaves_open_another_one_says() -> None:
    notations = numbers_of({"a": ["1.234"], "b": ["12,5"]})
    assert notations["a"].number("1.234") == 1234
    with pytest.raises(BadInput, match="column a"):
        numbers_of({"a": ["1.234"], "b": ["12,5"], "c": ["12.5"]})


def test_a_column_written_in_two_ways_is_refused_with_both() -> None:
    with pytest.raises(BadInput, match=r"'1\.5' and '2,5'"):
        read("1.5", "2,5")


@pytest.mark.parametrize("text", ["x", "1,2,3", "12,34.5", "1.2.3", "1 23", "--1", "(5", "5-", "1e", "$5€"])
def test_anything_else_is_no_number(text: str) -> None:
    notation = numbers_of({"n": [text, "1.5"]})["n"]
    assert notation.number("1.5") == 1.5
    with pytest.raises(ValueError, match="is not a number"):
        notation.number(text)


def test_a_cell_unlike_the_others_is_refused() -> None:
    with pytest.raises(ValueError, match="not in per cent, others are"):
        numbers_of({"n": ["12 %", "3"]})["n"].number("3")
    assert numbers_of({"n": ["yes", "5"]})["n"].words is False


def test_what_is_said_of_plain_numbers_is_nothing() -> None:
    assert numbers_of({"n": ["1.5", "2"]})["n"].said() == ()
    assert numbers_of({"n": ["1.234,5 €", "3 %"]})["n"].said() == (
        "decimal comma", "digits grouped by thousands", "amounts in €", "per cent as shares (3 % is 0.03)",
    )  # fmt: skip


GROUPS = {".": (",", " ", "'", NBSP, ""), ",": (".", " ", "'", NBSP, "")}


@given(
    st.lists(st.decimals(-(10**9), 10**9, places=2, allow_nan=False), min_size=1, max_size=6),
    st.sampled_from(".,"), st.integers(0, 4), st.sampled_from(["", "€", "CHF", "%"]),
)  # fmt: skip
def test_a_column_written_by_any_country_is_read_right_or_asked_about(
    numbers: list[Decimal], sign: str, group: int, unit: str
) -> None:
    by = GROUPS[sign][group]
    texts = [f"{n:,.2f}".translate({ord(","): by, ord("."): sign}) + unit for n in numbers]
    scale = 100 if unit == "%" else 1
    assert [float(n or 0) for n in read(*texts)] == [float(n / scale) for n in numbers]


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=6), st.sampled_from(".,"))
def test_whole_numbers_with_thousands_are_never_taken_for_fractions(numbers: list[int], by: str) -> None:
    texts = [f"{n:,}".replace(",", by) for n in numbers]
    try:
        read_alone = read(*texts)
    except BadInput:
        read_alone = [*numbers]  # asked for
    assert read_alone == read(*texts, decimal="," if by == "." else ".") == numbers


def test_numbers_are_finite_and_counts_whole() -> None:
    assert number_of(Decimal("1.10")) == 1.1
    assert count_of(3.0) == 3
    for bad in (float("inf"), None, "1"):
        with pytest.raises(ValueError, match=r"number|missing"):
            number_of(bad)
    for bad in (-1, 0.5):
        with pytest.raises(ValueError, match=r"negative|whole"):
            count_of(bad)
    assert Numbers().number("1.5") == 1.5
