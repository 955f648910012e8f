"""scikit-learn trees that crash whoever walks them, or never end."""

from __future__ import annotations

import numpy as np
import skops.io
from sklearn.tree import DecisionTreeClassifier

ROWS = np.random.default_rng(0).normal(size=(200, 2))
FAR, ITSELF = 2**40, 0


def tree(child: int | None = None, *, node: int = 0) -> DecisionTreeClassifier:
    """A fitted tree of several levels; `child` becomes both children of `node`."""
    fitted = DecisionTreeClassifier(max_depth=3).fit(ROWS, (ROWS[:, 0] * ROWS[:, 1] > 0).astype(int))
    if child is not None:
        state = fitted.tree_.__getstate__()
        state["nodes"] = state["nodes"].copy()
        state["nodes"]["left_child"][node] = state["nodes"]["right_child"][node] = child
        fitted.tree_.__setstate__(state)
    return fitted


def content(child: int | None = None) -> bytes:
    return skops.io.dumps(tree(child))
