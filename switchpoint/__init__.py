"""When should we switch models? Route units to model variants, count exactly once, decide with evidence.

This is the public door: every name in `__all__` stays, whatever moves in the rooms behind it.

    from switchpoint import Client, analyze, load_spec

A name is imported when it is first used, so `import switchpoint` loads nothing else. docs/python.md says what
each is for.
"""

TYPE_CHECKING = False  # what type checkers take for true; `typing` takes longer to import than all of this

if TYPE_CHECKING:
    from switchpoint.analysis.frame import analyze
    from switchpoint.analysis.inference.posterior import EffectPrior, effect_posterior, empirical_prior
    from switchpoint.analysis.inference.proportion import (
        clopper_pearson,
        newcombe,
        noninferiority_score,
        wilson,
    )
    from switchpoint.analysis.inference.random_effects import pool_effects
    from switchpoint.analysis.methods.bootstrap import studentised_effect
    from switchpoint.analysis.methods.exact_tests import boschloo, fisher
    from switchpoint.analysis.methods.mantel_haenszel import mantel_haenszel
    from switchpoint.analysis.methods.quantile import order_interval
    from switchpoint.analysis.methods.regression import clustered_effect, least_squares, lin_effect
    from switchpoint.analysis.numerics.estimates import Alternative, Estimate, Estimates
    from switchpoint.analysis.planning.power import (
        Spread,
        Units,
        covariate_spread,
        equal_spread,
        power,
        proportion_spread,
        smallest_effect,
        units_for_proportions,
        units_needed,
    )
    from switchpoint.analysis.report.report import BatchReport, Report
    from switchpoint.analysis.results.batch import BatchRow
    from switchpoint.analysis.results.judgement import Check, CheckName, Severity, Verdict
    from switchpoint.analysis.results.numbers import Comparison, Interval, MetricReading
    from switchpoint.analysis.results.thresholds import Thresholds
    from switchpoint.analysis.tables.suggest import Suggestion, suggest
    from switchpoint.experiment.definition.types import Direction, Experiment, Spec
    from switchpoint.experiment.errors import BadInput, DefinitionError, PlatformError, SwitchpointError
    from switchpoint.experiment.language.experiment import load_spec, load_spec_file
    from switchpoint.experiment.registry.decision import VerdictKind
    from switchpoint.router.client import Choice, Client

    __version__: str

__all__ = [
    "Alternative", "BadInput", "BatchReport", "BatchRow", "Check", "CheckName", "Choice", "Client",
    "Comparison", "DefinitionError", "Direction", "EffectPrior", "Estimate", "Estimates", "Experiment",
    "Interval", "MetricReading", "PlatformError", "Report", "Severity", "Spec", "Spread", "Suggestion",
    "SwitchpointError", "Thresholds", "Units", "Verdict", "VerdictKind", "__version__", "analyze",
    "boschloo", "clopper_pearson", "clustered_effect", "covariate_spread", "effect_posterior",
    "empirical_prior", "equal_spread", "fisher", "least_squares", "lin_effect", "load_spec",
    "load_spec_file", "mantel_haenszel", "newcombe", "noninferiority_score", "order_interval",
    "pool_effects", "power", "proportion_spread", "smallest_effect", "studentised_effect", "suggest",
    "units_for_proportions", "units_needed", "wilson",
]  # fmt: skip

_ROOMS = {
    "analysis.frame": "analyze",
    "analysis.inference.posterior": "EffectPrior effect_posterior empirical_prior",
    "analysis.inference.proportion": "clopper_pearson newcombe noninferiority_score wilson",
    "analysis.inference.random_effects": "pool_effects",
    "analysis.methods.bootstrap": "studentised_effect",
    "analysis.methods.exact_tests": "boschloo fisher",
    "analysis.methods.mantel_haenszel": "mantel_haenszel",
    "analysis.methods.quantile": "order_interval",
    "analysis.methods.regression": "clustered_effect least_squares lin_effect",
    "analysis.numerics.estimates": "Alternative Estimate Estimates",
    "analysis.planning.power": "Spread Units covariate_spread equal_spread power "
    "proportion_spread smallest_effect units_for_proportions units_needed",
    "analysis.report.report": "BatchReport Report",
    "analysis.results.batch": "BatchRow",
    "analysis.results.judgement": "Check CheckName Severity Verdict",
    "analysis.results.numbers": "Comparison Interval MetricReading",
    "analysis.results.thresholds": "Thresholds",
    "analysis.tables.suggest": "Suggestion suggest",
    "experiment.definition.types": "Direction Experiment Spec",
    "experiment.errors": "BadInput DefinitionError PlatformError SwitchpointError",
    "experiment.language.experiment": "load_spec load_spec_file",
    "experiment.registry.decision": "VerdictKind",
    "router.client": "Choice Client",
}
"""Where each name lives."""
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names.split()}

if not TYPE_CHECKING:  # which see the names above, and no others

    def __getattr__(name: str) -> object:
        """The object of that name, fetched from its room once."""
        if name == "__version__":
            from importlib.metadata import version

            found = version(__name__)
        elif name in _ROOM_OF:
            from importlib import import_module

            found = getattr(import_module(f"{__name__}.{_ROOM_OF[name]}"), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
