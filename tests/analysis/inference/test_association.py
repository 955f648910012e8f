"""Whether two classifications of the same units go together, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from switchpoint.analysis.inference.shares import association, associations

sizes = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(st.data(), sizes)
def test_p_is_that_of_the_contingency_table(data: st.DataObject, size: tuple[int, int]) -> None:
    """Empty rows and columns do not count; without two of either there is no p."""
    rows, columns = size
    cells = st.lists(st.integers(0, 50), min_size=columns, max_size=columns)
    table = np.array(data.draw(st.lists(cells, min_size=rows, max_size=rows)))
    held = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    if min(held.shape) < 2:
        assert association(table) is None
        return
    p = stats.chi2_contingency(held, correction=False).pvalue
    assert association(table) == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize(
    ("table", "p"),
    [
        ([[30, 10, 10], [10, 30, 10], [10, 10, 30]], stats.chi2.sf(48.0, 4)),
        ([[20, 20, 20], [40, 40, 40]], 1.0),
        ([[10, 20, 30], [30, 20, 10]], stats.chi2.sf(20.0, 2)),
        ([[30, 0, 10], [0, 0, 0], [10, 0, 30]], stats.chi2.sf(20.0, 1)),
        # expected 0.5 and 0.5 against 3.5 and 3.5: 0.25 · (2/0.5 + 2/3.5)
        ([[1, 0], [3, 4]], stats.chi2.sf(0.25 * (2 / 0.5 + 2 / 3.5), 1)),
        # 40,000 more or fewer in every cell than the 4,000,040,000 expected
        (
            [[4 * 10**9, 4 * 10**9 + 80_000], [4 * 10**9 + 80_000, 4 * 10**9]],
            stats.chi2.sf(4 * 40_000**2 / (4 * 10**9 + 40_000), 1),
        ),
    ],
    ids=[
        "three by three",
        "independent",
        "two by three",
        "an empty row and column",
        "a single unit",
        "billions",
    ],
)
def test_three_variants_have_their_degrees_of_freedom(table: list[list[int]], p: float) -> None:
    assert association(table) == pytest.approx(p, rel=1e-9)


def test_many_tables_are_tested_one_by_one() -> None:
    tables = np.random.default_rng(3).integers(0, 40, (20, 3, 3))
    tables[4], tables[5, 1:] = 0, 0
    both = associations(tables)
    assert [None if np.isnan(p) else pytest.approx(p) for p in both] == [association(t) for t in tables]
