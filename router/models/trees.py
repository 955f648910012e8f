"""Whether the trees of a loaded model can be walked: compiled code follows their numbers without looking.

Nodes are stored after their parents, so a walk ends where every child is a later node of the same tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from switchpoint.router.models.model import Cause, ModelFailure


def require_walkable(model: object) -> None:
    """Look at every decision tree inside a model.

    Raises:
        ModelFailure: LOAD, a tree would be read outside of its arrays, or for ever.
    """
    for tree, features in _trees(model):
        if not (_of_a_forest if type(tree).__name__ == "Tree" else _of_boosting)(tree, features):
            raise ModelFailure(
                Cause.LOAD,
                "a decision tree in the file points outside of itself or back to where it came from: it "
                "would crash, or never end. Fix: save the fitted model anew with skops.io.dump(model, path)",
            )


def _trees(model: object) -> Iterator[tuple[Any, int | None]]:
    """Each tree with the number of columns that the estimator around it is given."""
    import numpy as np

    stack: list[tuple[object, int | None]] = [(model, None)]
    seen: set[int] = set()
    while stack:
        part, features = stack.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if type(part).__module__ in _MODULES and type(part).__name__ in _TREES:
            yield part, features
            continue
        if isinstance(part, Mapping):
            inner = list(part.values())
        elif isinstance(part, list | tuple | set):
            inner = list(part)
        elif isinstance(part, np.ndarray):
            inner = part.ravel().tolist() if part.dtype == object else []
        else:
            inner = list(getattr(part, "__dict__", {}).values())
            features = getattr(part, "n_features_in_", features)
        stack.extend((item, features) for item in inner)


_TREES = frozenset({"Tree", "TreePredictor"})
_MODULES = frozenset({"sklearn.tree._tree", "sklearn.ensemble._hist_gradient_boosting.predictor"})


def _of_a_forest(tree: Any, features: int | None) -> bool:
    inner = tree.children_left != -1
    columns = tree.n_features if features is None else features
    return tree.node_count > 0 and _walkable(
        inner, tree.children_left, tree.children_right, tree.feature, columns
    )


def _of_boosting(tree: Any, features: int | None) -> bool:
    nodes = tree.nodes
    inner = nodes["is_leaf"] == 0
    sets = nodes["bitset_idx"][inner & (nodes["is_categorical"] != 0)]
    return (
        len(nodes) > 0
        and _walkable(inner, nodes["left"], nodes["right"], nodes["feature_idx"], features)
        and bool((sets < len(tree.raw_left_cat_bitsets)).all())
    )


def _walkable(inner: Any, left: Any, right: Any, column: Any, columns: int | None) -> bool:
    [at] = inner.nonzero()
    later = all(((child[at] > at) & (child[at] < len(inner))).all() for child in (left, right))
    return bool(later and (column[at] >= 0).all() and (columns is None or (column[at] < columns).all()))
