"""Regressions of many targets on one panel: what depends on the panel alone is computed once."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from stlatent.arrays import Array

# Landmarks that resemble each other leave the system nearly singular.
JITTER = 1e-6
_CHUNK = 4096


class Ridge:
    """Ridge regression whose penalty is chosen by leave-one-out for all targets together.

    The errors follow from one eigendecomposition (Rifkin and Lippert 2007), as in scikit-learn's
    RidgeCV: of the covariance of the panel, or of the Gram matrix where the cells are fewer than its
    genes.

    Parameters
    ----------
    panel
        Cells x panel.
    penalties
        To choose from.
    """

    def __init__(self, panel: Array, penalties: tuple[float, ...]) -> None:
        values = panel.astype(np.float64)
        self.penalties = penalties
        self.mean = values.mean(axis=0)
        self.values = values - self.mean
        n_cells, n_genes = panel.shape
        self.is_wide = n_cells <= n_genes
        product = self.values @ self.values.T if self.is_wide else self.values.T @ self.values
        self.eigenvalues, self.vectors = np.linalg.eigh(product)

    def fit(self, targets: Array) -> tuple[Array, Array, float]:
        """Return coefficients (panel x targets), intercepts (targets) and the penalty.

        Parameters
        ----------
        targets
            Cells x targets.
        """
        offset = targets.mean(axis=0)
        centred = targets - offset
        projected = (self.vectors if self.is_wide else self.values).T @ centred
        solve = self._solve_wide if self.is_wide else self._solve
        best: tuple[float, float, Array] | None = None
        for number, penalty in enumerate(self.penalties):
            errors, coefficients = solve(number, centred, projected)
            loss = float(np.mean(errors**2))
            if best is None or loss < best[0]:
                best = loss, penalty, coefficients
        assert best is not None
        _, penalty, coefficients = best
        return coefficients, offset - self.mean @ coefficients, penalty

    @cached_property
    def _inverses(self) -> list[Array]:
        """By penalty: the inverse of covariance + penalty."""
        return [
            (self.vectors * (1 / (self.eigenvalues + penalty))) @ self.vectors.T
            for penalty in self.penalties
        ]

    @cached_property
    def _leverages(self) -> list[Array]:
        """By penalty: by how much every cell's error grows when the cell is left out."""
        ones = np.ones(len(self.values))
        found = []
        for inverse in self._inverses:
            own = 1 - np.sum((self.values @ inverse) * self.values, axis=1)
            around = ones - self.values @ (inverse @ (self.values.T @ ones))
            found.append(own - around * ones / (ones @ ones))
        return found

    def _solve(self, number: int, centred: Array, projected: Array) -> tuple[Array, Array]:
        coefficients = self._inverses[number] @ projected
        residual = centred - self.values @ coefficients
        return residual / self._leverages[number][:, None], coefficients

    def _solve_wide(self, number: int, centred: Array, projected: Array) -> tuple[Array, Array]:
        ones = np.ones(len(self.values))
        scale = 1.0 / (self.eigenvalues + self.penalties[number])
        dual = self.vectors @ (scale[:, None] * projected)
        own = np.sum(scale * self.vectors**2, axis=1)
        own -= (self.vectors @ (scale * (self.vectors.T @ ones))) * ones / (ones @ ones)
        return dual / own[:, None], self.values.T @ dual


class KernelRidge:
    """Kernel ridge regression with k(x, y) = exp(scale (x y' - 1)) of vectors of length 1.

    Up to ``max_landmarks`` cells the solution is exact, (K + penalty I)^-1 Y. Beyond it is Nystrom's
    with a random subset m, (K_mn K_nm + penalty K_mm)^-1 K_mn Y (Williams and Seeger 2001), so that
    cost is linear in cells and in locations.

    Parameters
    ----------
    panel
        Cells x panel, rows of length 1.
    scale, penalty
        Of the kernel, and of its coefficients.
    max_landmarks
        Size of the subset.
    seed
        Of the subset.
    """

    def __init__(
        self, panel: Array, scale: float, penalty: float, max_landmarks: int, seed: int
    ) -> None:
        self.panel, self.scale = panel, scale
        n = len(panel)
        self.is_exact = n <= max_landmarks
        if self.is_exact:
            self.landmarks = panel
            gram = self._kernel(panel).astype(np.float64)
            gram[np.diag_indices(n)] += penalty
        else:
            chosen = np.sort(np.random.default_rng(seed).choice(n, max_landmarks, replace=False))
            self.landmarks = panel[chosen]
            gram = penalty * self._kernel(self.landmarks).astype(np.float64)
            for rows in chunks(n):
                kernel = self._kernel(panel[rows]).astype(np.float64)
                gram += kernel.T @ kernel
            gram[np.diag_indices(max_landmarks)] += JITTER * np.trace(gram) / max_landmarks
        self.factor = cho_factor(gram, lower=True)

    def fit(self, targets: Array) -> Array:
        """Return the coefficients of the landmarks, landmarks x targets float32.

        Parameters
        ----------
        targets
            Cells x targets.
        """
        right = targets
        if not self.is_exact:
            right = np.zeros((len(self.landmarks), targets.shape[1]))
            for rows in chunks(len(self.panel)):
                right += self._kernel(self.panel[rows]).astype(np.float64).T @ targets[rows]
        return np.asarray(cho_solve(self.factor, right), dtype=np.float32)

    def predict(self, values: Array, coefficients: Array) -> Array:
        """Return predictions, n x targets float32.

        Parameters
        ----------
        values
            n x panel, rows of length 1.
        coefficients
            Of `fit`.
        """
        predicted = np.empty((len(values), coefficients.shape[1]), dtype=np.float32)
        for rows in chunks(len(values)):
            predicted[rows] = self._kernel(values[rows]) @ coefficients
        return predicted

    def _kernel(self, values: Array) -> Array:
        return np.exp(self.scale * (values @ self.landmarks.T - 1.0))


def chunks(n: int, size: int = _CHUNK) -> list[slice]:
    """Return slices of at most ``size`` that cover ``n`` rows."""
    return [slice(start, start + size) for start in range(0, n, size)]
