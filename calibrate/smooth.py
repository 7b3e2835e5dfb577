"""Residuals to a grid: kriging (Gaussian-process regression) in log2 of the shape, then monotone along the first axis.

Which kernel a library picks depends on the row count with n, and with k, more than on all three at once, so matrix
products get an additive covariance: fast in n and slow in k, slow in n and fast in k, slow in both, fast in both.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from calibrate.problems import Array

LARGEST = 0.7  # [log] a correction beyond a factor of two is not believed
MOST_CELLS = 1100
FEW, WILD, ROUNDS = 100, 0.12, 6  # cells; [log] residual to its neighbours; iterations
FAST, SLOW, FAR = 0.4, 3.0, 12.0  # [octaves]


def _decay(a: Array, b: Array, length: float) -> Array:
    return np.exp(-np.abs(a[:, None] - b[None, :]) / length)


def _likelihood(covariance: Array, y: Array) -> float:
    """Negative log likelihood of the columns of y, which share a covariance."""
    try:
        factor = cho_factor(covariance, lower=True)
    except np.linalg.LinAlgError:
        return 1e9
    half = float(np.sum(np.log(np.diag(factor[0]))))
    return 0.5 * float(np.sum(y * cho_solve(factor, y))) + half * y.shape[1]


def product_grid(m: Array, n: Array, k: Array, e: Array, knots: tuple[Array, Array, Array]) -> Array:
    """Corrections at knots of (m, n, k) [log2] from scattered residuals `e`."""
    lm, ln, lk = np.log2(m), np.log2(n), np.log2(k)
    pairs, at = np.unique(np.stack([ln, lk], axis=1), axis=0, return_inverse=True)
    at = at.ravel()
    y = np.full((len(pairs), len(knots[0])), np.nan)
    for i in range(len(pairs)):
        mine = at == i
        weight = np.exp(-0.5 * ((knots[0][:, None] - lm[mine][None, :]) / 0.15) ** 2)
        total = weight.sum(axis=1)
        known = total > 1e-2
        y[i, known] = (weight[known] @ e[mine]) / total[known]
        if known.any():
            y[i] = np.interp(knots[0], knots[0][known], y[i, known])
    y = y[:, :]
    pn, pk = pairs[:, 0], pairs[:, 1]

    def kernels(n0: Array, k0: Array, n1: Array, k1: Array) -> list[Array]:
        fn, sn = _decay(n0, n1, FAST), _decay(n0, n1, SLOW)
        fk, sk = _decay(k0, k1, FAST), _decay(k0, k1, SLOW)
        return [sn * sk, fn * sk, sn * fk, fn * fk]

    own = kernels(pn, pk, pn, pk)
    scale = max(float(np.std(y)), 1e-3)

    def cost(x: Array) -> float:
        a = np.exp(2.0 * x)
        covariance = sum(w * item for w, item in zip(a[:4], own, strict=True)) + a[4] * np.eye(len(pn))
        return _likelihood(covariance, y) + 0.5 * float(np.sum((x - np.log(scale)) ** 2))

    best = minimize(cost, np.log(scale * np.array([0.7, 0.5, 0.5, 0.4, 0.3])), method="Nelder-Mead", options={"maxfev": 120}).x
    a = np.exp(2.0 * best)
    covariance = sum(w * item for w, item in zip(a[:4], own, strict=True)) + a[4] * np.eye(len(pn))
    solved = cho_solve(cho_factor(covariance, lower=True), y)
    gn, gk = (item.ravel() for item in np.meshgrid(knots[1], knots[2], indexing="ij"))
    cross = sum(w * item for w, item in zip(a[:4], kernels(gn, gk, pn, pk), strict=True))
    grid = (cross @ solved).reshape(len(knots[1]), len(knots[2]), len(knots[0]))
    return np.clip(np.moveaxis(grid, 2, 0), -LARGEST, LARGEST)


def general_grid(points: Array, e: Array, knots: tuple[Array, ...]) -> Array:
    """Corrections at knots from residuals at scattered points [log2, rows x axes]."""
    cells, at = np.unique(np.round(points * 4.0) / 4.0, axis=0, return_inverse=True)
    count = np.bincount(at.ravel(), minlength=len(cells)).astype(np.float64)
    x = np.stack([np.bincount(at.ravel(), points[:, i], len(cells)) / count for i in range(points.shape[1])], axis=1)
    y = np.bincount(at.ravel(), e, len(cells)) / count
    rng = np.random.default_rng(0)
    if len(y) > MOST_CELLS:
        pick = np.sort(rng.choice(len(y), MOST_CELLS, replace=False))
        x, y, count = x[pick], y[pick], count[pick]
    some = np.sort(rng.choice(len(y), min(len(y), 300), replace=False))
    scale = max(float(np.std(y)), 1e-3)
    axes = points.shape[1]

    def distances(a: Array, b: Array) -> tuple[Array, Array]:
        apart = np.abs(a[:, None, :] - b[None, :, :])
        return apart, np.exp(-apart.sum(axis=2) / FAR)

    def covariance(p: Array, apart: Array, far: Array) -> Array:
        return np.exp(2.0 * p[axes] - apart @ np.exp(-p[:axes])) + np.exp(2.0 * p[axes + 1]) * far

    start = np.array([*([np.log(2.0)] * axes), np.log(0.7 * scale), np.log(0.5 * scale), np.log(0.4 * scale)])

    few = distances(x[some], x[some])

    def cost(p: Array) -> float:
        matrix = covariance(p, *few) + np.diag(np.exp(2.0 * p[-1]) / np.sqrt(count[some]) + 1e-8)
        return _likelihood(matrix, y[some, None]) + 0.5 * float(np.sum((p - start) ** 2))

    if len(y) > FEW:
        p = minimize(cost, start, method="Nelder-Mead", options={"maxfev": 120}).x
    else:  # too few to tell lengths from noise: neighbours within two octaves, the noise of a repeated measurement
        spread = max(float(np.median(np.abs(y))) / 0.6745, 0.05)
        p = np.array([*([np.log(2.0)] * axes), np.log(spread), np.log(1e-3), np.log(0.03)])
    own, noise = covariance(p, *distances(x, x)), np.exp(2.0 * p[-1]) / np.sqrt(count) + 1e-8
    if len(y) <= FEW:
        noise = _wary(own, noise, y)
    solved = cho_solve(cho_factor(own + np.diag(noise), lower=True), y)
    mesh = np.stack([item.ravel() for item in np.meshgrid(*knots, indexing="ij")], axis=1)
    grid = (covariance(p, *distances(mesh, x)) @ solved).reshape([len(item) for item in knots])
    return np.clip(grid, -LARGEST, LARGEST)


def _wary(own: Array, noise: Array, y: Array) -> Array:
    """Noise of each residual, more where the others predict another value than it has: with few rows a wild one bends all."""
    inflated = noise
    for _ in range(ROUNDS):
        inverse = np.linalg.inv(own + np.diag(inflated))
        apart = (inverse @ y) / np.diag(inverse)
        inflated = noise * np.maximum(1.0, (apart / WILD) ** 2)
    return inflated


def monotone(log_time: Array) -> Array:
    """The nearest non-decreasing sequence along the first axis (pool adjacent violators), column by column."""
    flat = log_time.reshape(len(log_time), -1).copy()
    for column in range(flat.shape[1]):
        means: list[float] = []
        sizes: list[int] = []
        for value in flat[:, column]:
            means.append(float(value))
            sizes.append(1)
            while len(means) > 1 and means[-2] > means[-1]:
                size = sizes[-1] + sizes[-2]
                means[-2] = (means[-1] * sizes[-1] + means[-2] * sizes[-2]) / size
                sizes[-2] = size
                means.pop()
                sizes.pop()
        flat[:, column] = np.repeat(means, sizes)
    return flat.reshape(log_time.shape)
