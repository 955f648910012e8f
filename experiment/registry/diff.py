"""What applying a definition would do: the diff, a new epoch or not, and how many units would move."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from switchpoint.experiment.definition.state import ExperimentState, Status
from switchpoint.experiment.definition.types import BUCKETS, Experiment, Segment
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.language.experiment import to_document
from switchpoint.experiment.registry.lifecycle import opens_epoch, refuse_frozen


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """Exact shares of one segment's units: those that would enter, leave, or change variant."""

    segment: str
    entering: Fraction
    leaving: Fraction
    moving: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedChange:
    """The plan of one `apply`.

    `action`: create, revise, or none. `lines`: the diff, one changed value per line (`+`, `-` or `~`).
    `refused`: why apply would refuse, "" if it would not. `movements`: per segment, empty before start.
    `outdated`: variants whose comparison with control so far would become history, as one of the two models
    would be another.
    """

    key: str
    action: str
    lines: tuple[str, ...]
    opens_epoch: bool
    refused: str
    movements: tuple[Movement, ...]
    outdated: tuple[str, ...]


def plan_change(
    old: ExperimentState | None, new: Experiment, *, digests: Mapping[str, str] | None = None
) -> PlannedChange:
    """What applying `new` would change. `digests`: the models' current digests (None: as they were)."""
    before = {} if old is None else flatten(to_document(old.definition))
    after = flatten(to_document(new))
    lines = _diff(before, after)
    opens = old is not None and opens_epoch(old, new, digests or {})
    refused = ""
    if old is not None and (lines or opens):
        try:
            refuse_frozen(old, new)
        except BadInput as error:
            refused = str(error)
    if old is not None and opens and not lines:
        lines = ("~ the model behind a variant changed",)
    action = "create" if old is None else "revise" if lines else "none"
    started = old is not None and old.status in {Status.RUNNING, Status.PAUSED} and not refused
    return PlannedChange(
        key=new.key,
        action=action,
        lines=lines,
        opens_epoch=opens and not refused,
        refused=refused,
        movements=movements(old.definition, new, rehash=opens) if old is not None and started else (),
        outdated=_outdated(old, digests or {}) if old is not None and started else (),
    )


def _outdated(old: ExperimentState, digests: Mapping[str, str]) -> tuple[str, ...]:
    now = {} if old.epoch is None else old.epoch.digests
    control, *others = (variant.key for variant in old.definition.variants)
    changed = {key for key, digest in digests.items() if now.get(key) != digest}
    return tuple(key for key in others if changed & {control, key})


def movements(old: Experiment, new: Experiment, *, rehash: bool) -> tuple[Movement, ...]:
    """Per segment of `new` that `old` has too, the exact shares of its units that would move.

    Without `rehash` a unit keeps its bucket, so shares are overlaps of bucket ranges. With it (a new epoch)
    the new bucket is independent of the old one, so shares are products of widths, the hash being uniform.
    """
    before = {segment.key: segment for segment in old.segments}
    count = _product if rehash else _overlap
    return tuple(_movement(before[s.key], s, count) for s in new.segments if s.key in before)


def flatten(value: Any, path: str = "") -> dict[str, str]:
    """A document as dotted path → text; items of lists go by their `key` where they have one."""
    if isinstance(value, Mapping) and value:
        parts = ((f"{path}.{key}" if path else str(key), item) for key, item in value.items())
    elif isinstance(value, list) and value:
        parts = (
            (f"{path}[{item['key'] if isinstance(item, Mapping) and 'key' in item else index}]", item)
            for index, item in enumerate(value)
        )
    else:
        return {path: str(value)}
    return {leaf: text for below, item in parts for leaf, text in flatten(item, below).items()}


def changed(
    before: Mapping[str, str], after: Mapping[str, str]
) -> Iterator[tuple[str, str | None, str | None]]:
    """The paths of two flat documents whose values differ, with both; None where it is not there."""
    for path in dict.fromkeys([*before, *after]):
        old, new = before.get(path), after.get(path)
        if old != new:
            yield path, old, new


def _diff(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    lines = []
    for path, old, new in changed(before, after):
        if old is None:
            lines.append(f"+ {path}: {new}")
        elif new is None:
            lines.append(f"- {path}: {old}")
        else:
            lines.append(f"~ {path}: {old} -> {new}")
    return tuple(lines)


def _overlap(old: Segment, new: Segment, i: int, j: int) -> Fraction:
    (a, b), (c, d) = old.ranges[i], new.ranges[j]
    return Fraction(max(0, min(b, d) - max(a, c)), BUCKETS)


def _product(old: Segment, new: Segment, i: int, j: int) -> Fraction:
    return Fraction(old.widths[i] * new.widths[j], BUCKETS * BUCKETS)


def _movement(old: Segment, new: Segment, count: Any) -> Movement:
    size = range(len(old.widths))
    shares = [[count(old, new, i, j) for j in range(len(new.widths))] for i in size]
    stayed = sum((sum(row, Fraction()) for row in shares), Fraction())
    kept = sum((shares[i][i] for i in size), Fraction())
    return Movement(
        segment=new.key,
        entering=Fraction(sum(new.widths), BUCKETS) - stayed,
        leaving=Fraction(sum(old.widths), BUCKETS) - stayed,
        moving=stayed - kept,
    )
