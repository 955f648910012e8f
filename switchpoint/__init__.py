"""When should we switch models? Route units to model variants, count exactly once, decide with evidence.

This is the public door: every name in `__all__` stays, whatever moves in the rooms behind it.

    from switchpoint import Client, analyze, load_spec

A name is imported when it is first used, so `import switchpoint` loads nothing else. docs/python.md says what
each is for.
"""

TYPE_CHECKING = False  # what type checkers take for true; `typing` takes longer to import than all of this

if TYPE_CHECKING:
    from switchpoint.analysis.frame import analyze
    from switchpoint.analysis.inference.bootstrap import studentised_effect
    from switchpoint.analysis.inference.effect_prior import EffectPrior, effect_posterior, empirical_prior
    from switchpoint.analysis.inference.exact import boschloo, fisher
    from switchpoint.analysis.inference.proportion import (
        clopper_pearson,
        newcombe,
        noninferiority_score,
        wilson,
    )
    from switchpoint.analysis.inference.quantile import order_interval
    from switchpoint.analysis.inference.random_effects import pool_effects
    from switchpoint.analysis.inference.regression import clustered_effect, least_squares, lin_effect
    from switchpoint.analysis.inference.result import Alternative, Estimate, Estimates
    from switchpoint.analysis.inference.tables import mantel_haenszel
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
    from switchpoint.analysis.report.batch_model import BatchReport, BatchRow
    from switchpoint.analysis.report.model import Check, CheckName, Report, Severity, Verdict
    from switchpoint.analysis.report.numbers import Comparison, Interval, MetricReading
    from switchpoint.analysis.thresholds import Thresholds
    from switchpoint.experiment.definition.types import Direction, Experiment, Spec
    from switchpoint.experiment.errors import BadInput, DefinitionError, PlatformError, SwitchpointError
    from switchpoint.experiment.language.experiment import load_spec, load_spec_file
    from switchpoint.experiment.registry.decision import VerdictKind
    from switchpoint.router.client import Choice, Client

    __version__: str

__all__ = [
    "Alternative", "BadInput", "BatchReport", "BatchRow", "Check", "CheckName", "Choice", "Client",
    "Comparison", "DefinitionError", "Direction", "EffectPrior", "Estimate", "Estimates", "Experiment",
    "Interval", "MetricReading", "PlatformError", "Report", "Severity", "Spec", "Spread",
    "SwitchpointError", "Thresholds", "Units", "Verdict", "VerdictKind", "__version__", "analyze",
    "boschloo", "clopper_pearson", "clustered_effect", "covariate_spread", "effect_posterior",
    "empirical_prior", "equal_spread", "fisher", "least_squares", "lin_effect", "load_spec",
    "load_spec_file", "mantel_haenszel", "newcombe", "noninferiority_score", "order_interval",
    "pool_effects", "power", "proportion_spread", "smallest_effect", "studentised_effect",
    "units_for_proportions", "units_needed", "wilson",
]  # fmt: skip

_ROOMS = {
    "analysis.frame": "analyze",
    "analysis.inference.bootstrap": "studentised_effect",
    "analysis.inference.effect_prior": "EffectPrior effect_posterior empirical_prior",
    "analysis.inference.exact": "boschloo fisher",
    "analysis.inference.proportion": "clopper_pearson newcombe noninferiority_score wilson",
    "analysis.inference.quantile": "order_interval",
    "analysis.inference.random_effects": "pool_effects",
    "analysis.inference.regression": "clustered_effect least_squares lin_effect",
    "analysis.inference.result": "Alternative Estimate Estimates",
    "analysis.inference.tables": "mantel_haenszel",
    "analysis.planning.power": "Spread Units covariate_spread equal_spread power "
    "proportion_spread smallest_effect units_for_proportions units_needed",
    "analysis.report.batch_model": "BatchReport BatchRow",
    "analysis.report.model": "Check CheckName Report Severity Verdict",
    "analysis.report.numbers": "Comparison Interval MetricReading",
    "analysis.thresholds": "Thresholds",
    "experiment.definition.types": "Direction Experiment Spec",
    "experiment.errors": "BadInput DefinitionError PlatformError SwitchpointError",
    "experiment.language.experiment": "load_spec load_spec_file",
    "experiment.registry.decision": "VerdictKind",
    "router.client": "Choice Client",
}
"""Where each name lives."""
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names.split()}

if not TYPE_CHECKING:  # which see the names above, and no others

    def __getattr__(name):
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
