"""The champion of a model, per segment: which version serves units that no experiment routes.

After a promotion the champion keeps the segment conditions of the experiment that earned it. Promoting in
some segments only must change nobody else's champion, whatever conditions overlap; so new rules go in
front of the old ones and carry the conditions of the experiment's earlier, unpromoted segments as
exceptions. Every change is kept, and rollback is one more change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from switchpoint.experiment.definition.condition import compile_condition
from switchpoint.experiment.definition.types import ModelRef, Segment
from switchpoint.experiment.errors import NotFound, Refused, Superseded
from switchpoint.experiment.language.document import to_body
from switchpoint.experiment.registry.model import ModelVersion


class Move(StrEnum):
    """What changed the champion."""

    START = "start"  # the first experiment on the model started: control is what was in production
    PROMOTE = "promote"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChampionRule:
    """Units that match `when` (None: all) and none of `unless` get `version`; the first such rule wins."""

    segment: str
    when: Mapping[str, Any] | None
    unless: tuple[Mapping[str, Any], ...] = ()
    version: int

    @property
    def unconditional(self) -> bool:
        """Whether no unit can get past this rule."""
        return self.when is None and not self.unless


@dataclass(frozen=True, slots=True, kw_only=True)
class Incumbents:
    """Who is champion for whom: rules in order, then `default` (None: nobody yet)."""

    rules: tuple[ChampionRule, ...] = ()
    default: int | None = None

    def version_for(self, segment: str | None = None) -> int | None:
        """The champion of a segment by its key; of units outside every rule for None."""
        for rule in self.rules:
            if rule.segment == segment or rule.unconditional:
                return rule.version
        return self.default


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """Why a champion changes: when (ms), who, the reason, the decision it rests on or what overrides one."""

    at: int
    actor: str
    reason: str = ""
    decision: str | None = None
    override: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChampionChange:
    """One entry of the history: what was done, when and why.

    A promotion carries its own `rules`, or for everybody none and the `version`; a rollback names the
    `segments` it took back (empty: the whole last promotion). Replayed, they say who is champion.
    """

    move: Move
    segments: tuple[str, ...] = ()
    version: int | None = None
    rules: tuple[ChampionRule, ...] = ()
    grounds: Grounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """The champion of one model with its whole history, oldest first."""

    model: str
    history: tuple[ChampionChange, ...] = ()

    @property
    def incumbents(self) -> Incumbents:
        """Who is champion now."""
        return _incumbents(_layers(self.history))

    @property
    def assignments(self) -> tuple[ChampionRule, ...]:
        """The rules in force, first match wins."""
        return self.incumbents.rules

    @property
    def default(self) -> int | None:
        """The version of units that match no rule."""
        return self.incumbents.default

    @property
    def otherwise(self) -> int | None:
        """The version of units that no rule takes; None, too, where one rule lets nobody past."""
        return None if any(rule.unconditional for rule in self.assignments) else self.default

    def since(self, segment: str | None = None) -> int | None:
        """When (ms) a segment, for None whoever is outside all rules, got its version of now; None: never."""
        version, since = self.incumbents.version_for(segment), None
        for number, change in enumerate(self.history, 1):
            if replace(self, history=self.history[:number]).incumbents.version_for(segment) != version:
                since = None
            elif since is None:
                since = change.grounds.at
        return None if version is None else since

    @property
    def predecessor(self) -> Champion | None:
        """Whom the newest promotion replaced; None for the first one, and after a rollback (no good)."""
        if len(self.history) < 2 or self.history[-1].move is Move.ROLLBACK:
            return None
        return replace(self, history=self.history[:-1])


def model_documents(versions: Sequence[ModelVersion], champions: Sequence[Champion]) -> list[dict[str, Any]]:
    """Every model as JSON: versions as registered, who serves each segment since when (ms), all changes."""
    lines: dict[str, list[ModelVersion]] = {}
    for version in versions:
        lines.setdefault(version.name, []).append(version)
    known = {champion.model: champion for champion in champions}
    return [_line(line, known.get(name, Champion(model=name))) for name, line in lines.items()]


def _line(versions: Sequence[ModelVersion], champion: Champion) -> dict[str, Any]:
    return {
        "name": champion.model,
        "versions": [to_body(version) for version in versions],
        "serving": [
            {"segment": rule.segment, "version": rule.version, "since": champion.since(rule.segment)}
            for rule in champion.assignments
        ],
        "default": champion.otherwise,
        "default_since": None if champion.otherwise is None else champion.since(),
        "history": [to_body(change) for change in champion.history],
    }


def compile_champion(champion: Champion) -> Callable[[Mapping[str, Any]], ModelRef | None]:
    """A function from a unit's attributes to its champion; None where there is none."""
    rules = [
        (compile_condition(rule.when), [compile_condition(c) for c in rule.unless], rule.version)
        for rule in champion.assignments
    ]
    references = {version: ModelRef(champion.model, version) for _, _, version in rules}
    default = None if champion.default is None else ModelRef(champion.model, champion.default)

    def choose(attributes: Mapping[str, Any]) -> ModelRef | None:
        for matches, exceptions, version in rules:
            if matches(attributes) and not any(excepted(attributes) for excepted in exceptions):
                return references[version]
        return default

    return choose


def rules_for(segments: Sequence[Segment], chosen: Collection[str], version: int) -> tuple[ChampionRule, ...]:
    """Rules that give `version` to exactly the units an experiment routes into the chosen segments.

    Raises:
        NotFound: a chosen segment is not one of the experiment's.
    """
    known = [segment.key for segment in segments]
    for key in chosen:
        if key not in known:
            raise NotFound("no such segment", field="segments", value=key, fix=f"known: {', '.join(known)}")
    rules: list[ChampionRule] = []
    passed: list[Mapping[str, Any]] = []
    for segment in segments:
        if segment.key in chosen:
            rule = ChampionRule(segment=segment.key, when=segment.when, unless=tuple(passed), version=version)
            rules.append(rule)
        elif segment.when is not None:
            passed.append(segment.when)
    return tuple(rules)


def promote(
    champion: Champion,
    version: int,
    *,
    rules: Sequence[ChampionRule] = (),
    expected: int | None = None,
    grounds: Grounds,
    move: Move = Move.PROMOTE,
) -> Champion:
    """Make `version` the champion of the rules' segments, or of everybody when there are none.

    Args:
        champion: as last read.
        version: the new champion.
        rules: from `rules_for`.
        expected: the version that must be champion there now; None does not ask.
        grounds: when, who, why.
        move: PROMOTE, or START for the first champion of a model.

    Raises:
        Superseded: somebody else promoted in one of these segments meanwhile.
    """
    before = champion.incumbents
    segments: list[str | None] = [rule.segment for rule in rules] or [None]
    for segment in segments if expected is not None else ():
        found = before.version_for(segment)
        if found != expected:
            raise Superseded(
                f"champion {champion.model}: {segment or 'everywhere'} is at version {found}, "
                f"expected {expected}: read it again and decide anew"
            )
    change = ChampionChange(
        move=move,
        segments=tuple(rule.segment for rule in rules),
        version=version,
        rules=tuple(rules),
        grounds=grounds,
    )
    return replace(champion, history=(*champion.history, change))


def rollback(champion: Champion, *, segments: Sequence[str] = (), grounds: Grounds) -> Champion:
    """Take back the last promotion that has not been taken back yet: everywhere, or in these segments.

    Args:
        champion: as last read.
        segments: each goes back to its own previous champion; empty takes the whole last promotion back.
        grounds: when, who, why.

    Raises:
        Refused: there is no earlier champion, or a segment is served by another segment's rule.
    """
    segments = tuple(dict.fromkeys(segments))  # one named twice goes back once
    change = ChampionChange(move=Move.ROLLBACK, segments=segments, grounds=grounds)
    for segment in segments:
        _check_own_rule(champion, segment)
    after = replace(champion, history=(*champion.history, change))
    left = _layers(after.history)
    if not left or any(_incumbents(left).version_for(segment) is None for segment in segments):
        raise Refused(
            f"champion {champion.model} has no earlier version to return to",
            field="segments",
            value=list(segments),
            fix="promote the version you want with an override",
        )
    return after


def _check_own_rule(champion: Champion, segment: str) -> None:
    rules = champion.assignments
    server = next((rule.segment for rule in rules if rule.segment == segment or rule.unconditional), None)
    if server != segment:
        source = f"segment {server}" if server else "the default"
        raise Refused(
            f"champion {champion.model}: this segment has no rule of its own, {source} serves it",
            field="segments",
            value=segment,
            fix=f"roll back {server}" if server else "roll back without naming a segment",
        )


def champion_at(history: Sequence[ChampionChange], segment: str | None, at: int) -> int | None:
    """The version that was champion of a segment (None: outside all rules) at a time (ms); None before."""
    last = max((i for i, change in enumerate(history, 1) if change.grounds.at <= at), default=0)
    return _incumbents(_layers(history[:last])).version_for(segment)


def _layers(history: Sequence[ChampionChange]) -> list[Incumbents]:
    """The promotions still in force, oldest first; a rollback takes the last one, or some rules, away."""
    layers: list[Incumbents] = []
    for change in history:
        if change.move is not Move.ROLLBACK:
            layers.append(Incumbents(rules=change.rules, default=None if change.rules else change.version))
        elif not change.segments:
            layers = layers[:-1]
        for segment in change.segments if change.move is Move.ROLLBACK else ():
            layers = _without(layers, segment)
    return layers


def _without(layers: Sequence[Incumbents], segment: str) -> list[Incumbents]:
    """The layers without the newest rule of a segment, and without a layer that is empty thereby.

    Later rules of that layer must not catch the segment's units now: its condition becomes an exception.
    """
    changed = list(layers)
    for index in reversed(range(len(layers))):
        rules = layers[index].rules
        at = next((i for i, rule in enumerate(rules) if rule.segment == segment), None)
        if at is None:
            continue
        passed = () if rules[at].when is None else (rules[at].when,)
        later = (replace(rule, unless=(*rule.unless, *passed)) for rule in rules[at + 1 :])
        kept = (*rules[:at], *later)
        changed[index : index + 1] = [replace(layers[index], rules=kept)] if kept else []
        break
    return changed


def _incumbents(layers: Sequence[Incumbents]) -> Incumbents:
    """Who is champion: newer layers in front, without rules that no unit can reach any more."""
    rules: list[ChampionRule] = []
    for layer in reversed(layers):
        for rule in layer.rules:
            if not any(above.unconditional or _covers(above, rule) for above in rules):
                rules.append(rule)
        if layer.default is not None:
            return Incumbents(rules=tuple(rules), default=layer.default)
    return Incumbents(rules=tuple(rules))


def _covers(above: ChampionRule, below: ChampionRule) -> bool:
    return above.when == below.when and all(exception in below.unless for exception in above.unless)
