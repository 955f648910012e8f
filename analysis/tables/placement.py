"""Which experiment, stratum and variant every row of a table belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.evidence import Stratum, Subject, configured_strata
from switchpoint.analysis.tables.columns import Columns, Labels
from switchpoint.experiment.definition.source import FIRST, LARGEST, RANDOMISED, UNKNOWN, Source
from switchpoint.experiment.definition.types import BUCKETS, DAY_MS, Experiment, Spec
from switchpoint.experiment.errors import BadInput, plainly, suggest

Index = NDArray[np.int64]
EVERYBODY = "all"
"""The one segment of a table without a segment column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The experiments of a table, and per row the place of its experiment, stratum and variant there."""

    subjects: tuple[Subject, ...]
    subject: Index
    stratum: Index
    variant: Index


def layout(columns: Columns, spec: Spec | Experiment, source: Source, weight: Index) -> Layout:
    """Place every row; `weight` is its number of units (used by `control: largest`).

    Raises:
        BadInput: a variant or segment the definition does not know, no such control, or no way to tell which
            variant is control.
    """
    everywhere = Labels(
        names=(source.experiment_key or "table",), codes=np.zeros(len(columns), dtype=np.int64)
    )
    who = columns.labels(source.experiment) if source.experiment is not None else everywhere
    segment = columns.labels(source.segment) if source.segment is not None else None
    variant = columns.labels(source.variant) if source.variant is not None else _numbered(who)
    assigned = _assigned(columns, source, who)
    if isinstance(spec, Experiment):
        return _defined(spec, source, variant, segment, assigned)
    members, local = _members(who, variant, weight, source.control)
    places = segment or Labels(names=(EVERYBODY,), codes=np.zeros(len(columns), dtype=np.int64))
    for column, labels in ((source.variant, variant), (source.segment, segment)):
        if column is not None and labels is not None:
            _refuse_twins(column, who, labels)
    known = epochs(columns, source)
    strata = [(epoch + 1, name) for epoch in range(len(known.names)) for name in places.names]
    both = Labels(
        names=tuple(map(str, range(len(strata)))), codes=known.codes * len(places.names) + places.codes
    )
    held, stratum = _members(who, both, weight, FIRST)
    subjects = tuple(
        Subject(
            key=key,
            variants=members[e],
            strata=tuple(
                Stratum(epoch=epoch, segment=name, weights=_weights(source, members[e], known, epoch, name))
                for epoch, name in (strata[int(place)] for place in held[e])
            ),
            segmented_by=source.segment or "segment",
            assignment=assigned[e],
        )
        for e, key in enumerate(who.names)
    )
    return Layout(subjects=subjects, subject=who.codes, stratum=stratum, variant=local)


def _defined(
    spec: Experiment, source: Source, variant: Labels, segment: Labels | None, assigned: list[str]
) -> Layout:
    """Rows of the one experiment a definition describes; its variants and segments are the known ones."""
    keys = tuple(v.key for v in spec.variants)
    strata = configured_strata(spec)
    names = tuple(s.segment for s in strata)
    subject = Subject(
        key=spec.key, variants=keys, strata=strata, segmented_by=source.segment or "segment",
        assignment=assigned[0] if assigned else UNKNOWN,
    )  # fmt: skip
    size = len(variant.codes)
    return Layout(
        subjects=(subject,),
        subject=np.zeros(size, dtype=np.int64),
        stratum=np.zeros(size, dtype=np.int64) if segment is None else _known(segment, names, "segment"),
        variant=_known(variant, keys, "variant"),
    )


def _known(labels: Labels, known: tuple[str, ...], what: str) -> Index:
    for name in labels.names:
        if name not in known:
            raise BadInput(
                f"no {what} {name!r} in the definition", field=f"source.{what}", value=name,
                fix=suggest(name, known),
            )  # fmt: skip
    return np.array([known.index(name) for name in labels.names], dtype=np.int64)[labels.codes]


def _numbered(who: Labels) -> Labels:
    """Every row is a variant: numbered from 1 within its experiment."""
    order = np.argsort(who.codes, kind="stable")
    starts = np.flatnonzero(np.diff(who.codes[order], prepend=-1))
    lengths = np.diff(np.append(starts, len(order)))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - np.repeat(starts, lengths)
    most = int(place.max()) + 1 if len(place) else 0
    return Labels(names=tuple(str(number) for number in range(1, most + 1)), codes=place)


def _members(
    who: Labels, what: Labels, weight: Index, control: str | None
) -> tuple[list[tuple[str, ...]], Index]:
    """Each experiment's names, in order of appearance with control first, and each row's place there."""
    width = max(len(what.names), 1)
    pairs, first, inverse = np.unique(who.codes * width + what.codes, return_index=True, return_inverse=True)
    size = np.bincount(inverse, weights=weight, minlength=len(pairs))
    by_experiment: list[list[int]] = [[] for _ in who.names]
    for place in np.argsort(first, kind="stable"):
        by_experiment[int(pairs[place]) // width].append(int(place))
    local = np.empty(len(pairs), dtype=np.int64)
    members = []
    for e, found in enumerate(by_experiment):
        names = [what.names[int(pairs[place]) % width] for place in found]
        head = _control(names, [float(size[place]) for place in found], control, who.names[e])
        order = [head, *(i for i in range(len(found)) if i != head)] if found else []
        local[[found[i] for i in order]] = np.arange(len(order))
        members.append(tuple(names[i] for i in order))
    return members, local[inverse]


def _refuse_twins(column: str, who: Labels, what: Labels) -> None:
    """Two spellings of one name would be two variants, or two segments.

    Raises:
        BadInput: names of one experiment that differ in case or white space alone.
    """
    if len({plainly(name) for name in what.names}) == len(what.names):
        return
    for names in _members(who, what, np.ones(len(what.codes), dtype=np.int64), FIRST)[0]:
        spelled: dict[str, str] = {}
        for name in names:
            twin = spelled.setdefault(plainly(name), name)
            if twin != name:
                raise BadInput(
                    f"{twin!r} and {name!r} differ in case or white space alone", field=f"column {column}",
                    value=name, fix="write both alike; or write `labels: tidy` in the source to read them as "
                    "one, if they are.",
                )  # fmt: skip


def _control(names: list[str], size: list[float], control: str | None, experiment: str) -> int:
    if control == FIRST or len(names) == 1:
        return 0
    if control == LARGEST:
        return size.index(max(size))
    if control is None:
        return _by_name(names, experiment)
    if control not in names:
        raise BadInput(
            f"the experiment {experiment!r} has no variant {control!r}",
            field="source.control",
            value=control,
            fix=suggest(control, names),
        )
    return names.index(control)


CONTROL_NAMES = ("control", "baseline", "champion", "holdout", "a")
"""What people call control (in lower case): taken where a source does not say which variant it is."""


def _by_name(names: list[str], experiment: str) -> int:
    """The one variant that is called control, or that has another of its usual names.

    Which variant is control turns a verdict round, so nothing else is guessed.
    """
    lower = [name.strip().lower() for name in names]
    called = [place for place, name in enumerate(lower) if name == CONTROL_NAMES[0]]
    usual = called or [place for place, name in enumerate(lower) if name in CONTROL_NAMES]
    if len(usual) == 1:
        return usual[0]
    which = "several of its variants may be" if usual else "no variant is called"
    raise BadInput(
        f"the source does not say which variant of {experiment!r} is control, and {which} control: "
        + _listed(names),
        field="source.control",
        fix=f"write `control: {names[usual[0] if usual else 0]}`, or whichever it is "
        f"(`{FIRST}` takes the first row's, `{LARGEST}` the one with most units).",
    )


def _listed(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def epochs(columns: Columns, source: Source) -> Labels:
    """The epoch of every row, by the key of its weights: a value of the column `epoch`, or the day from which
    on they held; one epoch where weights are the same for all, or differ by segment.

    Raises:
        BadInput: rows before the first day of weights, an epoch without weights, or a key that is no day.
    """
    keys = list(source.weights_by)
    if source.epoch is not None:
        named = columns.labels(source.epoch)
        for name in named.names if keys else ():
            if name not in source.weights_by:
                raise BadInput(
                    f"no weights for the epoch {name!r}", field="source.weights", value=name,
                    fix=suggest(name, keys),
                )  # fmt: skip
        return named
    if not keys or source.day is None:
        return Labels(names=("",), codes=np.zeros(len(columns), dtype=np.int64))
    starts = []
    for key in keys:
        try:
            starts.append(columns.notation.instant(source.day, key)[0] // DAY_MS)
        except ValueError as error:
            raise BadInput(
                f"weights are by day, and {error}", field="source.weights", value=key,
                fix="write the days from which on they held, or name the column `epoch`.",
            ) from error  # fmt: skip
    order, instants = np.argsort(starts), columns.instants(source.day)
    codes = np.searchsorted(np.sort(starts), instants.days, side="right") - 1
    columns.refuse(
        source.day, codes < 0, "a day before the first one that has weights", "give the weights of that day."
    )
    return Labels(names=tuple(keys[place] for place in order), codes=codes.astype(np.int64))


def _weights(
    source: Source, variants: tuple[str, ...], known: Labels, epoch: int, segment: str
) -> tuple[float, ...] | None:
    """The intended shares of a stratum; None where they are not known."""
    given: Mapping[str, int] | str | None = source.weights
    if source.weights_by:
        key = known.names[epoch - 1] or segment
        if key not in source.weights_by:
            raise BadInput(
                f"no weights for the segment {key!r}", field="source.weights", value=key,
                fix=suggest(key, source.weights_by),
            )  # fmt: skip
        given = source.weights_by[key]
    if given == "equal":
        return (1 / len(variants),) * len(variants)
    if not isinstance(given, Mapping):
        return None
    for name in variants:
        if name not in given:
            raise BadInput(
                f"no weight for the variant {name!r}", field="source.weights", value=name,
                fix=suggest(name, given),
            )  # fmt: skip
    for name, share in given.items():
        if share and name not in variants:
            raise BadInput(
                f"nobody met the variant {name!r}, which was meant for {share / BUCKETS:.4g} of the units",
                field="source.weights", value=name,
                fix=f"find its rows ({suggest(name, variants).rstrip('.')}), or leave it out of the weights.",
            )  # fmt: skip
    return tuple(given[name] / BUCKETS for name in variants)


def _assigned(columns: Columns, source: Source, who: Labels) -> list[str]:
    """How the units of each experiment were assigned: randomised only if every row says so."""
    if source.assignment_column is None:
        return [source.assignment] * len(who.names)
    said = columns.labels(source.assignment_column)
    good = np.array([name.strip().lower() == RANDOMISED for name in said.names], dtype=bool)[said.codes]
    others = np.bincount(who.codes, weights=~good, minlength=len(who.names))
    return [UNKNOWN if count else RANDOMISED for count in others]
