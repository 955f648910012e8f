"""scikit-learn models from .skops files.

The file's digest is verified before a byte is parsed. Which types beyond skops' own list may be built is
decided by the platform and by named profiles that the operator chooses (`router.models.trust`).
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from switchpoint.experiment.errors import SwitchpointError
from switchpoint.experiment.registry.model import ModelVersion
from switchpoint.router.models.model import Cause, InputsRefused, ModelFailure
from switchpoint.router.models.trees import require_walkable
from switchpoint.router.models.trust import DEFAULT_PROFILES, cure, require_known, trusted

MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_MEMBERS = 20_000
MAX_ROWS = 10_000
_WIDEST_REHEARSED = 100_000
_SCALES = (0.1, 30.0)


class ArtifactFiles(Protocol):
    """Where artifact files are kept (`experiment.store.artifacts.Artifacts`)."""

    def read(self, digest: str) -> bytes:
        """The verified bytes; raises Corrupt or NotFound."""
        ...


class SklearnLoader:
    """Loads versions of format "skops" under the operator's profiles."""

    def __init__(self, artifacts: ArtifactFiles, profiles: Iterable[str] = DEFAULT_PROFILES) -> None:
        """Raises KeyError for an unknown profile name, listing the known ones."""
        self._artifacts, self._profiles = artifacts, require_known(profiles)
        self._trusted = trusted(self._profiles)

    def load(self, version: ModelVersion) -> SklearnModel:
        """Verify, check sizes and types, build. Raises ModelFailure(LOAD) naming what was refused."""
        try:
            return SklearnModel(self._build(self._artifacts.read(_skops_digest(version))))
        except ModelFailure:
            raise
        except (SwitchpointError, OSError) as error:
            raise ModelFailure(Cause.LOAD, f"{version.name}@{version.version}: {error}") from error
        except Exception as error:  # skops raises what the malformed part raises
            raise ModelFailure(
                Cause.LOAD, f"{version.name}@{version.version} is not a loadable skops file: {error!r}"
            ) from error

    def _build(self, content: bytes) -> Any:
        import skops.io

        _check_size(content)
        refused = sorted(set(skops.io.get_untrusted_types(data=content)) - set(self._trusted))
        if refused:
            raise ModelFailure(
                Cause.LOAD,
                f"the file needs types no active profile allows: {', '.join(refused)}. "
                f"Fix: {cure(refused, self._profiles)}",
            )
        estimator = skops.io.loads(content, trusted=self._trusted)
        if not any(callable(getattr(estimator, name, None)) for name in ("predict", "predict_proba")):
            raise ModelFailure(
                Cause.LOAD,
                f"the file holds a {type(estimator).__name__}, which has no predict. "
                "Fix: save a fitted classifier or regressor, or a pipeline that ends in one",
            )
        require_walkable(estimator)
        return estimator


def _skops_digest(version: ModelVersion) -> str:
    found = [digest for name, digest in sorted(version.artifact.items()) if name.endswith(".skops")]
    if len(found) != 1:
        raise ModelFailure(
            Cause.LOAD, f"{version.name}@{version.version} has {len(found)} .skops files, needs one"
        )
    return found[0]


def _check_size(content: bytes) -> None:
    """Refuse archives that unpack to something large, before anything in them is parsed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
    if len(members) > MAX_MEMBERS or sum(m.file_size for m in members) > MAX_FILE_BYTES:
        raise ModelFailure(
            Cause.LOAD, f"the file unpacks to more than {MAX_MEMBERS} members or {MAX_FILE_BYTES} bytes"
        )


class SklearnModel:
    """A fitted estimator. Classifiers answer probabilities (two classes: of the second), others `predict`.

    Inputs: one row or a list of rows; a row is a list of values (null: missing, NaN to the estimator), or an
    object keyed by the names the estimator was fitted with. One row gets one answer, a list gets a list.
    """

    def __init__(self, estimator: Any) -> None:
        """Wrap a fitted estimator."""
        self._estimator = estimator
        names = getattr(estimator, "feature_names_in_", None)
        self._names: tuple[str, ...] | None = None if names is None else tuple(map(str, names))

    def predict(self, inputs: object, deadline: float) -> object:  # noqa: ARG002 - the pool keeps the deadline
        """Scores for the inputs. Raises InputsRefused, also for scores that are not finite."""
        rows, single = self._rows(inputs)
        try:
            scores = self._scores(rows)
        except (ValueError, TypeError, OverflowError) as error:
            raise InputsRefused(
                f"the model cannot read these rows: {error}",
                field="inputs",
                fix="send the columns it was fitted with",
            ) from error
        if not _all_finite(scores):
            # a fitted model is a function: that it has no value here is a matter of these rows
            raise InputsRefused(
                "the model's scores of these rows are not all finite", field="inputs", fix="send usual values"
            )
        return scores[0] if single else scores

    def rehearse(self) -> None:
        """Answer rows made up here, whatever the answer is: a model that ends its process ends it now.

        Where made-up numbers are nothing that the model reads (text columns), nothing was learnt.
        """
        width = getattr(self._estimator, "n_features_in_", None)
        if not isinstance(width, int) or not 0 < width <= _WIDEST_REHEARSED:
            return
        rows = [
            [scale * (1 - 2 * ((i >> j % 4) % 2)) for j in range(width)]
            for i in range(16)
            for scale in _SCALES
        ]
        try:
            self.predict(rows, 0.0)
        except MemoryError as error:
            raise ModelFailure(Cause.LOAD, "it takes more memory than a model may have") from error
        except Exception:  # noqa: BLE001 - text columns, or numbers it was not fitted for
            return

    def _scores(self, rows: list[list[object]]) -> list[object]:
        import numpy as np

        textual = any(isinstance(value, str) for row in rows for value in row)
        # JSON has no NaN: null is how a caller writes a missing value, which imputers look for as NaN
        known = [[math.nan if value is None else value for value in row] for row in rows]
        matrix = np.array(known, dtype=object if textual else np.float64)
        table = self._named(matrix)
        # overflow shows in the scores, which are checked; a warning per call would only flood the log
        with np.errstate(over="ignore", invalid="ignore"):
            if hasattr(self._estimator, "predict_proba"):
                chances = self._estimator.predict_proba(table)
                answer = chances[:, 1] if chances.shape[1] == 2 else chances
            else:
                answer = self._estimator.predict(table)
        return list(np.asarray(answer).tolist())

    def _named(self, matrix: Any) -> Any:
        """A data frame where the estimator was fitted on one (column selectors need the names)."""
        if self._names is None:
            return matrix
        try:
            import pandas as pd
        except ModuleNotFoundError:
            return matrix
        return pd.DataFrame(matrix, columns=list(self._names)).infer_objects()

    def _rows(self, inputs: object) -> tuple[list[list[object]], bool]:
        if isinstance(inputs, Mapping):
            return [self._record(inputs, "inputs")], True
        if not isinstance(inputs, Sequence) or isinstance(inputs, str) or not inputs:
            raise InputsRefused(
                "must be a row or a list of rows", field="inputs", value=type(inputs).__name__
            )
        if len(inputs) > MAX_ROWS:
            raise InputsRefused(
                f"more than {MAX_ROWS} rows", field="inputs", value=len(inputs), fix="send fewer"
            )
        if isinstance(inputs[0], Mapping):
            return [self._record(row, f"inputs[{i}]") for i, row in enumerate(inputs)], False
        if isinstance(inputs[0], list):
            return [_values(row, f"inputs[{i}]") for i, row in enumerate(inputs)], False
        return [_values(inputs, "inputs")], True

    def _record(self, row: object, field: str) -> list[object]:
        if self._names is None:
            raise InputsRefused(
                "the model was fitted without column names", field=field, fix="send rows as lists"
            )
        if not isinstance(row, Mapping):
            raise InputsRefused("rows must all be objects", field=field, value=type(row).__name__)
        missing = [name for name in self._names if name not in row]
        if missing:
            raise InputsRefused(f"lacks {', '.join(missing)}", field=field, fix="send every column")
        return _values([row[name] for name in self._names], field)


def _values(row: object, field: str) -> list[object]:
    if not isinstance(row, Sequence) or isinstance(row, str):
        raise InputsRefused("rows must all be lists", field=field, value=type(row).__name__)
    for i, value in enumerate(row):
        if value is not None and not isinstance(value, int | float | str):
            raise InputsRefused(
                "must be a number or a string", field=f"{field}[{i}]", value=type(value).__name__
            )
    return list(row)


def _all_finite(scores: Iterable[object]) -> bool:
    return all(
        _all_finite(score)
        if isinstance(score, list)
        else not isinstance(score, float) or math.isfinite(score)
        for score in scores
    )
