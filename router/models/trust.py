"""Which types a model file may contain beyond those that skops trusts by itself.

The lists belong to the platform, never to the file (GHSA-w582-9x45-8mpx). A type stands here after its way
back from a file was read: it is built from arrays and plain values, imports nothing that the file names, and
calls nothing meanwhile. `ALWAYS` holds plain Python objects and the numerical functions that models carry.
Types of compiled code, which trust the arrays they are given, are for the operator to allow by profile.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

ALWAYS = (
    "builtins.object",
    "numpy.dtype",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.feature_selection._mutual_info.mutual_info_classif",
    "sklearn.feature_selection._mutual_info.mutual_info_regression",
    "sklearn.feature_selection._univariate_selection.chi2",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.feature_selection._univariate_selection.f_regression",
    "sklearn.feature_selection._univariate_selection.r_regression",
    "sklearn.impute._iterative.IterativeImputer",
    "sklearn.impute._iterative._ImputerTriplet",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.utils._bunch.Bunch",
)

PROFILES: Mapping[str, tuple[str, ...]] = {
    "linear": (),
    "trees": (
        "sklearn.tree._tree.Tree",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    ),
    "calibrated": ("sklearn.calibration._CalibratedClassifier", "sklearn.calibration._SigmoidCalibration"),
    "neural": (
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    ),
    "neighbors": (
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.metrics._dist_metrics.ChebyshevDistance64",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.metrics._dist_metrics.ManhattanDistance64",
        "sklearn.metrics._dist_metrics.MinkowskiDistance64",
    ),
}
DEFAULT_PROFILES = ("linear", "trees", "calibrated")

_SEARCHES = (
    "sklearn.metrics._classification.",
    "sklearn.metrics._ranking.",
    "sklearn.metrics._regression.",
    "sklearn.metrics._scorer.",
    "sklearn.model_selection.",
    "sklearn.utils._metadata_requests.",
)
_LIBRARIES = ("sklearn.", "scipy.", "numpy.", "builtins.")


def require_known(profiles: Iterable[str]) -> tuple[str, ...]:
    """The profiles as they are. Raises KeyError for an unknown name, listing the known ones."""
    chosen = tuple(profiles)
    unknown = sorted({*chosen} - {*PROFILES})
    if unknown:
        raise KeyError(f"unknown model profiles {unknown}; known: {sorted(PROFILES)}")
    return chosen


def trusted(profiles: Collection[str]) -> list[str]:
    """The types that files may contain under these profiles."""
    return sorted({*ALWAYS, *(name for profile in profiles for name in PROFILES[profile])})


def cure(refused: Sequence[str], active: Collection[str]) -> str:
    """What helps against the refusal of these types: profiles to add, or else what to register instead."""
    needed = [name for name, types in PROFILES.items() if name not in active and {*types} & {*refused}]
    allowed = {*trusted([*active, *needed])}
    others = [name for name in refused if name not in allowed]
    if not others:
        brute = ", or fit it with algorithm='brute'" if "neighbors" in needed else ""
        return f"set SWITCHPOINT_MODEL_PROFILES={','.join([*active, *needed])}{brute}"
    if all(name.startswith(_SEARCHES) for name in others):
        return "register the fitted model inside, without the search around it: grid.best_estimator_"
    if all(name.startswith(_LIBRARIES) for name in others):
        return "no profile allows these: use another estimator, or serve it yourself and register its --url"
    return (
        "code outside of scikit-learn is never loaded from a file: compute those features before the call, "
        "or serve the model yourself and register its --url"
    )
