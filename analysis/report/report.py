"""The reports that users get: the results of a judgement and their renderings, JSON, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from switchpoint.analysis.report import notebook
from switchpoint.analysis.report.charts import batch_charts, charts
from switchpoint.analysis.report.notebook import Plot
from switchpoint.analysis.report.section import Section, Table
from switchpoint.analysis.report.sections import batch_sections, report_sections
from switchpoint.analysis.results.batch import BatchResult
from switchpoint.analysis.results.json import fields_of
from switchpoint.analysis.results.judgement import ExperimentResult

# what Markdown would read as markup
_SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_<>|#[]"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(ExperimentResult):
    """One look at one experiment, which renders itself."""

    @classmethod
    def of(cls, result: ExperimentResult) -> Report:
        """The report of a result."""
        return cls(**{field.name: getattr(result, field.name) for field in fields(result)})

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe document with every number; ValueError on a number that is not finite."""
        return fields_of(self)

    def to_markdown(self) -> str:
        """The whole report as one Markdown document (GitHub tables)."""
        return _markdown(f"Experiment {self.header.key}", report_sections(self))

    def to_html(self) -> str:
        """The whole report as one page that needs nothing else."""
        from switchpoint.analysis.report.html import report_html  # Jinja: only pages need it

        return report_html(self)

    def plot(self, name: str | None = None) -> Plot:
        """A chart for a notebook, by its key ("cumulative", "segments", …); the first without a name.

        Raises:
            BadInput: there is no such chart, or nothing to draw yet.
        """
        return notebook.plot(charts(self), name)

    def to_pandas(self) -> Any:
        """Every metric and variant on matured days, a row each, as a pandas data frame.

        Raises:
            BadInput: pandas is not installed.
        """
        return notebook.comparisons(self, "pandas")

    def to_polars(self) -> Any:
        """Every metric and variant on matured days, a row each, as a Polars data frame.

        Raises:
            BadInput: Polars is not installed.
        """
        return notebook.comparisons(self, "polars")

    # how a notebook shows it, and where it shows no HTML
    def _repr_html_(self) -> str:
        return notebook.framed(self.to_html(), self.header.key)

    _repr_markdown_ = to_markdown


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport(BatchResult):
    """Many experiments of one table under one rule, as a report that renders itself."""

    @classmethod
    def of(cls, result: BatchResult) -> BatchReport:
        """The report of a result."""
        return cls(**{field.name: getattr(result, field.name) for field in fields(result)})

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe document with every number; ValueError on a number that is not finite."""
        return fields_of(self)

    def to_markdown(self) -> str:
        """The whole report as one Markdown document (GitHub tables)."""
        return _markdown(f"Experiments of {self.header.key}", batch_sections(self))

    def to_html(self) -> str:
        """The whole report as one page that needs nothing else."""
        from switchpoint.analysis.report.html import batch_html  # as above

        return batch_html(self)

    def plot(self, name: str | None = None) -> Plot:
        """The chart of verdicts over time for a notebook.

        Raises:
            BadInput: there is no such chart, or nothing to draw yet.
        """
        return notebook.plot(batch_charts(self), name)

    def to_pandas(self) -> Any:
        """Every experiment, a row each, as a pandas data frame.

        Raises:
            BadInput: pandas is not installed.
        """
        return notebook.experiments(self, "pandas")

    def to_polars(self) -> Any:
        """Every experiment, a row each, as a Polars data frame.

        Raises:
            BadInput: Polars is not installed.
        """
        return notebook.experiments(self, "polars")

    # how a notebook shows it, and where it shows no HTML
    def _repr_html_(self) -> str:
        return notebook.framed(self.to_html(), self.header.key)

    _repr_markdown_ = to_markdown


def _markdown(title: str, sections: Iterable[Section]) -> str:
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
