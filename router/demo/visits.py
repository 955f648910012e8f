"""One visit as the calls a shop would make: the prediction it asks for, the events it reports afterwards."""

from __future__ import annotations

from typing import Any

from switchpoint.analysis.simulation.shop import Outcome, World
from switchpoint.router.demo.plan import START

_DIGITS = 4  # of a feature on the wire
# Milliseconds after the prediction: items are seen, then clicked, then bought.
_SEEN, _CLICKED, _BOUGHT = 800, 9_000, 120_000


class Traffic:
    """The visits of a world in wire form. Unit and event ids are functions of the seed and the visit."""

    def __init__(self, world: World, seed: int) -> None:
        """Prepare columns as plain lists: they are read a visit at a time."""
        self.world = world
        self._prefix = f"u{seed}"
        self.units: list[int] = world.visits.unit.tolist()
        self.times: list[int] = (world.visits.at + START).tolist()
        self._country: list[str] = world.shoppers.country.tolist()
        self._mobile: list[bool] = world.shoppers.mobile.tolist()
        self._returning: list[bool] = world.shoppers.returning.tolist()
        self._items: list[list[int]] = world.visits.items.tolist()
        self.rows = world.features.round(_DIGITS)

    def __len__(self) -> int:
        return len(self.units)

    def unit_id(self, visit: int) -> str:
        """The unit of a visit."""
        return f"{self._prefix}-{self.units[visit]:06d}"

    def attributes(self, visit: int) -> dict[str, Any]:
        """What is known of the unit when it arrives."""
        unit = self.units[visit]
        return {
            "country": self._country[unit],
            "device": "mobile" if self._mobile[unit] else "desktop",
            "returning": self._returning[unit],
        }

    def request(self, visit: int) -> dict[str, Any]:
        """The body of POST /v1/predict/{model}: one feature row per candidate item."""
        return {
            "unit": self.unit_id(visit),
            "attributes": self.attributes(visit),
            "inputs": self.rows[visit].tolist(),
        }

    def events(self, visit: int, outcome: Outcome) -> list[dict[str, Any]]:
        """Impressions, clicks and purchases of a visit, in wire form."""
        at, items = self.times[visit], self._items[visit]
        events = [self._event(visit, "impression", at + _SEEN, items[p], {}) for p in outcome.shown]
        events += [self._event(visit, "click", at + _CLICKED, items[p], {}) for p in outcome.clicked]
        events += [
            self._event(visit, "purchase", at + _BOUGHT, items[p], {"amount": cents / 100})
            for p, cents in zip(outcome.bought, outcome.cents, strict=True)
        ]
        return events

    def _event(self, visit: int, kind: str, at: int, item: int, more: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": f"{kind[0]}{visit}-{item}",
            "type": kind,
            "unit": self.unit_id(visit),
            "at": at,
            "properties": {"item": item, **more},
        }
