"""How many files and rooms a table crosses on its way to a verdict: `python -m bench.flow`.

Counts calls of the product's own functions while one CSV file is judged and written as text; class bodies and
imports are left out. "Switches" are changes of file, or of room, from one call to the next.
"""

from __future__ import annotations

import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

from switchpoint.analysis.report.report import Report
from switchpoint.experiment.language.experiment import load_either_file
from switchpoint.router.tables import judged

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("analysis", "experiment", "router")
EXAMPLES = ROOT / "docs" / "examples"


def crossed(file: Path, spec: Path) -> tuple[list[str], Report]:
    """The product's files in the order in which their functions are called, and the report."""
    calls: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_name != "<module>" and "__qualname__" not in frame.f_locals:
            path = Path(code.co_filename).resolve()
            if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in FOLDERS:
                calls.append(str(path.relative_to(ROOT)))

    judged(str(file), load_either_file(spec), at=0)  # modules are loaded, caches are filled
    sys.setprofile(note)
    try:
        report = judged(str(file), load_either_file(spec), at=0)
        text = report.to_markdown()
    finally:
        sys.setprofile(None)
    if not isinstance(report, Report) or not text:
        raise TypeError("the example is one experiment")
    return calls, report


def switches(places: list[str]) -> int:
    """How often one place differs from the one before."""
    return sum(a != b for a, b in pairwise(places))


def main() -> None:
    """Print the counts, and the files by their calls."""
    calls, report = crossed(EXAMPLES / "lecture_randomised.csv", EXAMPLES / "lecture_randomised.yaml")
    rooms = [str(Path(call).parent) for call in calls]
    print(f"{report.verdict.headline}")
    print(f"{len(set(calls))} files in {len(set(rooms))} rooms, {len(calls):,} calls")
    print(f"{switches(calls):,} changes of file, {switches(rooms):,} of room")
    for file, number in Counter(calls).most_common():
        print(f"{number:7,}  {file}")


if __name__ == "__main__":
    main()
