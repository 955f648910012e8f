"""Ordinary scikit-learn models: registered with the same answers as before, or refused with what really helps."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn import (
    compose,
    discriminant_analysis,
    ensemble,
    feature_selection,
    impute,
    linear_model,
    model_selection,
    naive_bayes,
    neighbors,
    neural_network,
    preprocessing,
    svm,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - makes impute.IterativeImputer public
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.pipeline import make_pipeline

from switchpoint.router.models.model import InputsRefused, ModelFailure
from switchpoint.router.models.trust import ALWAYS, PROFILES, cure
from tests.router.models.test_sklearn_model import load

RNG = np.random.default_rng(11)
ROWS = RNG.normal(size=(120, 3))
LABELS = (ROWS[:, 0] + ROWS[:, 1] > 0).astype(int)
LOGIT = linear_model.LogisticRegression
PAIR = [("a", LOGIT()), ("b", naive_bayes.GaussianNB())]

SERVED: dict[str, Any] = {
    "imputer": make_pipeline(impute.SimpleImputer(), LOGIT()),
    "imputer, median, indicator": make_pipeline(impute.SimpleImputer(strategy="median", add_indicator=True), LOGIT()),
    "knn imputer": make_pipeline(impute.KNNImputer(), LOGIT()),
    "iterative imputer": make_pipeline(impute.IterativeImputer(), LOGIT()),
    "grid": model_selection.GridSearchCV(LOGIT(), {"C": [1, 2]}),
    "grid of a pipeline": model_selection.GridSearchCV(
        make_pipeline(impute.SimpleImputer(), LOGIT()), {"logisticregression__C": [1, 2]}
    ),
    "randomised search": model_selection.RandomizedSearchCV(LOGIT(), {"C": [1, 2, 3]}, n_iter=2),
    "grid of a regression": model_selection.GridSearchCV(linear_model.Ridge(), {"alpha": [1, 2]}),
    "knn, brute": neighbors.KNeighborsClassifier(algorithm="brute"),
    "k best": make_pipeline(feature_selection.SelectKBest(k=1), LOGIT()),
    "k best, information": make_pipeline(feature_selection.SelectKBest(feature_selection.mutual_info_classif, k=1), LOGIT()),
    "k best, chi2": make_pipeline(preprocessing.MinMaxScaler(), feature_selection.SelectKBest(feature_selection.chi2, k=1), LOGIT()),
    "k best, regression": make_pipeline(
        feature_selection.SelectKBest(feature_selection.f_regression, k=1), linear_model.LinearRegression()
    ),
    "percentile": make_pipeline(feature_selection.SelectPercentile(), LOGIT()),
    "from model": make_pipeline(feature_selection.SelectFromModel(LOGIT()), LOGIT()),
    "rfe": feature_selection.RFE(LOGIT()),
    "voting": ensemble.VotingClassifier(PAIR),
    "voting, soft": ensemble.VotingClassifier(PAIR, voting="soft"),
    "stacking": ensemble.StackingClassifier(PAIR),
    "bagging": ensemble.BaggingClassifier(n_estimators=3),
    "boosting": ensemble.GradientBoostingClassifier(n_estimators=3),
    "bins": make_pipeline(preprocessing.KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"), LOGIT()),
    "svc": svm.SVC(),
    "discriminant": discriminant_analysis.LinearDiscriminantAnalysis(),
}  # fmt: skip


def answers(fitted: Any, rows: Any) -> list[Any]:
    """What the estimator itself says, as serving gives it."""
    if hasattr(fitted, "predict_proba"):
        return list(fitted.predict_proba(rows)[:, 1])
    return list(fitted.predict(rows))


@pytest.mark.parametrize("name", SERVED)
def test_ordinary_models_answer_as_before(tmp_path: Path, name: str) -> None:
    """With the profiles that are on by default."""
    fitted = SERVED[name].fit(ROWS, LABELS)
    served = load(tmp_path, fitted).predict(ROWS[:9].tolist(), 1.0)
    assert served == pytest.approx(answers(fitted, ROWS[:9]), rel=1e-12)


@pytest.mark.parametrize(
    "name", ["imputer", "imputer, median, indicator", "knn imputer", "iterative imputer"]
)
def test_a_missing_value_is_null(tmp_path: Path, name: str) -> None:
    holes = ROWS.copy()
    holes[::5, 1] = np.nan
    fitted = SERVED[name].fit(holes, LABELS)
    row = [0.5, None, -1.0]
    expected = answers(fitted, np.array([[0.5, np.nan, -1.0]]))
    assert load(tmp_path, fitted).predict(row, 1.0) == pytest.approx(expected[0], rel=1e-12)
    with pytest.raises(InputsRefused, match="NaN"):
        load(tmp_path, LOGIT().fit(ROWS, LABELS)).predict(row, 1.0)


def test_missing_values_in_columns_of_all_kinds(tmp_path: Path) -> None:
    """A frame with numbers and text, each with its imputer, chosen by type."""
    frame = pd.DataFrame({"age": ROWS[:, 0], "device": RNG.choice(["ios", "web"], 120).astype(object)})
    frame.loc[::7, "age"] = np.nan
    frame.loc[::9, "device"] = np.nan
    columns = compose.make_column_transformer(
        (make_pipeline(impute.SimpleImputer(), preprocessing.StandardScaler()), compose.make_column_selector(dtype_include=float)),
        (
            make_pipeline(impute.SimpleImputer(strategy="most_frequent"), preprocessing.OneHotEncoder(handle_unknown="ignore")),
            ["device"],
        ),
    )  # fmt: skip
    fitted = make_pipeline(columns, LOGIT()).fit(frame, LABELS)
    model = load(tmp_path, fitted)
    for age, device in ((0.3, "ios"), (None, "web"), (0.3, None), (-1, "other")):
        row = pd.DataFrame(
            {"age": [np.nan if age is None else float(age)], "device": pd.Series([np.nan if device is None else device], dtype=object)}
        )  # fmt: skip
        assert model.predict({"age": age, "device": device}, 1.0) == pytest.approx(
            answers(fitted, row)[0], rel=1e-12
        )


NEIGHBOURS = {
    "tree chosen": neighbors.KNeighborsClassifier(),
    "ball tree": neighbors.KNeighborsClassifier(algorithm="ball_tree"),
    "manhattan": neighbors.KNeighborsClassifier(p=1),
    "minkowski": neighbors.KNeighborsClassifier(p=3),
    "regression": neighbors.KNeighborsRegressor(),
}


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_nearest_neighbours_need_their_profile(tmp_path: Path, name: str) -> None:
    fitted = NEIGHBOURS[name].fit(ROWS, LABELS)
    with pytest.raises(ModelFailure) as caught:
        load(tmp_path, fitted)
    assert "SWITCHPOINT_MODEL_PROFILES=linear,trees,calibrated,neighbors, or fit it with" in str(caught.value)
    served = load(tmp_path, fitted, profiles=("linear", "neighbors")).predict(ROWS[:9].tolist(), 1.0)
    assert served == pytest.approx(answers(fitted, ROWS[:9]), rel=1e-12)


def network(**options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return neural_network.MLPClassifier(3, max_iter=3, **options).fit(ROWS, LABELS)


REFUSED: dict[str, tuple[Any, str]] = {
    "grid with a score": (
        model_selection.GridSearchCV(LOGIT(), {"C": [1, 2]}, scoring="roc_auc").fit(ROWS, LABELS), "grid.best_estimator_"
    ),
    "grid with shuffled folds": (
        model_selection.GridSearchCV(LOGIT(), {"C": [1, 2]}, cv=model_selection.ShuffleSplit(2)).fit(ROWS, LABELS),
        "grid.best_estimator_",
    ),
    "gaussian process": (GaussianProcessClassifier().fit(ROWS, LABELS), "use another estimator"),
    "own function": (
        make_pipeline(preprocessing.FunctionTransformer(answers), LOGIT()), "compute those features before the call"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_where_no_profile_helps_the_message_says_what_does(tmp_path: Path, name: str) -> None:
    """With every profile on, none is proposed."""
    fitted, helps = REFUSED[name]
    with pytest.raises(ModelFailure) as caught:
        load(tmp_path, fitted, profiles=tuple(PROFILES))
    assert "Fix: " in str(caught.value)
    assert helps in str(caught.value)
    assert "SWITCHPOINT_MODEL_PROFILES" not in str(caught.value)


def test_the_best_of_a_refused_grid_is_registered(tmp_path: Path) -> None:
    grid, _ = REFUSED["grid with a score"]
    served = load(tmp_path, grid.best_estimator_).predict(ROWS[:9].tolist(), 1.0)
    assert served == pytest.approx(answers(grid, ROWS[:9]), rel=1e-12)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_neural_networks_need_their_profile(tmp_path: Path, solver: str) -> None:
    fitted = network(solver=solver)
    with pytest.raises(ModelFailure, match="SWITCHPOINT_MODEL_PROFILES=linear,trees,calibrated,neural"):
        load(tmp_path, fitted)
    served = load(tmp_path, fitted, profiles=("neural",)).predict(ROWS[:9].tolist(), 1.0)
    assert served == pytest.approx(answers(fitted, ROWS[:9]), rel=1e-12)


def test_a_profile_is_proposed_only_where_it_is_enough() -> None:
    tree, own = "sklearn.tree._tree.Tree", "shop.features.Basket"
    assert cure([tree], ["linear"]) == "set SWITCHPOINT_MODEL_PROFILES=linear,trees"
    assert "PROFILES" not in cure([tree, own], ["linear"])
    every = sorted(name for types in PROFILES.values() for name in types)
    assert cure(every, []).startswith(
        f"set SWITCHPOINT_MODEL_PROFILES={','.join(n for n in PROFILES if PROFILES[n])}"
    )


def test_every_trusted_type_exists_and_is_one_that_skops_asks_about() -> None:
    """No leftover of another version, nothing that runs text or opens files."""
    import importlib

    for name in (*ALWAYS, *(name for types in PROFILES.values() for name in types)):
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name
        assert name.startswith(("sklearn.", "numpy.dtype", "builtins.object"))
    assert skops.io.get_untrusted_types(data=skops.io.dumps(LOGIT())) == []
