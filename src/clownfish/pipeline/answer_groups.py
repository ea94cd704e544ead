"""Which of the photos that a model was shown belong together: the same rules as for training, without its features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clownfish.photos.groups import Grouping, group_photos, read_user_groups
from clownfish.photos.parts import MAX_EXHAUSTIVE
from clownfish.prediction.batch import Answer
from clownfish.prediction.classifier import Classifier
from clownfish.records import COPY_KINDS, LinkKind, PhotoFile

_REASONS: Mapping[LinkKind, str] = {
    "scene": "show the scene of another",
    "name": "have a name that marks a copy",
    "moment": "were taken within a minute of another by one camera",
    "user": "share the group that you name",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class UserGroups:
    """What the user knows about which photos belong together."""

    names: Mapping[str, str]
    """File to the name of its group; "" where nothing is known."""

    def list_names(self, answers: Sequence[Answer]) -> list[str]:
        """One name an answer."""
        return [self.names[answer.photo.file] for answer in answers]


def find_user_groups(photos: Sequence[PhotoFile], *, group_by: str, group_regex: str) -> UserGroups:
    """Read the user's groups before anything slow is done, so that a wrong column costs no time.

    Args:
        photos: all that will be shown to the model.
        group_by: a column of the CSV, or "folder" for the second-level folder; "" for none.
        group_regex: a regular expression on the file name; "" for none.

    Returns:
        The groups.

    Raises:
        ConfigError: the regular expression is not one.
        PhotosError: there is no such column, no second-level folder, or no match at all.
    """
    names = read_user_groups(photos, group_by=group_by, group_regex=group_regex)
    return UserGroups(names={photo.file: name for photo, name in zip(photos, names, strict=True)})


def may_hold_pictures(num_photos: int) -> bool:
    """Whether larger pictures of all photos are kept, 4 kB each, so that parts of photos can be found."""
    return num_photos <= MAX_EXHAUSTIVE


def group_answers(answers: Sequence[Answer], user_groups: UserGroups) -> Grouping:
    """Join copies, parts, bursts and the user's groups, as for training.

    Without the features of a network, parts of photos and equal scenes are looked for only while all photos can be
    compared with all (3,000), and where the answers still have their pictures.

    Args:
        answers: of photos that can be read.
        user_groups: of these and perhaps other photos.

    Returns:
        The groups, one an answer.
    """
    inspections = [answer.inspection for answer in answers if answer.inspection is not None]
    pictures = [answer.picture for answer in answers if answer.picture is not None]

    def load(positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.stack([pictures[position] for position in positions.tolist()])

    are_held = len(pictures) == len(answers) and may_hold_pictures(len(answers))
    return group_photos(
        [answer.photo for answer in answers],
        inspections,
        user_groups.list_names(answers),
        features=np.empty((len(answers), 0), np.float32) if are_held else None,
        load_pictures=load if are_held else None,
    )


def describe_groups(num_photos: int, num_groups: int, grouping: Grouping) -> list[str]:
    """Say that intervals count groups, where there are fewer of them than photos.

    Args:
        num_photos: evaluated.
        num_groups: of these photos.
        grouping: of these and perhaps other photos.

    Returns:
        At most one sentence.
    """
    if num_groups == num_photos:
        return []
    counts = grouping.reason_counts
    copies = sum(count for kind, count in counts.items() if kind in COPY_KINDS)
    reasons = [f"{copies} copy another or a part of it"] if copies else []
    reasons += [f"{counts[kind]} {text}" for kind, text in _REASONS.items() if counts.get(kind)]
    return [
        f"The intervals count {num_groups} groups, not {num_photos} photos, since photos that belong together tell"
        f" little more than one of them: {'; '.join(reasons)}."
    ]


def describe_known(classifier: Classifier, answers: Sequence[Answer], groups: Sequence[str]) -> list[str]:
    """Say that photos were used for training, or belong together with one that was.

    Args:
        classifier: the model.
        answers: of the evaluated photos.
        groups: of the same photos.

    Returns:
        At most one sentence.
    """
    known = np.array([classifier.was_trained_on(answer.content_hash) for answer in answers], np.bool_)
    if not known.any():
        return []
    names = np.array(groups)
    num_beside = int((np.isin(names, names[known]) & ~known).sum())
    beside = f", and {num_beside} more belong together with one of them" if num_beside else ""
    return [
        f"{int(known.sum())} of these photos were used to train the model{beside}: the accuracy is too good."
        " Evaluate on other photos."
    ]
