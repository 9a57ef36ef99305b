"""The type of arrays of any shape; docstrings say which."""

from __future__ import annotations

import numpy as np

Array = np.ndarray
