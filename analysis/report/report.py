"""The reports that users get: the results of a judgement, and what each rendering makes of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from switchpoint.analysis.results.batch import BatchResult
from switchpoint.analysis.results.json import fields_of
from switchpoint.analysis.results.judgement import ExperimentResult


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
        """The whole report as one Markdown document."""
        from switchpoint.analysis.report.markdown import markdown

        return markdown(self)

    def to_html(self) -> str:
        """The whole report as one page that needs nothing else."""
        from switchpoint.analysis.report.html import html

        return html(self)

    _repr_markdown_ = to_markdown  # how a notebook shows it


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
        """The whole report as one Markdown document."""
        from switchpoint.analysis.report.markdown import batch_markdown

        return batch_markdown(self)

    def to_html(self) -> str:
        """The whole report as one page that needs nothing else."""
        from switchpoint.analysis.report.batch_html import batch_html

        return batch_html(self)

    _repr_markdown_ = to_markdown  # how a notebook shows it
