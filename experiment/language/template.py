"""Specs and definitions written for people: the one of `switchpoint init`, of tables, and parts of a text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

INIT_YAML = """\
# One experiment per file, kept in git. `switchpoint validate` checks it, `plan` shows what would change,
# `apply` stores it, `start` lets units in. Shares are 0.5 or 50 %, never finer than 0.01 %.
key: home-ranker                    # letters, digits, '.', '_', '-'; a new key is a new experiment
hypothesis: Model 2 raises click-through on the home page without slowing it down.
owner: search-team
unit: user_id                       # what is randomised; always sent as text
model: ranker                       # what callers ask for; the variants name its versions
layer: {key: home, slice: [0.0, 1.0]}   # optional: experiments of one layer share no units if slices differ

variants:                           # the first is control
  - {key: control,   model: ranker@1}
  - {key: treatment, model: ranker@2}

segments:                           # the first that matches routes the unit; the one without `when` is last
  - {key: us, when: {country: US}, traffic: 100%, allocation: {control: 0.5, treatment: 0.5}}
  - {key: ca, when: {country: CA}, traffic: 100%, allocation: {control: 0.5, treatment: 0.5}}
  - {key: rest,                    traffic: 20%,  allocation: {control: 0.9, treatment: 0.1}}

dimensions: [device]                # attributes to break reports down by; they never route

metrics:                            # exactly one primary; frozen at start
  # ratio: sum over sum, with variance between units. A cap clips single events.
  - {key: ctr, type: ratio, numerator: click, denominator: impression, role: primary}
  # proportion: units with at least one such event
  - {key: buyers, type: proportion, event: purchase}
  # mean: the unit's total; without `value` its number of events. The cap clips the total; without one
  # totals are only bounded at 2^40 minor units (1.1e12; with two decimals 1.1e10).
  - {key: revenue, type: mean, event: purchase, value: amount, decimals: 2, cap: 500}
  # With `covariate: past_spend` a number known before the exposure takes its share of the variance out;
  # exposures carry it, in `covariates` or as an attribute of that name. A ratio has one for each side:
  # `covariate: {numerator: past_clicks, denominator: past_views}`; `decimals` there, if not the metric's.
  # guardrail: the harm you would tolerate is its margin; 5% is relative to control, a bare number absolute
  - key: latency
    type: ratio
    numerator: {event: prediction, value: latency_ms, cap: 2000}
    denominator: prediction
    direction: decrease
    role: guardrail
    margin: 5%

window: 7d                          # outcomes count this long after the unit's first exposure

decision:                           # frozen at start
  # group_sequential: planned looks that share alpha, for a promotion with a plan. sequential: valid at every
  # look, for tests without a planned end. fixed: one look, at the planned end. bayesian: a posterior, which
  # does not hold false promotions at alpha when it is watched. Guardrails are always watched at every look.
  design: group_sequential
  looks_every: 7d                   # from min_runtime on; the last look is when the planned units have come
  spending: obrien-fleming          # little alpha early, nearly all at the end; or pocock, power (with gamma)
  alpha: 0.05
  power: 0.8
  mde: 2%                           # the smallest effect worth knowing; relative, or absolute without %
  min_runtime: 14d
  max_runtime: 42d
  evidence: randomised
"""

_RULE = (
    "decision: {design: fixed, alpha: 0.05, power: 0.8, mde: 5%, min_runtime: 7d, max_runtime: 42d, "
    "evidence: randomised}"
)
_ORDER = (
    "key", "hypothesis", "owner", "unit", "model", "layer", "variants", "segments", "dimensions", "metrics",
    "window", "decision", "source",
)  # fmt: skip
# a line of the top level that begins a key, and one that belongs to the key above it
_TOP, _WITHIN = re.compile(r"([a-z_]+) *:(?: |$)"), (" ", "\t", "-", "]", "}")
_PLAIN, _WORDS = (
    re.compile(r"[A-Za-z_][\w-]*(@\d+)?|\d+(\.\d+)?[%dhw]"),
    {"true", "false", "null", "yes", "no", "on", "off"},
)


def spec_yaml(
    metrics: Sequence[Mapping[str, Any]], source: Mapping[str, Any], doubtful: Sequence[str]
) -> str:
    """A spec as YAML with the usual rule, and what is doubtful as comments."""
    lines = [
        "# Written from the table; what is doubtful stands here, and is yours to decide.",
        *(f"# - {line}" for line in doubtful),
        "metrics:",
        *(f"  - {_flow(metric)}" for metric in metrics),
        _RULE,
        "source:",
    ]
    for key, value in source.items():
        if isinstance(value, Mapping):
            lines += [f"  {key}:", *(f"    {metric}: {_flow(part)}" for metric, part in value.items())]
        else:
            lines.append(f"  {key}: {_flow(value)}")
    return "\n".join([*lines, "  # weights: equal", ""])


def with_key(text: str, key: str, value: object) -> str:
    """A definition's YAML with one of its top-level keys written anew; other lines stay, comments too.

    Args:
        value: plain values; a list of mappings gets a line an entry.
    """
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        block = [f"{key}:", *(f"  - {_flow(entry)}" for entry in value)]
    else:
        block = [f"{key}: {_flow(value)}"]
    lines = text.splitlines()
    starts = {name.group(1): at for at, line in enumerate(lines) if (name := _TOP.match(line))}
    if key in starts:
        first = starts[key]
        after = first + 1
        while after < len(lines) and lines[after].startswith(_WITHIN):
            after += 1
    else:
        later = _ORDER[_ORDER.index(key) + 1 :]
        first = after = min((starts[name] for name in later if name in starts), default=len(lines))
    return "\n".join([*lines[:first], *block, *lines[after:], ""])


def _flow(value: object) -> str:
    """A value as YAML writes it on one line; quoted where a plain one would mean something else."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if not isinstance(value, str) or (_PLAIN.fullmatch(value) and value.lower() not in _WORDS):
        return str(value)
    return json.dumps(value, ensure_ascii=False)
