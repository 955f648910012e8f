"""The live ledger's moments as evidence: the cells of the models in force, and the history of earlier ones.

A comparison is of a pair of model digests, control's and the variant's. An epoch whose pair is the one in
force is evidence for that variant, whatever its allocation; any other is history. With several variants each
has its own epochs: a variant may have kept its model while another changed, and where control changed
nothing earlier is evidence for anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, compress

import numpy as np

from switchpoint.analysis.evidence.evidence import (
    COUNTS,
    Breakdown,
    Cells,
    Digests,
    Evidence,
    History,
    Mask,
    Stratum,
    Subject,
    configured_strata,
    segment_attribute,
    stated_assignment,
)
from switchpoint.analysis.evidence.facts import LEDGER, Arrived, Facts, Ids, Outcomes
from switchpoint.analysis.evidence.moments import Covariates, Exact, Index, Integers, integers
from switchpoint.experiment.definition.source import RANDOMISED
from switchpoint.experiment.definition.state import Epoch, ExperimentState
from switchpoint.experiment.definition.types import Experiment, Metric, MetricType
from switchpoint.experiment.ledger.fold import OTHER_TYPE, Arrivals
from switchpoint.experiment.ledger.moments import Cell, CellKey, Moments, Sums


def from_ledger(state: ExperimentState, moments: Moments, *, at: int) -> Evidence:
    """Evidence of one experiment from the live ledger's moments at the instant `at` (ms).

    Strata are the segments of every epoch that compared the models in force, with the allocation of that
    epoch; what was measured of other models is `history`. Cells of a dimension's values hold the same units
    as the cells of all units and are the `breakdown`. An experiment with a `source` was imported from a
    closed log, so nothing is waited for.
    """
    definition = state.definition
    subject = Subject(
        key=definition.key,
        variants=tuple(v.key for v in definition.variants),
        strata=_strata(state, moments),
        segmented_by=segment_attribute(definition),
        assignment=RANDOMISED if definition.source is None else stated_assignment(definition.source),
        digests=model_digests(state, state.epoch),
    )
    order = {variant: place for place, variant in enumerate(subject.variants)}
    # two lists, not pairs: thousands of small objects that live on are what a garbage collection costs
    mine = [k.experiment == definition.key and not k.dimension for k in moments]
    keys, cells = list(compress(moments, mine)), list(compress(moments.values(), mine))
    found = in_force(
        Evidence(
            metrics=definition.metrics, rule=definition.decision, window_ms=definition.window_ms, at=at,
            closed=definition.source is not None, day_width=1, subjects=(subject,),
            cells=_cells(keys, cells, definition.metrics, _places(subject), order), facts=(LEDGER,),
        )
    )  # fmt: skip
    return replace(found, breakdown=_breakdown(found, moments, order))


def _places(subject: Subject) -> dict[tuple[int, str], int]:
    return {(s.epoch, s.segment): place for place, s in enumerate(subject.strata)}


def _breakdown(whole: Evidence, moments: Moments, order: Mapping[str, int]) -> Breakdown | None:
    """The cells of dimensions, of the models in force; None without any."""
    subject, compared = whole.subjects[0], whole.compared()[0]
    places = _places(subject)

    def is_evidence(key: CellKey) -> bool:
        place = places.get((key.epoch, key.segment))
        return place is not None and bool(compared[place, order[key.variant]])

    keys = [k for k in moments if k.experiment == subject.key and k.dimension and is_evidence(k)]
    if not keys:
        return None
    values = tuple(sorted({(k.dimension, k.value) for k in keys}))
    at = {value: place for place, value in enumerate(values)}
    cells = _cells(keys, [moments[k] for k in keys], whole.metrics, places, order)
    lead = np.array([at[k.dimension, k.value] for k in keys], dtype=np.int64)
    size = len(values)
    broken = replace(
        whole, subjects=(subject,) * size, cells=replace(cells, subject=lead), facts=(LEDGER,) * size,
        history=None, gaps=(),
    )  # fmt: skip
    return Breakdown(values=values, evidence=broken)


def arrived(definition: Experiment, counts: Arrivals, reads: Collection[str]) -> Facts:
    """What a live ledger can show, with its counts of what arrived.

    Args:
        reads: the event types that the metrics of any experiment of the project read.
    """
    mine = {
        side.event for m in definition.metrics for side in (m.numerator, m.denominator) if side is not None
    }
    outcomes = {key[1]: count for key, count in counts.items() if key[0] == "outcomes"}
    early, counted = (
        sum(counts.get((name, definition.key, v.key), 0) for v in definition.variants)
        for name in ("early", "counted")
    )
    return replace(
        LEDGER,
        ids=Ids(
            looked_at=counts.get(("exposures",), 0) + sum(outcomes.values()),
            wrong={key[1]: count for key, count in counts.items() if key[0] == "ids"},
            live=True,
        ),
        outcomes=Outcomes(early=early, before=None, counted=counted),
        arrived=Arrived(
            read={kind: outcomes.get(kind, 0) for kind in sorted(mine)},
            unexposed=sum(counts.get(("unexposed", kind), 0) for kind in mine),
            joined=early + counted,
            unread={
                kind: n for kind, n in sorted(outcomes.items()) if kind not in reads and kind != OTHER_TYPE
            },
        ),
    )


def model_digests(state: ExperimentState, epoch: Epoch | None) -> Digests:
    """The models of an epoch; empty where the experiment has none."""
    if state.epoch is None or not state.epoch.digests:
        return ()
    known = {} if epoch is None else epoch.digests
    return tuple(known.get(variant.key) for variant in state.definition.variants)


def in_force(whole: Evidence) -> Evidence:
    """The evidence about the models in force, with the rest of it as history.

    Args:
        whole: every cell of one experiment.
    """
    subject, cells, compared = whole.subjects[0], whole.cells, whole.compared()[0]
    if compared.all():
        return whole
    used = compared.any(axis=1)
    mine = compared[cells.stratum, cells.variant]
    rows, past = np.flatnonzero(mine), cells.counts[~mine & ~cells.contaminated].sum(axis=0)
    strata = tuple(_among(s, compared[place]) for place, s in enumerate(subject.strata) if used[place])
    return replace(
        whole,
        subjects=(replace(subject, strata=strata),),
        cells=cells.taken(rows, stratum=(np.cumsum(used) - 1)[cells.stratum[rows]]),
        history=None
        if mine.all()
        else History(pairs=_former_pairs(whole, compared), units=int(past[0]), carried=int(past[-1])),
        gaps=_gaps(cells, mine, compared),
    )  # fmt: skip


def _among(stratum: Stratum, kept: Sequence[bool]) -> Stratum:
    """The stratum with the weights that the variants kept have among each other."""
    if stratum.weights is None:
        return stratum
    weights = [weight if mine else 0.0 for weight, mine in zip(stratum.weights, kept, strict=True)]
    total = sum(weights) or 1.0
    return replace(stratum, weights=tuple(weight / total for weight in weights))


def _former_pairs(whole: Evidence, compared: Mask) -> Evidence:
    """Evidence with a subject per former pair that has units of its variant: control and that variant."""
    subject, cells = whole.subjects[0], whole.cells
    former: dict[tuple[int, Digests], list[int]] = {}
    for v in range(1, len(subject.variants)):
        for place, stratum in enumerate(subject.strata):
            if not compared[place, v]:
                former.setdefault((v, (stratum.digests[0], stratum.digests[v])), []).append(place)
    subjects: list[Subject] = []
    picked: list[tuple[Index, Index, Index, Index]] = []
    for (v, pair), strata in former.items():
        rows = np.flatnonzero(np.isin(cells.stratum, strata) & np.isin(cells.variant, (0, v)))
        other = cells.variant[rows] == v
        if not cells.counts[rows[other], 0].any():
            continue
        which = np.full(len(rows), len(subjects), dtype=np.int64)
        picked.append((rows, which, np.searchsorted(strata, cells.stratum[rows]), other.astype(np.int64)))
        subjects.append(
            replace(
                subject, variants=(subject.variants[0], subject.variants[v]), digests=pair,
                strata=tuple(_pair_of(subject.strata[place], v) for place in strata),
            )
        )  # fmt: skip
    nothing = np.zeros(0, dtype=np.int64)
    columns = zip(*picked, strict=True) if picked else ((nothing,),) * 4
    rows, which, within, variant = (np.concatenate(column) for column in columns)
    chosen = cells.taken(rows, subject=which, stratum=within, variant=variant)
    return replace(whole, subjects=tuple(subjects), cells=chosen, facts=(LEDGER,) * len(subjects))


def _pair_of(stratum: Stratum, v: int) -> Stratum:
    """The stratum with control and one other variant only."""
    digests, weights = (stratum.digests[0], stratum.digests[v]), stratum.weights
    two = replace(stratum, digests=digests, weights=None if weights is None else (weights[0], weights[v]))
    return _among(two, (True, True))


def _gaps(cells: Cells, mine: Mask, compared: Mask) -> tuple[Index, ...]:
    """The days that only history has: of all variants together, then of each other variant with control."""
    found = [np.setdiff1d(cells.day, cells.day[mine])]
    for v in range(1, compared.shape[1]):
        here = compared[cells.stratum, v]
        pair = (cells.variant == 0) | (cells.variant == v)
        found.append(np.setdiff1d(cells.day[pair & ~here], cells.day[pair & here]))
    return tuple(found)


def _strata(state: ExperimentState, moments: Moments) -> tuple[Stratum, ...]:
    """Configured strata first (also empty ones), then any that only the data know."""
    epochs = {epoch.number: epoch for epoch in state.epochs}
    known = [
        replace(stratum, digests=model_digests(state, epoch))
        for epoch in state.epochs
        for stratum in configured_strata(replace(state.definition, segments=epoch.segments), epoch.number)
    ]
    seen, key = {(s.epoch, s.segment) for s in known}, state.key
    found = sorted({(k.epoch, k.segment) for k in moments if k.experiment == key} - seen)
    return (
        *known,
        *(
            Stratum(
                epoch=number, segment=segment, weights=None,
                digests=model_digests(state, epochs.get(number)),
            )
            for number, segment in found
        ),
    )  # fmt: skip


def _cells(
    keys: Sequence[CellKey],
    cells: Sequence[Cell],
    metrics: tuple[Metric, ...],
    places: Mapping[tuple[int, str], int],
    order: Mapping[str, int],
) -> Cells:
    rows, width, size = len(cells), len(Sums._fields), len(metrics)
    counts = _table(
        lambda: ((c.n, c.exposures, c.fallbacks, c.mismatches, c.carried) for c in cells), rows, len(COUNTS)
    )
    sums = _table(lambda: chain.from_iterable(c.metrics[:size] for c in cells), rows, size * width).T.copy()
    n = np.asarray(counts[:, 0], dtype=np.int64)
    zero = np.zeros(rows, dtype=np.int64)
    before = _covariates(cells, metrics)
    return Cells(
        subject=np.zeros(rows, dtype=np.int64),
        stratum=np.array([places[k.epoch, k.segment] for k in keys], dtype=np.int64),
        variant=np.array([order[k.variant] for k in keys], dtype=np.int64),
        day=np.array([k.day for k in keys], dtype=np.int64),
        contaminated=np.array([k.contaminated for k in keys], dtype=bool),
        counts=np.asarray(counts, dtype=np.int64),
        totals=tuple(
            replace(
                _sums(metric, n, sums[place * width : (place + 1) * width], zero),
                covariates=before.get(metric.key),
            )
            for place, metric in enumerate(metrics)
        ),
    )


def _sums(metric: Metric, n: Integers, columns: Integers, zero: Integers) -> Exact:
    """A metric's totals; what a type does not have is one array of zeros."""
    x, xx = integers(columns[0]), integers(columns[1])
    if metric.type is MetricType.PROPORTION:
        return Exact(metric=metric, n=n, x=x, xx=x, y=zero, yy=zero, xy=zero)
    if metric.type is MetricType.MEAN:
        return Exact(metric=metric, n=n, x=x, xx=xx, y=zero, yy=zero, xy=zero)
    y, yy, xy = (integers(columns[part]) for part in (2, 3, 4))
    return Exact(metric=metric, n=n, x=x, xx=xx, y=y, yy=yy, xy=xy)


def _covariates(own: Sequence[Cell], metrics: tuple[Metric, ...]) -> dict[str, Covariates]:
    """The sums of every metric's covariates, in the order of `Cell.covariates`."""
    found: dict[str, Covariates] = {}
    for metric in metrics:
        if metric.covariate is None:
            continue
        k, place = len(metric.covariate.names), len(found)
        squares = k + k * (k + 1) // 2
        rows = np.array([cell.covariates[place] for cell in own], dtype=object)
        columns = tuple(integers(column) for column in rows.reshape(len(own), squares + k * k).T)
        found[metric.key] = Covariates(
            z=columns[:k], zz=columns[k:squares], xz=columns[squares:],
            units=(10**metric.covariate.decimals,) * k,
        )  # fmt: skip
    return found


def _table(parts: Callable[[], Iterable[tuple[int, ...]]], rows: int, width: int) -> Integers:
    """Integers given part by part as an array of rows, of Python integers where 64 bits are too few."""
    try:
        flat: Integers = np.fromiter(chain.from_iterable(parts()), dtype=np.int64, count=rows * width)
    except OverflowError:
        flat = np.array(list(chain.from_iterable(parts())), dtype=object)
    return flat.reshape(rows, width)
