"""The examples in the docstrings are true, and importing the numeric core stays light."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys

import pytest

MODULES = [
    "switchpoint.analysis.inference.fixed",
    "switchpoint.analysis.inference.multiplicity",
    "switchpoint.analysis.inference.proportion",
    "switchpoint.analysis.validity.sample_ratio",
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_hold(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


def test_the_core_does_not_import_scipy_stats() -> None:
    """scipy.stats takes over a second; heavy modules are imported where they are used."""
    names = ", ".join(
        [
            *MODULES,
            "switchpoint.analysis.inference.sequential",
            "switchpoint.analysis.methods.exact_tests",
            "switchpoint.analysis.planning.sufficiency",
        ]
    )
    code = f"import sys, {names}; print([m for m in ('scipy.stats', 'scipy.optimize', 'statsmodels', 'pandas') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
