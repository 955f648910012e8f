"""Times as countries, spreadsheets and programs write them: read by all of a column together, or asked for."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.ledger.times import DAY, MONTH, QUARTER, WEEK, Times, times_of

NEW_YEAR = 1_577_836_800_000
MARCH = int(datetime(2026, 3, 8, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2020-01-01", (NEW_YEAR, DAY)),
        ("2020-01-01T01:00:00+01:00", (NEW_YEAR, DAY)),
        ("2020-01-01 00:00:00.001999+00:00", (NEW_YEAR + 1, DAY)),
        ("2020-01-01 00:00:00 UTC", (NEW_YEAR, DAY)),
        (date(2020, 1, 1), (NEW_YEAR, DAY)),
        (datetime(2020, 1, 1), (NEW_YEAR, DAY)),  # noqa: DTZ001 - times without a zone are UTC, which is the point
        (datetime(2020, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), (NEW_YEAR, DAY)),
        (20200101, (NEW_YEAR, DAY)),
        ("20200101", (NEW_YEAR, DAY)),
        (20200101000000, (NEW_YEAR, DAY)),
        (NEW_YEAR, (NEW_YEAR, DAY)),
        (NEW_YEAR // 1000, (NEW_YEAR, DAY)),
        (NEW_YEAR / 1000 + 0.5, (NEW_YEAR + 500, DAY)),
        (NEW_YEAR * 1000, (NEW_YEAR, DAY)),
        (str(NEW_YEAR * 1_000_000), (NEW_YEAR, DAY)),
        (43831, (NEW_YEAR, DAY)),  # as spreadsheets count days
        ("43831.5", (NEW_YEAR + 43_200_000, DAY)),
        (202001, (NEW_YEAR + 5 * 86_400_000, WEEK)),  # the first Monday of 2020 is the 6th
        (201500, (int(datetime(2014, 12, 29, tzinfo=UTC).timestamp() * 1000), WEEK)),
        ("2020-W01", (NEW_YEAR - 2 * 86_400_000, WEEK)),
        ("2020-01", (NEW_YEAR, MONTH)),
        ("01/2020", (NEW_YEAR, MONTH)),
        ("Jan 2020", (NEW_YEAR, MONTH)),
        ("2020-Q1", (NEW_YEAR, QUARTER)),
        ("Q1 2020", (NEW_YEAR, QUARTER)),
        ("1 January 2020", (NEW_YEAR, DAY)),
        ("01-Jan-2020", (NEW_YEAR, DAY)),
        ("Jan 1st, 2020", (NEW_YEAR, DAY)),
        ("2020/1/1", (NEW_YEAR, DAY)),
        ("2020/1/1 1:30 PM", (NEW_YEAR + 48_600_000, DAY)),
        ("01/01/2020", (NEW_YEAR, DAY)),  # the same in either order
    ],
)
def test_a_time_is_read_in_every_usual_form(value: object, expected: tuple[int, int]) -> None:
    assert Times().instant(value) == expected


@pytest.mark.parametrize(
    "value",
    [None, True, 1.5, float("nan"), float("inf"), "soon", "", 202054, 20201301, 12, "2020-W60", "2020-13", "31.04.2020", "03/08/2026",
     "08.03.26", "2020/1/1 13:30 PM", "2020/1/1 25:00", "Q5 2020", 123456789],
)  # fmt: skip
def test_anything_else_is_no_time(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Times().instant(value)


@pytest.mark.parametrize(
    ("texts", "day_first"),
    [
        (("08.03.2026", "7.3.2026"), True),
        (("03/08/2026", "03/25/2026"), False),
        (("08/03/2026", "25/03/2026"), True),
        (("08-03-2026 10:00", "25-03-2026 11:00"), True),
        (("01/01/2026", "02/02/2026"), None),
    ],
)
def test_day_and_month_are_told_apart_by_the_whole_column(
    texts: tuple[str, ...], day_first: bool | None
) -> None:
    times = times_of("d", texts)
    assert times.day_first is day_first
    if day_first is not None:
        assert times.instant(texts[0])[0] // 86_400_000 == MARCH // 86_400_000
        assert len(times.said()) == 1


@pytest.mark.parametrize(
    ("values", "one", "other"),
    [
        (["03/08/2026", "04/05/2026"], ("%d/%m/%Y", datetime(2026, 8, 3, tzinfo=UTC)), ("%m/%d/%Y", datetime(2026, 3, 8, tzinfo=UTC))),
        ([202603, 202604], ("%Y%W", datetime(2026, 1, 19, tzinfo=UTC)), ("%Y%m", datetime(2026, 3, 1, tzinfo=UTC))),
    ],
)  # fmt: skip
def test_what_can_be_read_in_two_ways_is_asked_for(
    values: list[object], one: tuple[str, datetime], other: tuple[str, datetime]
) -> None:
    with pytest.raises(BadInput, match="no other value tells which") as caught:
        times_of("d", values)
    for form, expected in (one, other):
        assert f"`date_format: '{form}'`" in caught.value.fix
        assert times_of("d", values, form).instant(values[0])[0] == expected.timestamp() * 1000


def test_a_column_with_both_orders_is_refused_with_both() -> None:
    with pytest.raises(BadInput, match=r"'25/03/2026' and '03/25/2026'"):
        times_of("d", ["25/03/2026", "03/25/2026"])


def test_the_form_of_the_source_is_read_beside_iso_and_nothing_else() -> None:
    times = times_of("d", ["08.03.26"], "%d.%m.%y")
    assert times.instant("08.03.26") == times.instant("2026-03-08") == (MARCH, DAY)
    with pytest.raises(ValueError, match="date_format"):
        times.instant("2026/03/08x")


FORMS = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d %b %Y",
    "%b %d, %Y",
    "%Y%m%d",
    "%d-%m-%Y %H:%M",
)


@given(
    st.lists(st.dates(date(1980, 1, 1), date(2099, 12, 31)), min_size=1, max_size=5), st.sampled_from(FORMS)
)
def test_a_column_of_dates_is_read_right_or_asked_about(days: list[date], form: str) -> None:
    texts = [day.strftime(form) for day in days]
    expected = [int(datetime(d.year, d.month, d.day, tzinfo=UTC).timestamp() * 1000) for d in days]
    try:
        times = times_of("d", texts)
    except BadInput:
        times = times_of("d", texts, form)  # asked for
    assert [times.instant(text)[0] for text in texts] == expected
