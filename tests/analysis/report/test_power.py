"""The page of `power --format html`."""

from __future__ import annotations

import re

from switchpoint.analysis.planning.curves import Planned, curve
from switchpoint.analysis.report.html import power_html
from switchpoint.experiment.definition.types import Design

RATE = Planned(mean=0.1, variance=None, effect=0.005, ratio=1.0, alpha=0.05, power=0.8)


def test_the_page_draws_every_curve_and_needs_nothing_from_outside() -> None:
    page = power_html(RATE, [curve(RATE, design) for design in Design], [("control", "0.1")])
    assert page.count("<svg") == 4  # two charts, light and dark
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?!#)', page.replace("xmlns:xlink", ""))
    assert "199,116 under the sequential design" in page
