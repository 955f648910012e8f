"""Segments: the table of their fields, in routing order, and what their shares are of the variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from switchpoint.experiment.definition.source import Source
from switchpoint.experiment.definition.types import BUCKETS, Segment
from switchpoint.experiment.errors import suggest
from switchpoint.experiment.language.document import canonical
from switchpoint.experiment.language.kinds import CONDITION, EQUAL_OR_WEIGHTS, KEY, SHARE, Kind, list_of
from switchpoint.experiment.language.node import Node, unique
from switchpoint.experiment.language.record import Block, Field, record

_SEGMENT: Kind[Mapping[str, Any]] = record(
    "Segment",
    "A routing condition with traffic and allocation.",
    Field("key", KEY, "Name of the segment.", needed=True, example="us"),
    Field("when", CONDITION, "Which units belong here; left out: all the rest.", example={"country": "US"}),
    Field("traffic", SHARE, "Share of the units that take part.", default=BUCKETS, example="20%"),
    Field(
        "allocation",
        EQUAL_OR_WEIGHTS,
        "Share of each variant, summing to 1, or `equal`.",
        needed=True,
        example="equal",
    ),
)


def _reachable(node: Node, segments: tuple[Mapping[str, Any], ...]) -> None:
    """A segment no unit can reach is an error."""
    unique(node, [segment["key"] for segment in segments], "segment")
    catch_all: str | None = None
    seen: dict[str, str] = {}
    for index, segment in enumerate(segments):
        key, when = segment["key"], segment["when"]
        if catch_all is not None:
            message = f"{key!r} is never reached: {catch_all!r} above takes every unit"
            node.record(message, "move the segment without `when` to the end.", index)
        if when is None:
            catch_all = catch_all or key
            continue
        first = seen.setdefault(canonical(when), key)
        if first != key:
            message = f"{key!r} is never reached: {first!r} has the same condition"
            node.record(message, "change or remove one of them.", index, "when")


SEGMENTS = list_of(_SEGMENT, "segment", least=1, most=100, check=_reachable)
"""The `segments` list; `with_variants` makes segments of its items."""


def with_variants(
    block: Block, segments: Sequence[Mapping[str, Any]], variants: list[str]
) -> tuple[Segment, ...]:
    """The segments, with the shares of these variants; what is wrong with them is noted in the definition."""
    built = []
    for index, given in enumerate(segments):
        allocation = _allocation(block, given["allocation"], variants, "segments", index, "allocation")
        segment = Segment(
            key=given["key"], when=given["when"], traffic=given["traffic"], allocation=allocation
        )
        for variant in segment.starved:
            block.record(
                f"{variants[variant]!r} gets no bucket at {segment.traffic / 100:g} % traffic",
                "raise traffic or the share.",
                *("segments", index, "allocation" if segment.traffic == BUCKETS else "traffic"),
            )
        built.append(segment)
    return tuple(built)


def _allocation(
    block: Block, shares: Mapping[str, int] | str, variants: list[str], *path: str | int
) -> tuple[int, ...]:
    if isinstance(shares, str):
        return equal(len(variants))
    for variant in shares:
        if variant not in variants:
            block.record(f"no variant {variant!r}", suggest(variant, variants), *path, variant)
    missing = [variant for variant in variants if variant not in shares]
    if missing:
        block.record(f"no share for {', '.join(missing)}", "name every variant; 0 is allowed.", *path)
    return tuple(shares.get(variant, 0) for variant in variants)


def everyone(variants: list[str], source: Source | None) -> Segment:
    """The one segment of units assigned elsewhere, with the weights the source intends, else equal ones."""
    given = source.weights if source else None
    weights = tuple(given[key] for key in variants) if isinstance(given, Mapping) else equal(len(variants))
    return Segment(key="all", when=None, traffic=BUCKETS, allocation=weights)


def equal(count: int) -> tuple[int, ...]:
    """BUCKETS split into `count` parts as equal as integers allow; the first ones get the remainder."""
    part, rest = divmod(BUCKETS, max(count, 1))
    return tuple(part + (index < rest) for index in range(count))


def without_variants(segment: Segment, variants: list[str]) -> dict[str, Any]:
    """The item of the list again."""
    allocation = dict(zip(variants, segment.allocation, strict=True))
    return {"key": segment.key, "when": segment.when, "traffic": segment.traffic, "allocation": allocation}
