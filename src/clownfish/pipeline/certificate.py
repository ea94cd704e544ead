"""Does an exported model say what the original says? Judged photo by photo, each file run as its user would."""

import base64
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.compute import run_in_threads
from clownfish.errors import UnusablePhotoError
from clownfish.evaluation.intervals import estimate_share
from clownfish.evaluation.paired import estimate_difference
from clownfish.images import decode_photo, make_preview, read_photo_file, stretch_like_phones
from clownfish.pipeline.run_photos import RunPhoto
from clownfish.prediction.batch import Answer, predict_photos
from clownfish.prediction.classifier import Classifier
from clownfish.progress import Progress
from clownfish.records import PhotoFile

_MAX_LISTED = 100
_MAX_PICTURES = 12
_SMALLEST = 1e-30
"""Probability below which a float32 holds no score any more."""
_NUM_TIMED = {1: 5, 32: 1}
"""How often, by the size of the batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """What an exported model has to reach."""

    agreement: float
    """Share of photos that get the same label."""
    largest_difference: float | None
    """Of any probability of any photo; None for no limit."""
    score_difference: float | None = None
    """See `_compare_scores`; None for no limit. Labels alone do not tell: on photos that are easy, a network with
    half of a layer cut off, or fed with wrongly normalised pixels, still names nearly all of them right."""


EXACT = Bar(agreement=1.0, largest_difference=1e-4)
"""For float32: the same arithmetic."""
ROUNDED = Bar(agreement=0.97, largest_difference=None)
"""For numbers that were rounded, and photos that were made smaller in another way."""
_BARS = {
    "float32": EXACT,
    "float16": Bar(agreement=0.97, largest_difference=None, score_difference=0.02),
    "dynamic": Bar(agreement=0.97, largest_difference=None, score_difference=0.1),
    "int8": Bar(agreement=0.97, largest_difference=None, score_difference=0.1),
}


def choose_bar(precision: str) -> Bar:
    """Choose what a file of the original's own preparation of photos has to reach.

    Args:
        precision: "float32", "float16", "dynamic" or "int8".
    """
    return _BARS[precision]


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """What was found."""

    facts: dict[str, Any]
    """For NAME.certificate.json."""
    failures: tuple[str, ...]
    """One sentence each; none if the bar is reached."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pairs:
    """The photos that both could read; rows are photos."""

    photos: list[RunPhoto]
    groups: NDArray[np.str_]
    before: list[Answer]
    after: list[Answer]
    agree: NDArray[np.bool_]
    differences: NDArray[np.float64]
    """Shape (num_photos, num_classes)."""


def certify(
    original: Classifier,
    exported: Classifier,
    photos: Sequence[RunPhoto],
    bar: Bar,
    progress: Progress,
    *,
    is_for_phones: bool = False,
) -> Certificate:
    """Compare two models on photos.

    Args:
        original: as trained.
        exported: what was made of it.
        photos: that the model was not trained on; their labels may be unknown to it.
        bar: what is needed.
        progress: shows how far the work has come.
        is_for_phones: look at the photos as phones make them smaller, too.

    Returns:
        The certificate, without the names and hashes of the files.
    """
    failures = _compare_facts(original, exported)
    pairs = _pair(original, exported, photos, progress)
    facts: dict[str, Any] = {"bar": asdict(bar), "num_photos": len(pairs.photos)}
    if not pairs.photos:
        return Certificate(facts=facts, failures=(*failures, "there is no photo that it could be checked on"))
    estimate = estimate_share(pairs.agree, pairs.groups)
    largest, scores = float(pairs.differences.max()), _compare_scores(pairs)
    facts |= {
        "num_unusable": len(photos) - len(pairs.photos),
        "agreement": {**asdict(estimate), "num_disagreeing": int((~pairs.agree).sum())},
        "same_status": float(np.mean([a.status == b.status for a, b in zip(pairs.before, pairs.after, strict=True)])),
        "probability_difference": {"largest": largest, "mean": float(pairs.differences.mean())},
        "score_difference": scores,
        "accuracy": _compare_accuracy(original, exported, pairs),
        "disagreeing_photos": _list_disagreeing(original, exported, pairs),
    }
    if estimate.value < bar.agreement:
        failures.append(
            f"the labels agree on {100 * estimate.value:.1f} % of {len(pairs.photos)} photos, at least"
            f" {100 * bar.agreement:g} % are needed"
        )
    if bar.largest_difference is not None and not largest <= bar.largest_difference:
        failures.append(f"a probability differs by {largest:.2g}, at most {bar.largest_difference:g} is allowed")
    if bar.score_difference is not None and not scores <= bar.score_difference:
        failures.append(
            f"its scores differ by {100 * scores:.0f} %, at most {100 * bar.score_difference:g} % is allowed"
        )
    if not failures and is_for_phones:
        facts["resized_by_phone"] = _compare_on_phone(exported, pairs)
    if not failures:
        facts["milliseconds_a_photo"] = _time_both(original, exported, pairs)
    return Certificate(facts=facts, failures=tuple(failures))


def describe_certificate(facts: Mapping[str, Any]) -> list[str]:
    """Tell a certificate in a few lines.

    Args:
        facts: content of NAME.certificate.json; empty for a file of labels.

    Returns:
        The lines.
    """
    if not facts:
        return []
    lines = [f"NOT CERTIFIED: {'; '.join(facts['failures'])}."] if facts["failures"] else []
    if facts["num_photos"]:
        agreement, difference = facts["agreement"], facts["probability_difference"]
        lines.append(
            f"Same label on {facts['num_photos'] - agreement['num_disagreeing']} of {facts['num_photos']} photos"
            f" ({facts['photos']}); probabilities differ by {difference['largest']:.2g} at most,"
            f" {difference['mean']:.2g} on average"
        )
        for photo in facts["disagreeing_photos"][:5]:
            lines.append(f"  {photo['file']}: {photo['before']}, now {photo['after']}")
    if "resized_by_phone" in facts:
        num_same = facts["num_photos"] - facts["resized_by_phone"]["num_disagreeing"]
        lines.append(
            f"Same label on {num_same} of {facts['num_photos']} photos when a phone makes them smaller (MediaPipe)"
        )
    if facts.get("accuracy"):
        shares = [facts["accuracy"][name]["value"] for name in ("before", "after")]
        loss = facts["accuracy"]["difference"]
        lines.append(
            f"Accuracy on {facts['accuracy']['num_photos']} test photos: {shares[0]:.1%} before, {shares[1]:.1%} after"
            f" (difference {loss['low']:+.1%} to {loss['high']:+.1%})"
        )
    sizes = [facts[name]["bytes"] / 1e6 for name in ("original", "exported")]
    times = facts.get("milliseconds_a_photo") or {}
    speed = (
        f"; {times['before']['batch_1']:.0f} ms a photo before, {times['after']['batch_1']:.0f} ms after"
        if times.get("after")
        else ""
    )
    lines.append(f"{sizes[0]:.1f} MB before, {sizes[1]:.1f} MB after{speed}")
    return lines


def _compare_facts(original: Classifier, exported: Classifier) -> list[str]:
    failures = []
    if original.classes != exported.classes:
        failures.append("its labels are not those of the original, in the same order")
    if original.preprocessing != exported.preprocessing:
        before, after = original.preprocessing, exported.preprocessing
        failures.append(
            f"it prepares photos otherwise ({after.resize} to {after.size} pixels, not {before.resize} to"
            f" {before.size})"
        )
    return failures


def _pair(original: Classifier, exported: Classifier, photos: Sequence[RunPhoto], progress: Progress) -> _Pairs:
    answers: list[list[Answer]] = []
    with progress.show_stage("Checking", 2 * len(photos)) as advance:
        for classifier in (original, exported):
            answers.append([])
            for answer in predict_photos(classifier, [photo.photo for photo in photos]):
                answers[-1].append(answer)
                advance()
    rows = [
        (photo, before, after)
        for photo, before, after in zip(photos, *answers, strict=True)
        if before.probabilities is not None and after.probabilities is not None
    ]
    same_width = len(original.classes) == len(exported.classes)
    return _Pairs(
        photos=[photo for photo, _, _ in rows],
        groups=np.array([photo.group or before.content_hash for photo, before, _ in rows]),
        before=[before for _, before, _ in rows],
        after=[after for _, _, after in rows],
        agree=np.array([_name(original, before) == _name(exported, after) for _, before, after in rows], np.bool_),
        differences=np.array(
            [np.abs(before.probabilities - after.probabilities) if same_width else [1.0] for _, before, after in rows],
            np.float64,
        ),
    )


def _compare_scores(pairs: _Pairs) -> float:
    """How far apart the scores before the softmax are, as a share of their length.

    Scores are the logarithms of the probabilities but for a constant, so with s = log p minus its mean over classes,
    this is |s' - s| / |s| over all photos together. Unlike a probability, a score has no end that it sticks to.
    """
    if pairs.differences.shape[1] == 1:  # the two have other classes; see `_pair`
        return 1.0
    before, after = (
        np.log(np.maximum(np.array([answer.probabilities for answer in side], np.float64), _SMALLEST))
        for side in (pairs.before, pairs.after)
    )
    before, after = before - before.mean(axis=1, keepdims=True), after - after.mean(axis=1, keepdims=True)
    length = float(np.linalg.norm(before))
    return float(np.linalg.norm(after - before)) / length if length else float(np.any(after))


def _name(classifier: Classifier, answer: Answer) -> str:
    assert answer.probabilities is not None
    return classifier.classes[int(answer.probabilities.argmax())]


def _compare_on_phone(exported: Classifier, pairs: _Pairs) -> dict[str, Any]:
    """The exported model on photos that a phone has made smaller, against the original on photos that we have."""
    size = exported.preprocessing.size

    def run(photo: RunPhoto) -> NDArray[np.float32] | None:
        try:
            pixels = stretch_like_phones(read_photo_file(Path(photo.photo.path)), size)
        except UnusablePhotoError:  # gone since
            return None
        probabilities: NDArray[np.float32] = exported.run_network(pixels[None])[0]
        return probabilities

    found = list(run_in_threads(run, pairs.photos))
    agree = np.array(
        [
            probabilities is None or probabilities.argmax() == before.probabilities.argmax()  # type: ignore[union-attr]
            for probabilities, before in zip(found, pairs.before, strict=True)
        ]
    )
    return {"agreement": asdict(estimate_share(agree, pairs.groups)), "num_disagreeing": int((~agree).sum())}


def _compare_accuracy(original: Classifier, exported: Classifier, pairs: _Pairs) -> dict[str, Any] | None:
    """On the test photos, paired: both models on the same photos."""
    rows = [
        row for row, photo in enumerate(pairs.photos) if photo.part == "test" and photo.photo.label in original.classes
    ]
    if not rows or original.classes != exported.classes:
        return None
    labels = np.array([original.classes.index(pairs.photos[row].photo.label) for row in rows], np.int64)
    groups = pairs.groups[rows]
    before, after = (
        np.array([side[row].probabilities for row in rows]).argmax(axis=1) == labels
        for side in (pairs.before, pairs.after)
    )
    return {
        "num_photos": len(rows),
        "before": asdict(estimate_share(before, groups)),
        "after": asdict(estimate_share(after, groups)),
        "difference": asdict(estimate_difference(before, after, groups)),
    }


def _list_disagreeing(original: Classifier, exported: Classifier, pairs: _Pairs) -> list[dict[str, Any]]:
    listed = []
    for number, row in enumerate(np.flatnonzero(~pairs.agree)[:_MAX_LISTED]):
        photo = pairs.photos[row].photo
        before, after = pairs.before[row].probabilities, pairs.after[row].probabilities
        assert before is not None
        assert after is not None
        listed.append(
            {
                "file": photo.file,
                "label": photo.label,
                "before": _name(original, pairs.before[row]),
                "before_probability": float(before.max()),
                "after": _name(exported, pairs.after[row]),
                "after_probability": float(after.max()),
                "picture": _draw(photo) if number < _MAX_PICTURES else None,
            }
        )
    return listed


def _draw(photo: PhotoFile) -> str:
    """A small JPEG, for the report, which is rendered without the photos."""
    return base64.b64encode(make_preview(Path(photo.path))).decode("ascii")


def _time_both(original: Classifier, exported: Classifier, pairs: _Pairs) -> dict[str, Any]:
    """Without decoding, on one core; the fastest of a few."""
    pictures = []
    for photo in pairs.photos[: max(_NUM_TIMED)]:
        try:
            data = read_photo_file(Path(photo.photo.path))
            pictures.append(decode_photo(data, original.preprocessing).pixels)
        except UnusablePhotoError:  # gone since
            continue
    if not pictures:
        return {}
    stack = np.stack(pictures)
    timed: dict[str, Any] = {"cores": 1}
    for name, classifier in (("before", original), ("after", exported)):
        if classifier.preprocessing.size == original.preprocessing.size:
            timed[name] = {
                f"batch_{size}": _time(classifier, np.resize(stack, (size, *stack.shape[1:]))) for size in _NUM_TIMED
            }
    return timed


def _time(classifier: Classifier, pixels: NDArray[np.uint8]) -> float:
    seconds = []
    for _ in range(_NUM_TIMED[len(pixels)]):
        start = time.perf_counter()
        classifier.run_network(pixels)
        seconds.append(time.perf_counter() - start)
    return round(1000 * min(seconds) / len(pixels), 2)
