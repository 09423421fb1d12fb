"""Logistic regression on shares, with weights and a ridge: what win rates under control are made of."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

STEPS = 100
LARGEST_STEP = 2.0
CONVERGED = 1e-9


def logistic(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -x)))


def fit(features_NF: Array, targets_N: Array, weights_N: Array | None = None, ridge: float = 1e-3) -> Array:
    """Coefficients that minimise  sum_n w_n cross_entropy(y_n, logistic(x_n b)) + ridge / 2 |b|^2,  by Newton's method.

    Args:
        features_NF: no intercept is added; give a column of ones.
        targets_N: shares in [0, 1], not only 0 and 1.

    Returns: coefficients [F].
    """
    weights_N = np.ones(len(targets_N)) if weights_N is None else weights_N
    found_F = np.zeros(features_NF.shape[1])
    for _ in range(STEPS):
        shares_N = logistic(features_NF @ found_F)
        gradient_F = features_NF.T @ (weights_N * (shares_N - targets_N)) + ridge * found_F
        curvature_N = weights_N * shares_N * (1 - shares_N)
        hessian_FF = (features_NF * curvature_N[:, None]).T @ features_NF + ridge * np.eye(len(found_F))
        step_F = np.clip(np.linalg.solve(hessian_FF, gradient_F), -LARGEST_STEP, LARGEST_STEP)
        found_F = found_F - step_F
        if np.abs(step_F).max() < CONVERGED:
            break
    return found_F
