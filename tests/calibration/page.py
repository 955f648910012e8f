"""docs/calibration.md from the measured cells."""

from __future__ import annotations

from switchpoint.analysis.evidence.event_gate import NEEDED, Counted
from tests.calibration.coverage import Coverage, Power
from tests.calibration.errors import ALPHA, LOOKS, Cell

_INTRO = """# Calibration

Written by `make calibrate` (`python -m tests.calibration`), seed {seed}. Every figure is measured by simulation;
a cell is in bold where it exceeds what the method claims by more than three Monte Carlo errors (none may).

## False positives without an effect

{looks} looks per run at alpha = {alpha:.0%}; the fixed design looks once, at the end. "Pass" is the share of runs
whose smaller variant has enough at some look, "opens" the share of the plan at which it does on average, "error"
the share of *those* runs with a false positive that the gate lets through, "no gate" the share of all runs if
there were none. The limit is {alpha:.0%} plus three Monte Carlo errors of the runs that pass.

Gate: the smaller variant can expect {outcomes} of the rarer outcome (proportions), {events} events (ratios of counts)
or holds {units} units (amounts), both variants counted together and shared out by units; and what is read holds with one
variance shared by both variants as well as with each one's own. Fixed and group sequential readings of
proportions are score tests, whose variance is shared as it is. How heavy the tail is makes no difference, as the
last rows show. Reading the fixed test at every one of the {looks} looks gives {peeking:.0%} false positives.
"""


def render(
    cells: list[Cell], covered: list[Coverage], powers: list[Power], *, seed: int, peeking: float
) -> str:
    """The whole page."""
    intro = _INTRO.format(
        seed=seed, looks=LOOKS, alpha=ALPHA, peeking=peeking,
        outcomes=NEEDED[Counted.OUTCOMES], events=NEEDED[Counted.EVENTS], units=NEEDED[Counted.UNITS],
    )  # fmt: skip
    return "\n".join([intro, _errors(cells), _COVERAGE, _coverages(covered), _POWER, _powers(powers), ""])


_COVERAGE = """
## Coverage of 95 % intervals

Share of runs whose interval holds the true effect and the true lift, equal split. Never below 95 % by more
than three Monte Carlo errors; confidence sequences and repeated intervals cover more at any one look,
because they cover at all of them.
"""

_POWER = """
## Power and units

Planned for 80 % power at 10 % conversion and a lift of 10 %, 28 looks. Units are multiples of the fixed
design's: the plan's maximum, and the mean number used with the effect and without one.
"""


def _table(head: list[str], lines: list[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _errors(cells: list[Cell]) -> str:
    head = ["metric", "split", "units", "runs", "design", "pass", "opens", "error", "limit", "no gate"]
    lines = []
    for cell in cells:
        none = cell.passing == 0
        error = "no verdict" if none else f"{cell.error:.2%}"
        lines.append([
            cell.metric, f"{1 - cell.treated:.0%} / {cell.treated:.0%}", f"{cell.units:,}", f"{cell.runs:,}",
            cell.design, f"{cell.passing:.1%}", "" if none else f"{cell.opens:.0%}", error if cell.holds else f"**{error}**",
            "" if none else f"{cell.limit:.2%}", f"{cell.ungated:.2%}",
        ])  # fmt: skip
    return _table(head, lines)


def _coverages(covered: list[Coverage]) -> str:
    head = ["metric", "lift", "method", "runs", "absolute", "relative", "least"]
    return _table(head, [
        [
            one.metric, f"{one.lift:.0%}", one.method, f"{one.runs:,}", _bold(one.absolute, one.least),
            _bold(one.relative, one.least), f"{one.least:.2%}",
        ]
        for one in covered
    ])  # fmt: skip


def _bold(share: float, least: float) -> str:
    return f"{share:.2%}" if share >= least else f"**{share:.2%}**"


def _powers(powers: list[Power]) -> str:
    head = ["design", "runs", "maximum", "mean with effect", "mean without", "power", "false positives"]
    return _table(head, [
        [
            one.design, f"{one.runs:,}", f"{one.maximum:.3f}", f"{one.expected:.3f}", f"{one.expected_null:.3f}",
            f"{one.found:.1%}", f"{one.false:.2%}",
        ]
        for one in powers
    ])  # fmt: skip
