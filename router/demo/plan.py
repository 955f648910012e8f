"""What one demo run is: its seed, size, simulated dates and experiment definition."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from switchpoint.experiment.definition.types import DAY_MS

EXPERIMENT = "home-ranker"
MODEL = "ranker"
START = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp() * 1000)
"""A Monday, midnight UTC: the simulated clock starts here."""
DAYS = 14
LOOK = START + (DAYS + 1) * DAY_MS + 3_600_000
"""One hour after the window of the last day closed: every exposure day is matured."""
SHOPPERS = 9_000
"""Units of one run: with these worlds (lift near 28 %) the confidence sequence decides with power > .999."""

_DEFINITION = """\
key: {key}
hypothesis: Matching items to taste raises click-through on the home page without costing purchases.
owner: demo
unit: user_id
model: {model}
variants:                                    # the first is control
  - {{key: control,   model: {control}}}
  - {{key: treatment, model: {treatment}}}
segments:                                    # the first that matches routes the unit
  - {{key: us, when: {{country: US}}, traffic: 100%, allocation: {{control: 0.5, treatment: 0.5}}}}
  - {{key: ca, when: {{country: CA}}, traffic: 100%, allocation: {{control: 0.5, treatment: 0.5}}}}
  - {{key: rest,                    traffic: 20%,  allocation: {{control: 0.9, treatment: 0.1}}}}
dimensions: [device, returning]
metrics:
  - {{key: ctr,     type: ratio,      numerator: click, denominator: impression, role: primary}}
  - {{key: buyers,  type: proportion, event: purchase, role: guardrail, margin: 10%}}
  - {{key: revenue, type: mean,       event: purchase, value: amount, decimals: 2, cap: 500}}
  - key: latency
    type: ratio
    numerator: {{event: prediction, value: latency_ms, cap: 2000}}
    denominator: prediction
    decimals: 2
    direction: decrease
window: 1d                                   # outcomes count this long after the unit's first exposure
decision:
  design: sequential
  alpha: 0.05
  power: 0.8
  mde: 10%
  min_runtime: 14d
  max_runtime: 42d
  evidence: randomised
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    """One run. The same plan draws the same world, sends the same events and reaches the same verdict."""

    seed: int = 1
    aa: bool = False
    shoppers: int = SHOPPERS
    days: int = DAYS

    def definition(self) -> str:
        """The experiment as YAML; in the A/A variant both variants serve the same version."""
        return _DEFINITION.format(
            key=EXPERIMENT,
            model=MODEL,
            control=f"{MODEL}@1",
            treatment=f"{MODEL}@{1 if self.aa else 2}",
        )

    def to_document(self) -> dict[str, Any]:
        """As kept in the demo's directory."""
        return asdict(self)
