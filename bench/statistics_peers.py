"""tea-tasting, gbstats (GrowthBook) and spotify-confidence on the inputs of `bench.statistics`.

    python bench/statistics_peers.py FRAME.parquet SUMS.json

Runs under any interpreter that has some of them, and imports nothing else of this repository; prints the
times as JSON. Three metrics: CTR as a ratio, buyers as a proportion, revenue adjusted by what was bought
before. spotify-confidence has no ratio of two random sides; it judges clicks per unit instead.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

REPEATS = 5
Sums = dict[str, float]
Test = tuple[Sums, Sums]
COLUMNS = ("clicks", "impressions", "bought", "revenue", "before")
PRODUCTS = (("clicks", "impressions"), ("revenue", "before"))


def best(call: Callable[[], object]) -> float:
    """The shortest time of a call in milliseconds, after one that warms up."""
    call()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    return min(times)


def summed(path: str) -> Callable[[], Test]:
    """What gbstats and spotify-confidence leave to their user: the sums of a frame, here by pandas."""
    import pandas as pd

    frame = pd.read_parquet(path)

    def run() -> Test:
        products = {f"{a}*{b}": frame[a] * frame[b] for a, b in (*((c, c) for c in COLUMNS), *PRODUCTS)}
        groups = frame.assign(n=1, **products).groupby("variant", sort=True)
        found: dict[Any, dict[Any, float]] = groups[["n", *COLUMNS, *products]].sum().to_dict("index")
        return found["control"], found["treatment"]

    return run


def tea_tasting(path: str, tests: list[Test]) -> dict[str, float]:
    """By its own aggregation in Polars."""
    import polars as pl
    import tea_tasting as tt
    from tea_tasting.aggr import Aggregates

    frame = pl.read_parquet(path)
    experiment = tt.Experiment(
        ctr=tt.RatioOfMeans("clicks", "impressions"), buyers=tt.Proportion("bought"),
        revenue=tt.Mean("revenue", "before"),
    )  # fmt: skip

    def aggregates(one: Sums) -> Any:
        n = one["n"]

        def cov(a: str, b: str) -> float:
            return (one[f"{a}*{b}"] - one[a] * one[b] / n) / (n - 1)

        return Aggregates(
            count_=int(n), mean_={c: one[c] / n for c in COLUMNS}, var_={c: cov(c, c) for c in COLUMNS},
            cov_={tuple(sorted(pair)): cov(*pair) for pair in PRODUCTS},
        )  # fmt: skip

    known = [{0: aggregates(control), 1: aggregates(treatment)} for control, treatment in tests]
    return {
        "frame": best(lambda: experiment.analyze(frame, control="control")),
        "one": best(lambda: experiment.analyze(known[0], control=0)),
        "many": best(lambda: [experiment.analyze(one, control=0) for one in known]),
    }


def gbstats(path: str, tests: list[Test]) -> dict[str, float]:
    """Its statistics and Welch's test, relative to control."""
    from gbstats.frequentist.tests import FrequentistConfig, TwoSidedTTest
    from gbstats.models.statistics import (
        ProportionStatistic,
        RatioStatistic,
        RegressionAdjustedStatistic,
        SampleMeanStatistic,
        compute_theta,
    )

    def mean(one: Sums, column: str) -> Any:
        return SampleMeanStatistic(n=int(one["n"]), sum=one[column], sum_squares=one[f"{column}*{column}"])

    def statistics(one: Sums) -> list[Any]:
        n = int(one["n"])
        return [
            RatioStatistic(
                n=n, m_statistic=mean(one, "clicks"), d_statistic=mean(one, "impressions"),
                m_d_sum_of_products=one["clicks*impressions"],
            ),
            ProportionStatistic(n=n, sum=one["bought"]),
            RegressionAdjustedStatistic(
                n=n, post_statistic=mean(one, "revenue"), pre_statistic=mean(one, "before"),
                post_pre_sum_of_products=one["revenue*before"], theta=0,
            ),
        ]  # fmt: skip

    def run(test: Test) -> list[Any]:
        a, b = map(statistics, test)
        a[2].theta = b[2].theta = compute_theta(a[2], b[2])
        config = FrequentistConfig()
        return [TwoSidedTTest(c, t, config).compute_result() for c, t in zip(a, b, strict=True)]

    add = summed(path)
    return {
        "frame": best(lambda: run(add())),
        "one": best(lambda: run(tests[0])),
        "many": best(lambda: [run(test) for test in tests]),
    }


def spotify_confidence(path: str, tests: list[Test]) -> dict[str, float]:
    """Its z-tests, with regression for the adjusted mean."""
    import pandas as pd
    import spotify_confidence as sc
    from spotify_confidence.analysis.frequentist.z_test_linreg import ZTestLinreg

    def run(test: Test) -> list[Any]:
        rows = pd.DataFrame(test).assign(variant=["control", "treatment"])
        found = [
            sc.ZTest(
                rows, numerator_column=column, numerator_sum_squares_column=f"{column}*{column}",
                denominator_column="n", categorical_group_columns="variant",
            )
            for column in ("clicks", "bought")
        ]  # fmt: skip
        found.append(
            ZTestLinreg(
                rows, numerator_column="revenue", numerator_sum_squares_column="revenue*revenue",
                denominator_column="n", categorical_group_columns="variant", feature_column="before",
                feature_sum_squares_column="before*before", feature_cross_sum_column="revenue*before",
            )
        )  # fmt: skip
        return [test.difference(level_1="control", level_2="treatment") for test in found]

    add = summed(path)
    return {
        "frame": best(lambda: run(add())),
        "one": best(lambda: run(tests[0])),
        "many": best(lambda: [run(test) for test in tests[:50]]) * len(tests) / len(tests[:50]),
    }


def main() -> int:
    """Print the times of the peers that are here."""
    path, sums = sys.argv[1:3]
    with open(sums) as stream:  # noqa: PTH123 - also for old interpreters
        tests = [(a, b) for a, b in json.load(stream)]
    found: dict[str, dict[str, float]] = {}
    for peer in (tea_tasting, gbstats, spotify_confidence):
        try:
            found[peer.__name__] = peer(path, tests)
        except ImportError:
            continue
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
