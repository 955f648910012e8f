"""scikit-learn models: digest before parsing, the platform's allow-list, strict inputs, finite answers."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from switchpoint.experiment.registry.model import Format, ModelVersion
from switchpoint.experiment.store.artifacts import Artifacts
from switchpoint.router.models.model import Cause, InputsRefused, ModelFailure
from switchpoint.router.models.sklearn_model import SklearnLoader, SklearnModel

ROWS = np.random.default_rng(7).normal(size=(120, 3))
LABELS = (ROWS[:, 0] + ROWS[:, 1] > 0).astype(int)


def store(folder: Path, content: bytes) -> tuple[Artifacts, ModelVersion]:
    artifacts = Artifacts(folder / "models")
    digest = artifacts.put_bytes(content)
    return artifacts, ModelVersion(
        name="m",
        version=1,
        digest="d",
        format=Format.SKOPS,
        artifact={"m.skops": digest},
        created_at=0,
        created_by="t",
    )


def load(folder: Path, estimator: object, **options: Any) -> SklearnModel:
    artifacts, version = store(folder, skops.io.dumps(estimator))
    return SklearnLoader(artifacts, **options).load(version)


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        RandomForestClassifier(5, random_state=0),
        HistGradientBoostingClassifier(max_iter=5),
        CalibratedClassifierCV(RandomForestClassifier(3, random_state=0), cv=2),
    ],
    ids=lambda e: type(e).__name__,
)
def test_classifier_answers_the_probability_of_the_second_class(tmp_path: Path, estimator: object) -> None:
    """Equal to scikit-learn's own predict_proba, for a list and for one row."""
    estimator.fit(ROWS, LABELS)  # type: ignore[attr-defined]
    model = load(tmp_path, estimator)
    expected = estimator.predict_proba(ROWS[:4])[:, 1]  # type: ignore[attr-defined]
    assert model.predict(ROWS[:4].tolist(), 1.0) == pytest.approx(expected.tolist(), rel=1e-12)
    assert model.predict(ROWS[0].tolist(), 1.0) == pytest.approx(expected[0], rel=1e-12)


def test_regressor_answers_predict_and_many_classes_a_row_each(tmp_path: Path) -> None:
    line = LinearRegression().fit(ROWS, ROWS[:, 0] * 2)
    assert load(tmp_path, line).predict([1.0, 0.0, 0.0], 1.0) == pytest.approx(2.0)
    three = LogisticRegression().fit(ROWS, np.digitize(ROWS[:, 0], [-0.4, 0.4]))
    answer = load(tmp_path, three).predict(ROWS[:2].tolist(), 1.0)
    assert np.asarray(answer).shape == (2, 3)


def test_changed_file_is_refused_before_it_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts, version = store(tmp_path, skops.io.dumps(LogisticRegression().fit(ROWS, LABELS)))
    [path] = [p for p in (tmp_path / "models").rglob("*") if p.is_file()]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    monkeypatch.setattr(skops.io, "get_untrusted_types", lambda **_: pytest.fail("parsed"))
    with pytest.raises(ModelFailure, match="load_failed"):
        SklearnLoader(artifacts).load(version)


def test_missing_file_is_a_load_failure(tmp_path: Path) -> None:
    version = ModelVersion(
        name="m", version=1, digest="d", format=Format.SKOPS, artifact={"m.skops": "sha256:" + "0" * 64},
        created_at=0, created_by="t",
    )  # fmt: skip
    with pytest.raises(ModelFailure) as caught:
        SklearnLoader(Artifacts(tmp_path)).load(version)
    assert caught.value.cause is Cause.LOAD


def test_type_outside_the_profiles_is_named_and_the_operator_may_allow_it(tmp_path: Path) -> None:
    """The list belongs to the platform: a neural network needs the profile that says so."""
    network = MLPClassifier(3, max_iter=1, random_state=0)
    with pytest.warns(UserWarning, match="converge"):
        network.fit(ROWS, LABELS)
    with pytest.raises(ModelFailure, match="AdamOptimizer"):
        load(tmp_path, network)
    assert load(tmp_path, network, profiles=("linear", "neural")).predict(ROWS[0].tolist(), 1.0)
    with pytest.raises(ModelFailure, match=r"sklearn\.tree\._tree\.Tree"):
        load(tmp_path, RandomForestClassifier(2).fit(ROWS, LABELS), profiles=("linear",))


def test_function_in_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFailure, match="code outside of scikit-learn is never loaded"):
        load(tmp_path, FunctionTransformer(store))


@pytest.mark.parametrize("stored", [StandardScaler().fit(ROWS), {"weights": [1, 2]}], ids=["scaler", "dict"])
def test_an_object_that_cannot_predict_is_refused_by_name(tmp_path: Path, stored: object) -> None:
    with pytest.raises(ModelFailure, match=f"{type(stored).__name__}, which has no predict") as caught:
        load(tmp_path, stored)
    assert caught.value.cause is Cause.LOAD
    assert "Fix: save a fitted classifier" in str(caught.value)


def test_unknown_profile_is_an_error_of_the_operator(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="known"):
        SklearnLoader(Artifacts(tmp_path), ["everything"])


def test_garbage_and_bombs_are_load_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts, version = store(tmp_path, b"not a zip at all")
    with pytest.raises(ModelFailure, match="not a loadable"):
        SklearnLoader(artifacts).load(version)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * 2_000_000)
    monkeypatch.setattr("switchpoint.router.models.sklearn_model.MAX_FILE_BYTES", 1_000_000)
    artifacts, version = store(tmp_path, packed.getvalue())
    with pytest.raises(ModelFailure, match="unpacks to more"):
        SklearnLoader(artifacts).load(version)


@pytest.mark.parametrize(
    "inputs",
    [None, 5, "abc", [], {}, [[1.0, 2.0]], [[1.0, 2.0, 3.0], [1.0]], [1.0, 2.0], [[1.0, [2.0], 3.0]],
     [1.0, "x", 3.0], [1.0, None, 3.0], {"a": 1.0}, [[1.0, 2.0, 3.0]] * 10_001],
    ids=repr,
)  # fmt: skip
def test_inputs_that_do_not_fit_are_refused(tmp_path: Path, inputs: object) -> None:
    model = load(tmp_path, LogisticRegression().fit(ROWS, LABELS))
    with pytest.raises(InputsRefused):
        model.predict(inputs, 1.0)


def test_scores_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    """An overflowing model must not answer infinity, and it is the rows that make it overflow."""
    line = LinearRegression().fit(ROWS, ROWS[:, 0])
    line.coef_ = np.array([1e308, 1e308, 1e308])
    with pytest.raises(InputsRefused, match="not all finite"):
        load(tmp_path, line).predict([1e10, 1e10, 1e10], 1.0)


def test_named_columns_are_read_from_objects(tmp_path: Path) -> None:
    """A model fitted on a frame takes objects in any key order and refuses a missing column."""
    import pandas as pd

    frame = pd.DataFrame(ROWS, columns=["a", "b", "c"])
    fitted = LogisticRegression().fit(frame, LABELS)
    model = load(tmp_path, fitted)
    expected = fitted.predict_proba(frame[:1])[0, 1]
    a, b, c = ROWS[0].tolist()
    assert model.predict({"c": c, "a": a, "b": b, "extra": 1}, 1.0) == pytest.approx(expected)
    assert model.predict([[a, b, c]], 1.0) == pytest.approx([expected])
    with pytest.raises(InputsRefused, match="lacks b"):
        model.predict({"a": a, "c": c}, 1.0)
