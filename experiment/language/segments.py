"""Strict parsing of segments: conditions in routing order, traffic and allocations in ten-thousandths."""

from __future__ import annotations

from collections.abc import Mapping

from switchpoint.experiment.definition.source import Source
from switchpoint.experiment.definition.types import BUCKETS, Segment
from switchpoint.experiment.language.document import canonical
from switchpoint.experiment.language.fields import Fields, Place, each, key, share, unique
from switchpoint.experiment.language.source import condition, weights
from switchpoint.experiment.wording import suggest

MAX_SEGMENTS = 100


def everyone(count: int, names: list[str], source: Source | None) -> Segment:
    """The one segment of units assigned elsewhere, with the weights the source intends, else equal ones."""
    given = source.weights if source else None
    allocation = tuple(given[n] for n in names) if isinstance(given, Mapping) else equal(count)
    return Segment(key="all", when=None, traffic=BUCKETS, allocation=allocation)


def equal(count: int) -> tuple[int, ...]:
    """BUCKETS split into `count` parts as equal as integers allow; the first ones get the remainder."""
    part, rest = divmod(BUCKETS, max(count, 1))
    return tuple(part + (index < rest) for index in range(count))


def parse_segments(place: Place, variants: list[str]) -> tuple[Segment, ...]:
    """The `segments` list. A segment no unit can reach is an error."""
    segments = each(place, lambda item: _segment(item, variants))
    if not 1 <= len(segments) <= MAX_SEGMENTS:
        place.fail(f"{len(segments)} segments", f"give 1 to {MAX_SEGMENTS}.")
    unique(place, [segment.key for segment in segments], "segment")
    catch_all: str | None = None
    seen: dict[str, str] = {}
    for index, segment in enumerate(segments):
        if catch_all is not None:
            place.record(
                f"{segment.key!r} is never reached: {catch_all!r} above takes every unit",
                "move the segment without `when` to the end.",
                index,
            )
        if segment.when is None:
            catch_all = catch_all or segment.key
            continue
        first = seen.setdefault(canonical(segment.when), segment.key)
        if first != segment.key:
            message = f"{segment.key!r} is never reached: {first!r} has the same condition"
            place.record(message, "change or remove one of them.", index, "when")
    return segments


def _segment(place: Place, variants: list[str]) -> Segment:
    block = Fields(place, ("key", "when", "traffic", "allocation"))
    segment = Segment(
        key=block.need("key", key, "us"),
        when=block.take("when", condition, None) or None,
        traffic=block.take("traffic", share, BUCKETS),
        allocation=block.need("allocation", lambda p: _allocation(p, variants), "equal"),
    )
    block.done()
    for variant in segment.starved:
        block.record(
            f"{variants[variant]!r} gets no bucket at {segment.traffic / 100:g} % traffic",
            "raise traffic or the share.",
            "traffic" if block.has("traffic") else "allocation",
        )
    block.done()
    return segment


def _allocation(place: Place, variants: list[str]) -> tuple[int, ...]:
    shares = weights(place)
    if isinstance(shares, str):
        return equal(len(variants))
    for variant in shares:
        if variant not in variants:
            place.record(f"no variant {variant!r}", suggest(variant, variants), variant)
    missing = [variant for variant in variants if variant not in shares]
    if missing:
        place.fail(f"no share for {', '.join(missing)}", "name every variant; 0 is allowed.")
    return tuple(shares.get(variant, 0) for variant in variants)
