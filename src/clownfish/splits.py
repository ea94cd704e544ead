"""Divide photos into training, validation and test parts, and into folds, never through a group.

Where a photo goes is drawn from a hash of its group's name and the seed, not from its position, so
that photos added later leave the old ones in place. Per class, groups are ordered by that draw: the
lowest go to the test part until it has its share, the next to validation. A draw below the shares of
test and validation together never leads to training, in classes of at least 20 groups; so a photo that
was once used for testing is not trained on when the set has grown. Two exceptions: without a validation
part nothing can be kept back, and a class that would have no test photo at all gets one whatever its
draw. docs/decisions/0003-split.md measures both and weighs the alternatives.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clownfish.errors import ConfigError, PhotosError
from clownfish.records import PARTS, Part

MIN_GROUPS_FOR_STABILITY = 20
NUM_FOLDS = 5

_PART_NAMES: Mapping[str, Part] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "holdout", "eval"), "test"),
    "": "",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Where each photo goes."""

    parts: tuple[Part, ...]
    """One a photo."""
    notes: tuple[str, ...]
    """What was done instead, where a class was too small for three parts or a group stood in the way."""


def parse_shares(text: str) -> tuple[float, float, float]:
    """Read shares such as "80/10/10".

    Args:
        text: per cent of training, validation and test photos.

    Returns:
        Three shares that sum to 1.

    Raises:
        ConfigError: not three numbers that sum to 100, or nothing left for training or testing.
    """
    try:
        shares = [float(part) for part in text.split("/")]
    except ValueError:
        shares = []
    if len(shares) != 3 or not abs(sum(shares) - 100) <= 1e-6 or min(shares) < 0 or shares[0] <= 0 or shares[2] <= 0:
        raise ConfigError(
            f"The split {text!r} is not understood. Give three per cents that sum to 100, for training, validation and"
            " test photos, such as 80/10/10; training and test must be above 0."
        )
    return shares[0] / 100, shares[1] / 100, shares[2] / 100


def split_photos(
    labels: Sequence[str], groups: Sequence[str], *, shares: tuple[float, float, float], seed: int
) -> Split:
    """Draw the part of every photo, stratified by class, with groups kept whole.

    Args:
        labels: class of each photo.
        groups: group of each photo; the name decides the draw, so it should not change as the set grows.
        shares: of training, validation and test photos; they sum to 1.
        seed: another seed is another draw.

    Returns:
        The parts and notes on what could not be done as asked.
    """
    return _Drawing(labels, groups, shares, seed).run()


def take_split(values: Sequence[str], labels: Sequence[str], groups: Sequence[str]) -> Split:
    """Use the split that the user made.

    Args:
        values: the user's word for the part of each photo; "" leaves a photo out.
        labels: class of each photo.
        groups: group of each photo.

    Returns:
        The parts; notes tell which groups the user's split cuts.

    Raises:
        PhotosError: unknown words, no training or test photos, or a class without training photos.
    """
    words = [value.strip().lower() for value in values]
    problems = []
    unknown = sorted({word for word in words if word not in _PART_NAMES})
    if unknown:
        problems.append(
            f"The split column holds {', '.join(map(repr, unknown[:5]))}; allowed are train, validation and test."
        )
        raise PhotosError(problems)
    parts = tuple(_PART_NAMES[word] for word in words)
    for part in ("train", "test"):
        if part not in parts:
            problems.append(f"The split column marks no photo as {part!r}; mark some.")
    untrained = sorted(set(labels) - {label for label, part in zip(labels, parts, strict=True) if part == "train"})
    if untrained and "train" in parts:
        problems.append(f"The split column leaves no training photo for: {', '.join(untrained[:5])}. Mark some.")
    if problems:
        raise PhotosError(problems)
    return Split(parts=parts, notes=tuple(_describe_cut_groups(parts, groups)))


def make_folds(
    labels: Sequence[str], groups: Sequence[str], *, seed: int, num_folds: int = NUM_FOLDS
) -> NDArray[np.int64]:
    """Divide photos into folds of about equal size and class shares, groups kept whole.

    Args:
        labels: class of each photo.
        groups: group of each photo.
        seed: another seed is another division.
        num_folds: how many; fewer if there are fewer groups.

    Returns:
        Fold of each photo, shape (num_photos,).
    """
    members = _collect(groups)
    num_folds = min(num_folds, len(members))
    counts = [Counter[str]() for _ in range(num_folds)]
    sizes = [0] * num_folds
    folds = np.zeros(len(labels), np.int64)
    draws = {group: draw_share(f"fold/{group}", seed) for group in members}
    # the largest groups first, while there is room to even them out
    for group in sorted(members, key=lambda name: (-len(members[name]), draws[name])):
        content = Counter(labels[photo] for photo in members[group])
        # the fold poorest in these classes, then the smallest
        fold = min(
            range(num_folds),
            key=lambda number: (sum(counts[number][label] * num for label, num in content.items()), sizes[number]),
        )
        counts[fold].update(content)
        sizes[fold] += len(members[group])
        folds[members[group]] = fold
    return folds


def match_training(
    labels: Sequence[str], groups: Sequence[str], folds: NDArray[np.int64], parts: Sequence[Part], *, seed: int
) -> NDArray[np.bool_]:
    """Choose what each fold's model is trained on, so that it learns from about as much as the shipped one.

    Where groups are large or few, the training part may hold far fewer of them than four folds of five do, and
    cross-validation would praise a model that nobody gets. Groups are left out, by a draw, while a class has both more
    groups and more photos outside the fold than it has in the training part. Of a group that the user's split cuts,
    only what was trained on belongs to that part.

    Args:
        labels: class of each photo.
        groups: group of each photo.
        folds: fold of each photo, shape (num_photos,), groups whole.
        parts: part of each photo in the split of the shipped model.
        seed: another seed leaves out other groups.

    Returns:
        Shape (num_folds, num_photos); never a photo of the fold itself.
    """
    members = _collect(groups)
    content = {group: Counter(labels[photo] for photo in photos) for group, photos in members.items()}
    fold_of = {group: int(folds[photos[0]]) for group, photos in members.items()}
    wanted = _count_content(
        Counter(labels[photo] for photo in photos if parts[photo] == "train") for photos in members.values()
    )
    numbers = np.unique(folds)
    chosen = np.zeros((len(numbers), len(labels)), np.bool_)
    for row, number in enumerate(numbers.tolist()):
        kept = {group for group in members if fold_of[group] != number}
        num_groups, num_photos = _count_content(content[group] for group in kept)
        for group in sorted(kept, key=lambda name: draw_share(f"match/{number}/{name}", seed)):
            if all(
                num_groups[label] > wanted[0][label] and num_photos[label] - num >= wanted[1][label]
                for label, num in content[group].items()
            ):
                kept.remove(group)
                num_groups.subtract(content[group].keys())
                num_photos.subtract(content[group])
        for group in kept:
            chosen[row, members[group]] = True
    return chosen


def _count_content(contents: Iterable[Mapping[str, int]]) -> tuple[Counter[str], Counter[str]]:
    """Groups and photos of each class."""
    num_groups, num_photos = Counter[str](), Counter[str]()
    for content in contents:
        num_groups.update(content.keys())
        num_photos.update(content)
    return num_groups, num_photos


def draw_share(name: str, seed: int) -> float:
    """Map a name to a number in [0, 1), the same on every machine and in every run."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _collect(groups: Sequence[str]) -> dict[str, list[int]]:
    members: dict[str, list[int]] = defaultdict(list)
    for photo, group in enumerate(groups):
        members[group].append(photo)
    return dict(members)


class _Drawing:
    """The state while groups are dealt out: what each part still lacks of each class."""

    def __init__(
        self, labels: Sequence[str], groups: Sequence[str], shares: tuple[float, float, float], seed: int
    ) -> None:
        self._num_photos = len(labels)
        self._members = _collect(groups)
        self._content = {group: Counter(labels[photo] for photo in photos) for group, photos in self._members.items()}
        self._draws = {group: draw_share(group, seed) for group in self._members}
        self._order = sorted(self._members, key=lambda group: self._draws[group])
        self._shares = dict(zip(PARTS, shares, strict=True))
        self._held_out_share = shares[1] + shares[2]
        self._totals = Counter(labels)
        self._free_groups = Counter(label for content in self._content.values() for label in content)
        self._num_groups = dict(self._free_groups)
        self._groups_of: dict[str, list[str]] = defaultdict(list)
        for group in self._order:
            for label in self._content[group]:
                self._groups_of[label].append(group)
        self._lacking: dict[Part, dict[str, int]] = {}
        self._part_of: dict[str, Part] = {}

    def run(self) -> Split:
        self._fill("test")
        if self._shares["validation"]:
            self._fill("validation")
            self._keep_out_of_training()
        parts: list[Part] = ["train"] * self._num_photos
        for group, part in self._part_of.items():
            for photo in self._members[group]:
                parts[photo] = part
        return Split(parts=tuple(parts), notes=tuple(self._describe(parts)))

    def _fill(self, part: Part) -> None:
        self._lacking[part] = {
            label: max(1, round(total * self._shares[part])) for label, total in self._totals.items()
        }
        for group in self._order:
            if group not in self._part_of and self._may_hold_out(group, part) and self._fits(group, part):
                self._assign(group, part)
        for label in sorted(self._totals):
            self._give_one(label, part)

    def _may_hold_out(self, group: str, part: Part) -> bool:
        """Test photos come from draws that will never lead to training; see the module's docstring."""
        return part != "test" or not self._is_stable(group) or self._draws[group] < self._held_out_share

    def _is_stable(self, group: str) -> bool:
        return min(self._num_groups[label] for label in self._content[group]) >= MIN_GROUPS_FOR_STABILITY

    def _fits(self, group: str, part: Part) -> bool:
        """At least half of the group is wanted, and every class keeps a group to train on."""
        lacking, content = self._lacking[part], self._content[group]
        now = sum(abs(lacking[label]) for label in content)
        then = sum(abs(lacking[label] - num) for label, num in content.items())
        return then <= now and any(lacking[label] > 0 for label in content) and self._leaves_training(group)

    def _leaves_training(self, group: str) -> bool:
        return all(self._free_groups[label] > 1 for label in self._content[group])

    def _give_one(self, label: str, part: Part) -> None:
        """A class that got nothing gets the group that overshoots least, if it can spare one."""
        if any(self._part_of.get(group) == part for group in self._groups_of[label]):
            return
        candidates = [
            group for group in self._groups_of[label] if group not in self._part_of and self._leaves_training(group)
        ]
        if candidates:
            self._assign(min(candidates, key=lambda group: (len(self._members[group]), self._draws[group])), part)

    def _keep_out_of_training(self) -> None:
        for group in self._order:
            is_low = self._draws[group] < self._held_out_share
            if group not in self._part_of and is_low and self._is_stable(group) and self._leaves_training(group):
                self._assign(group, "validation")

    def _assign(self, group: str, part: Part) -> None:
        self._part_of[group] = part
        for label, num in self._content[group].items():
            self._lacking[part][label] -= num
            self._free_groups[label] -= 1

    def _describe(self, parts: Sequence[Part]) -> Iterable[str]:
        used: dict[str, set[Part]] = defaultdict(set)
        for group, photos in self._members.items():
            for label in self._content[group]:
                used[label].add(parts[photos[0]])
        lacking: dict[tuple[Part, ...], list[str]] = defaultdict(list)
        for label in sorted(self._totals):
            missing = tuple(part for part in PARTS if part not in used[label] and self._shares[part])
            if missing:
                num_photos, num_groups = self._totals[label], self._num_groups[label]
                counts = f"{num_photos} photo{'s' * (num_photos != 1)} in {num_groups} group{'s' * (num_groups != 1)}"
                lacking[missing].append(f"{label} ({counts})")
        for missing, labels in lacking.items():
            yield f"No {' and no '.join(missing)} photos, for want of groups to spare: {_shorten(labels)}."
        lone = [label for label in sorted(self._totals) if self._num_groups[label] == 1]
        if lone:
            yield (
                f"All photos of a class are one group in: {_shorten(lone)}. No model can be trained without them and"
                " tested on them, so they all count as wrong in cross-validation."
            )
        small = [label for label in sorted(self._totals) if self._is_small(label)]
        if small:
            yield (
                f"Too few photos for an exact {self._format_shares()} split in: {_shorten(small)}."
                " Each has at least one test photo where it can spare one; add photos to make the test tell more."
            )

    def _is_small(self, label: str) -> bool:
        return (
            self._num_groups[label] >= 3
            and self._totals[label] * min(share for part, share in self._shares.items() if share) < 1
        )

    def _format_shares(self) -> str:
        return "/".join(f"{100 * share:g}" for share in self._shares.values())


def _describe_cut_groups(parts: Sequence[Part], groups: Sequence[str]) -> Iterable[str]:
    seen: dict[str, set[Part]] = defaultdict(set)
    for part, group in zip(parts, groups, strict=True):
        if part:
            seen[group].add(part)
    cut = sorted(group for group, used in seen.items() if len(used) > 1)
    if cut:
        yield (
            f"The split column cuts {len(cut)} group{'s' * (len(cut) != 1)} ({_shorten(cut)}): copies or relatives of"
            " one photo lie in several parts, so the test accuracy will be too good."
        )


def _shorten(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
