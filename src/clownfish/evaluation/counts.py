"""How many photos of each class there are among new ones: counts of answers, corrected for known confusions.

Counting answers is biased. A rare class next to a common one gets the common one's wrong answers and loses few
of its own (Forman 2008, Data Mining and Knowledge Discovery 17). How often which class is taken for which is
known from cross-validation, so the counts can be turned back.

The model behind it: class c has a share s_c of the new photos, and answers j to a photo of class c come with
the probabilities t_cj, which do not depend on the shares (label shift; Saerens, Latinne & Decaestecker 2002,
Neural Computation 14). Both are unknown. With Dirichlet priors, all conditional distributions are known ones,

    photos of class c among those answered j  ~  Multinomial(m_j, s_c t_cj / sum_c s_c t_cj)
    s  ~  Dirichlet(prior + photos of each class)
    t_c  ~  Dirichlet(prior + confusions of c, one a group + photos of class c among the answers)

so drawing from each in turn (Gibbs sampling) gives draws of the true counts themselves, as Ziegler & Czyz
(2024, TMLR, "Bayesian quantification with black-box estimators") do. Their spread holds both
uncertainties: which of these photos were answered wrongly, and how well the confusions are known.

"Unlike anything seen" is one more answer, which some photos of every class get, of a class that is hard to know more.
Things of no class get it too, so they are one more class, which has no other answer. Both are drawn with the rest: what
the classes are known to lose to this answer, they get back, and what is beyond belongs to no class.
docs/decisions/0009-counts.md has the measurements.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_GROUPS = 5
"""A class seen in fewer groups than this when the model was evaluated gets no corrected count."""

_MIN_GROUPS_TO_LEARN_FROM = 2
_NUM_DRAWS = 1000
_NUM_FIRST_DRAWS = 200
"""Thrown away, because they still depend on where the chain began."""
_PRIOR_PHOTOS = 0.5
"""What the prior adds to the photos of each class (Jeffreys 1946); with many classes, less."""
_MAX_PRIOR_PHOTOS = 10.0
"""What it adds in all."""
_PRIOR_WRONG = 0.5
_MAX_PRIOR_RIGHT = 5.0
_PRIOR_REJECTED = 5.0
"""As many photos as this, rejected as often as those of all classes together, are added to those of each class."""
_CERTAIN = 1e6
_TINY = 1e-300


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Photos of each class among new ones; all of shape (num_classes,)."""

    counted: NDArray[np.int64]
    """How many photos got this answer."""
    corrected: NDArray[np.float64]
    """How many photos there probably are (median, each class for itself); NaN where nothing can be said."""
    low: NDArray[np.float64]
    """With 95 % probability at least so many; NaN where nothing can be said."""
    high: NDArray[np.float64]
    """With 95 % probability at most so many; NaN where nothing can be said."""
    notes: tuple[str, ...]
    """Why nothing can be said; "" otherwise."""
    unlike: tuple[int, int, int]
    """How many of the photos unlike anything seen are of these classes: at least, probably and at most."""


def estimate_counts(
    confusions: NDArray[np.int64],
    num_groups: NDArray[np.int64],
    counted: NDArray[np.int64],
    *,
    rejected: NDArray[np.int64] | None = None,
    num_unlike: int = 0,
    seed: int = 1,
) -> Counts:
    """Turn numbers of answers into numbers of photos of each class, with 95 % intervals.

    Args:
        confusions: out-of-fold answers of the model to photos that it does not call unlike anything seen, shape
            (num_classes, num_classes), rows true, columns predicted.
        num_groups: independent groups behind each row, shape (num_classes,); copies and bursts make a
            matrix look surer than it is.
        counted: new photos by answer, shape (num_classes,).
        rejected: further photos of each class, called unlike anything seen out-of-fold, shape (num_classes,); None for
            none.
        num_unlike: new photos that are called so.
        seed: of the draws.

    Returns:
        The counts. The corrected ones need not add up to the number of photos exactly.

    Source:
        The Gibbs sampler above; Ziegler & Czyz 2024.
    """
    lost = np.zeros_like(num_groups) if rejected is None else rejected
    parameters = _weigh_by_groups(confusions, lost, num_groups)
    draws, of_classes = _draw_counts(parameters, np.append(counted, num_unlike), np.random.default_rng(seed))
    low, corrected, high = np.quantile(draws, [0.025, 0.5, 0.975], axis=0)
    least, probably, most = np.quantile(of_classes, [0.025, 0.5, 0.975])
    is_known = num_groups >= MIN_GROUPS
    return Counts(
        counted=counted,
        corrected=np.where(is_known, np.round(corrected), np.nan),
        low=np.where(is_known, np.floor(low), np.nan),
        high=np.where(is_known, np.ceil(high), np.nan),
        notes=tuple(
            ""
            if known
            else f"only {number} group{'s' * (number != 1)} of photos when the model was evaluated; {MIN_GROUPS} needed"
            for number, known in zip(num_groups.tolist(), is_known.tolist(), strict=True)
        ),
        unlike=(int(np.floor(least)), round(probably), int(np.ceil(most))),
    )


def _weigh_by_groups(
    confusions: NDArray[np.int64], rejected: NDArray[np.int64], num_groups: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Scale each row to its number of groups, and add the prior: the Dirichlet parameters of each class's answers.

    The last column is "unlike anything seen", the last row things of no class; shape (num_classes + 1,
    num_classes + 1).

    The prior is half a wrong answer, and as many right ones as go with it at the average rate of errors, at most
    five. The wrong answers of a class are then spread as if one more had been given to all other classes alike:
    with few errors, most of those to come are confusions that have not been seen yet.
    """
    # a class of one group was not in the training of the model that was asked about it, but is in that of the shipped
    # one: its row would say that its photos always get other answers
    enough = num_groups >= _MIN_GROUPS_TO_LEARN_FROM
    confusions, rejected = np.where(enough[:, None], confusions, 0), np.where(enough, rejected, 0)
    num_classes = len(confusions)
    num_photos = confusions.sum(axis=1) + rejected
    weights = np.minimum(num_groups, num_photos) / np.maximum(num_photos, 1)
    weighted = confusions * weights[:, None]
    is_right = np.eye(num_classes, dtype=bool)
    error_rate = (confusions[~is_right].sum() + 0.5) / (confusions.sum() + 1)
    right = np.diagonal(weighted) + min(_MAX_PRIOR_RIGHT, _PRIOR_WRONG * (1 - error_rate) / error_rate)
    wrong = np.where(is_right, 0.0, weighted)
    num_wrong = wrong.sum(axis=1, keepdims=True)
    spread = (wrong + np.where(is_right, 0.0, 1 / max(num_classes - 1, 1))) / (num_wrong + 1)
    parameters = np.zeros((num_classes + 1, num_classes + 1))
    parameters[:-1, :-1] = np.where(is_right, right[:, None], (num_wrong + _PRIOR_WRONG) * spread)
    parameters[:-1, -1] = rejected * weights + _PRIOR_REJECTED * rejected.sum() / max(num_photos.sum(), 1)
    parameters[-1, -1] = _CERTAIN
    return parameters


def _draw_counts(
    confusions: NDArray[np.float64], counted: NDArray[np.int64], random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw true counts from their posterior.

    Args:
        confusions: of `_weigh_by_groups`.
        counted: new photos by answer, the last one "unlike anything seen"; shape (num_classes + 1,).
        random: of the draws.

    Returns:
        Photos of each class, shape (num_draws, num_classes), and how many of them are unlike anything seen, shape
        (num_draws,).
    """
    num_classes = len(counted) - 1
    answered = counted > 0
    if not answered[-1]:  # then there is nothing of no class
        confusions = confusions[:-1]
    answers = counted[answered]
    # the parts of a Dirichlet variable may be joined: answers that did not occur need only one
    seen, unseen = confusions[:, answered], confusions[:, ~answered].sum(axis=1, keepdims=True)
    share_prior = min(_PRIOR_PHOTOS, _MAX_PRIOR_PHOTOS / num_classes)
    shares: NDArray[np.float64] = np.full(len(seen), 1 / len(seen))
    assigned: NDArray[np.int64] = np.zeros(seen.shape, np.int64)
    draws, of_classes = np.empty((_NUM_DRAWS, num_classes), np.int64), np.zeros(_NUM_DRAWS, np.int64)
    for number in range(-_NUM_FIRST_DRAWS, _NUM_DRAWS):
        parts = random.standard_gamma(seen + assigned) + _TINY
        rest = random.standard_gamma(np.maximum(unseen, _TINY))
        joint = shares[:, None] * parts / (parts.sum(axis=1, keepdims=True) + rest)
        by_answer = joint.T / joint.sum(axis=0)[:, None]
        assigned = random.multinomial(answers, by_answer).T
        totals = assigned.sum(axis=1)
        raw = random.standard_gamma(totals + share_prior) + _TINY
        shares = raw / raw.sum()
        draws[max(number, 0)] = totals[:num_classes]
        if answered[-1]:
            of_classes[max(number, 0)] = assigned[:num_classes, -1].sum()
    return draws, of_classes
