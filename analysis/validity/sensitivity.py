"""How strong an unmeasured cause would have to be to explain an unrandomised difference away.

E-value: the risk ratio that a confounder needs with both the treatment and the outcome to move the observed
ratio to 1. VanderWeele & Ding (2017), Ann. Intern. Med. 167:268.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from switchpoint.analysis.numerics.estimates import Float


def e_value(ratio: ArrayLike) -> Float:
    """R + √(R·(R − 1)) for a risk ratio R > 0 (below 1 it is inverted); 1 where there is no association."""
    r = np.asarray(ratio)
    up = np.maximum(r, 1 / r)
    return np.asarray(up + np.sqrt(up * (up - 1)))
