"""Shapes that learning curves take, fitted to many measured curves at once, and carried on to more photos.

With x the number of photos relative to the largest that was measured:

- power-3: c - a x^-b, a curve that levels off somewhere below 1;
- power-2: 1 - a x^-b, a curve that would in the end be right every time;
- arctan: c + 2/pi arctan(pi/2 s x + t), which levels off the quickest.

All are linear but for one or two parameters. These are taken from a grid, and the others follow by weighted least
squares in closed form, so that hundreds of curves take milliseconds and the best fit is never missed.

Source: Mahmood et al. 2022, "How much more data do I need?", arXiv 2207.01725, for the choice of families.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_EXPONENTS = np.geomspace(0.1, 3.0, 40)
_EXPONENTS_OR_FLAT = np.linspace(0.0, 3.0, 121)
_RATES = np.geomspace(0.05, 50.0, 40)
_OFFSETS = np.concatenate([[0.0], np.geomspace(0.05, 20.0, 15)])


def fit_power3(sizes: Values, values: Values, weights: Values, targets: Values) -> Values:
    """Fit c - a x^-b with a >= 0, b > 0 and c <= 1.

    Args:
        sizes: x of the measured points, shape (num_sizes,), increasing and above 0.
        values: accuracies, shape (num_curves, num_sizes).
        weights: of the points, shape (num_sizes,), above 0.
        targets: where to read the fitted curves, shape (num_targets,).

    Returns:
        Shape (num_curves, num_targets).
    """
    basis = sizes ** -_EXPONENTS[:, None]
    weights = weights / weights.sum()
    mean = basis @ weights
    centred = basis - mean[:, None]
    level = values @ weights
    slope = -((values - level[:, None]) * weights) @ centred.T / (np.square(centred) @ weights)
    slope = np.maximum(slope, 0.0)  # shape (num_curves, num_exponents), as all below
    ceiling = level[:, None] + slope * mean
    # where the best level would be above 1 it is 1, and the slope follows
    through_one = ((1 - values) * weights) @ basis.T / (np.square(basis) @ weights)
    slope, ceiling = np.where(ceiling > 1, through_one, slope), np.minimum(ceiling, 1.0)
    error = _measure_error(values, weights, ceiling[:, :, None] - slope[:, :, None] * basis)
    best = error.argmin(axis=1)
    rows = np.arange(len(values))
    fitted: Values = ceiling[rows, best, None] - slope[rows, best, None] * targets ** -_EXPONENTS[best, None]
    return fitted


def fit_power2(sizes: Values, values: Values, weights: Values, targets: Values) -> Values:
    """Fit 1 - a x^-b with b >= 0; arguments and result as for `fit_power3`."""
    basis = sizes ** -_EXPONENTS_OR_FLAT[:, None]
    factor = ((1 - values) * weights) @ basis.T / (np.square(basis) @ weights)
    best = _measure_error(values, weights, 1 - factor[:, :, None] * basis).argmin(axis=1)
    rows = np.arange(len(values))
    fitted: Values = 1 - factor[rows, best, None] * targets ** -_EXPONENTS_OR_FLAT[best, None]
    return fitted


def fit_arctan(sizes: Values, values: Values, weights: Values, targets: Values) -> Values:
    """Fit c + 2/pi arctan(pi/2 s x + t) with s > 0 and t >= 0; arguments and result as for `fit_power3`."""
    rates, offsets = (grid.ravel()[:, None] for grid in np.meshgrid(_RATES, _OFFSETS))
    basis = 2 / np.pi * np.arctan(np.pi / 2 * rates * sizes + offsets)
    weights = weights / weights.sum()
    level = (values @ weights)[:, None] - basis @ weights
    # the squared error of the best level is a variance, so no array of curves x grid x points is needed
    cross = (values * weights) @ basis.T - (values @ weights)[:, None] * (basis @ weights)
    best = (np.square(basis) @ weights - np.square(basis @ weights) - 2 * cross).argmin(axis=1)
    rows = np.arange(len(values))
    curve = 2 / np.pi * np.arctan(np.pi / 2 * rates[best] * targets + offsets[best])
    fitted: Values = level[rows, best, None] + curve
    return fitted


FAMILIES: Mapping[str, Callable[[Values, Values, Values, Values], Values]] = {
    "power-3": fit_power3,
    "power-2": fit_power2,
    "arctan": fit_arctan,
}


def fit_families(sizes: Values, values: Values, weights: Values, targets: Values) -> Values:
    """Fit every family.

    Args:
        sizes: numbers of photos, shape (num_sizes,), increasing and above 0.
        values: accuracies, shape (num_curves, num_sizes).
        weights: of the points, shape (num_sizes,), above 0.
        targets: numbers of photos to read the curves at, shape (num_targets,).

    Returns:
        Shape (num_families, num_curves, num_targets), within 0 and 1.
    """
    unit = sizes[-1]
    return np.stack(
        [np.clip(fit(sizes / unit, values, weights, targets / unit), 0.0, 1.0) for fit in FAMILIES.values()]
    )


def weigh_families(sizes: Values, values: Values, weights: Values, noise: float) -> Values:
    """Weigh the families by how well they foretell the largest size from the smaller ones.

    Args:
        sizes: as for `fit_families`.
        values: one curve, shape (num_sizes,).
        weights: as for `fit_families`.
        noise: standard deviation of what is foretold; errors below it tell nothing.

    Returns:
        Shape (num_families,), sums to 1.
    """
    foretold = fit_families(sizes[:-1], values[None, :-1], weights[:-1], sizes[-1:])[:, 0, 0]
    precision = 1 / (np.square(foretold - values[-1]) + max(noise, 1e-4) ** 2)
    share: Values = precision / precision.sum()
    return share


def _measure_error(values: Values, weights: Values, fitted: Values) -> Values:
    """Weighted squared error, shape (num_curves, num_grid)."""
    error: Values = np.square(values[:, None, :] - fitted) @ weights
    return error
