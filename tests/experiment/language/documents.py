"""Random valid definitions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tests.experiment.definitions import minimal

DESIGNS: list[dict[str, Any]] = [
    {}, {"design": "fixed"}, {"design": "group_sequential"}, {"design": "bayesian"},
    {"design": "group_sequential", "looks_every": "1w", "spending": "power", "gamma": 1.5, "units": 12_345},
    {"design": "bayesian", "prior": {"mean": "1%", "sd": 0.07}, "loss": "0.1%"},
]  # fmt: skip

SOURCES: list[dict[str, Any]] = [
    {
        "shape": "counts", "assignment": "randomised", "experiment": "test", "day": "week", "cumulative": True,
        "weights": "equal", "columns": {"a": {"n": "shown", "sum": "clicks"}},
    },
    {
        "shape": "units", "variant": "arm", "control": 0, "unit": "user", "cluster": "house", "segment": "country",
        "dimensions": ["device"], "served": "page", "served_map": {"control": "old", "treatment": 1},
        "weights": {"control": "50%", "treatment": 0.5}, "covariate": {"a": "before"},
        "columns": {"a": {"numerator": "clicks", "denominator": "views"}}, "eligible": {"country": {"$in": ["US"]}},
    },
    {
        "shape": "moments", "variant": "arm", "experiment": {"key": "exp"},
        "columns": {"a": {"n": "units", "mean": "m", "variance": "v"}},
    },
    {
        "shape": "events", "variant": "arm", "unit": "user",
        "exposures": {"table": "exposures.parquet", "id": "row", "at": "time"},
        "outcomes": {"table": "events.parquet", "type": "kind", "at": "time", "value": "amount"},
    },
]  # fmt: skip

_percents = st.integers(1, 10_000).map(lambda n: f"{Decimal(n) / 100}%")
_keys = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,10}", fullmatch=True)
_events = st.sampled_from(["click", "purchase", "view.item"])


@st.composite
def _metrics(draw: st.DrawFn, key: str, role: str) -> dict[str, Any]:
    kind = draw(st.sampled_from(["proportion", "mean", "ratio"]))
    metric: dict[str, Any] = {
        "key": key,
        "type": kind,
        "role": role,
        "direction": draw(st.sampled_from(["increase", "decrease"])),
    }
    if role == "guardrail":
        metric["margin"] = draw(_percents | st.sampled_from([0.01, 2, 1.5]))
    decimals = draw(st.integers(0, 4))
    cap = draw(st.none() | st.integers(1, 10**6).map(lambda n: n / 10**decimals))
    if kind == "ratio":
        metric |= {
            "numerator": {"event": draw(_events), "value": "v"},
            "denominator": draw(_events),
            "decimals": decimals,
        }
        if cap:
            metric["numerator"]["cap"] = cap
    else:
        metric["event"] = draw(_events)
    if draw(st.booleans()):
        names = ("numerator", "denominator") if kind == "ratio" else ("value",)
        before: dict[str, Any] = {side: draw(st.sampled_from(["past", "score", "old_1"])) for side in names}
        short = kind != "ratio" and draw(st.booleans())
        metric["covariate"] = before["value"] if short else before | {"decimals": draw(st.integers(0, 6))}
    if kind == "mean":
        metric |= {"value": "v", "decimals": decimals, "currency": "EUR"} | ({"cap": cap} if cap else {})
    return {**metric, "currency": "EUR"} if kind == "ratio" else metric


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Definitions with every part but a source."""
    cut = draw(st.integers(0, 10_000))
    allocation = draw(
        st.sampled_from(["equal", {"control": cut / 10_000, "treatment": (10_000 - cut) / 10_000}])
    )
    segments = [
        {
            "key": "a",
            "when": {
                "country": draw(st.text(min_size=1, max_size=5)),
                "n": {"$gt": draw(st.integers(-9, 9))},
            },
            "allocation": allocation,
        },
        {"key": "b", "traffic": draw(st.sampled_from([0, 1, "50%"])), "allocation": "equal"},
    ]
    names = draw(st.lists(_keys, min_size=1, max_size=4, unique=True))
    roles = [
        "primary",
        *draw(
            st.lists(
                st.sampled_from(["secondary", "guardrail"]), min_size=len(names) - 1, max_size=len(names) - 1
            )
        ),
    ]
    return minimal(
        key=draw(_keys),
        hypothesis=draw(st.none() | st.text(min_size=1, max_size=20).filter(str.strip)),
        segments=segments[: draw(st.integers(1, 2))],
        metrics=[draw(_metrics(name, role)) for name, role in zip(names, roles, strict=True)],
        layer=draw(st.none() | st.just({"key": "l", "slice": ["12.34%", 0.9]})),
        dimensions=draw(st.none() | st.just(["device", "country"])),
        window=draw(st.sampled_from(["7d", "12h", "90m", "1w", "1500ms"])),
        decision={
            "mde": draw(_percents),
            "alpha": draw(st.sampled_from([0.01, 0.05, "5%"])),
            "max_runtime": "8w",
        }
        | draw(st.sampled_from(DESIGNS)),
    )


@st.composite
def outside(draw: st.DrawFn) -> dict[str, Any]:
    """Definitions of experiments whose units were assigned elsewhere."""
    return minimal(
        model=None,
        variants=[{"key": "control"}, {"key": "treatment"}],
        segments=None,
        metrics=[{"key": "a", "type": "proportion", "event": "click", "role": "primary"}],
        decision={"mde": draw(_percents)} | draw(st.sampled_from(DESIGNS)),
        source=draw(st.sampled_from(SOURCES)),
    )
