"""A report as Markdown (GitHub tables)."""

from __future__ import annotations

from switchpoint.analysis.report.batch import batch_sections
from switchpoint.analysis.report.section import Section, Table
from switchpoint.analysis.report.sections import report_sections
from switchpoint.analysis.results.batch import BatchResult
from switchpoint.analysis.results.judgement import ExperimentResult

_SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_<>|#[]"})


def markdown(result: ExperimentResult) -> str:
    """The full report as one Markdown document."""
    return _document(f"Experiment {result.header.key}", report_sections(result))


def batch_markdown(result: BatchResult) -> str:
    """Many experiments as one Markdown document."""
    return _document(f"Experiments of {result.header.key}", batch_sections(result))


def _document(title: str, sections: tuple[Section, ...]) -> str:
    return "\n\n".join([f"# {escape(title)}", *(_section(s) for s in sections)]) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return " ".join(text.split()).translate(_SPECIAL)


def _section(section: Section) -> str:
    parts = [f"## {escape(section.title)}"]
    parts += ["\n".join(f"- {escape(line)}" for line in section.lines)] if section.lines else []
    parts += [_table(section.table)] if section.table else []
    parts += [f"*{escape(note)}*" for note in section.notes]
    return "\n\n".join(parts)


def _table(table: Table) -> str:
    align = ["---" if table.is_text(place) else "---:" for place in range(len(table.columns))]
    lines = [
        _row([escape(c) or " " for c in table.columns]),
        _row(align),
        *(_row([escape(cell.text) for cell in row]) for row in table.rows),
    ]
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
