"""Write docs/checks.md from the planted tables: `python -m tests.analysis.validity`."""

from __future__ import annotations

from pathlib import Path

from tests.analysis.validity.page import render

PAGE = Path(__file__).resolve().parents[3] / "docs" / "checks.md"

if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    print(f"wrote {PAGE}")
