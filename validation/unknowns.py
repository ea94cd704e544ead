"""Are known photos taken for unknown as rarely as promised, and how many unknown ones are caught?

python -m validation.unknowns PHOTOS [--groups CSV --group-column X] [--draws 20] [--num-per-class 20 50]
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clownfish.answers.rules import STATUSES
from clownfish.backbones import load_backbone
from clownfish.evaluation.grouping import weigh_by_group
from clownfish.evaluation.hidden_classes import compute_auroc
from clownfish.features.extract import make_session
from clownfish.images import Preprocessing, prepare_image
from validation.common import PhotoSet, draw_training, load_photo_set, parse_arguments, print_table
from validation.far_pictures import draw_far_pictures

UNLIKE = STATUSES[2]


def measure(photos: PhotoSet, far: NDArray[np.float32], num_per_class: int, seed: int) -> dict[str, float]:
    """A class is hidden in turn; it is the unknown species of this draw."""
    hidden = seed % len(photos.classes)
    known = np.flatnonzero(photos.labels != hidden)
    reduced = replace(
        photos,
        classes=tuple(name for number, name in enumerate(photos.classes) if number != hidden),
        features=photos.features[known],
        labels=photos.labels[known] - (photos.labels[known] > hidden),
        groups=photos.groups[known],
    )
    # of two classes none can be hidden
    used = reduced if len(photos.classes) > 2 else photos
    drawing = draw_training(used, num_per_class, seed=seed)
    novelty = drawing.answers.rules.novelty
    assert novelty is not None
    weights = weigh_by_group(used.groups[drawing.rest])

    def score(features: NDArray[np.float32]) -> NDArray[np.float64]:
        probabilities = drawing.answers.head.predict_probabilities(features)
        return novelty.measure(probabilities, drawing.answers.embedding.apply(features))

    of_known = novelty.measure(drawing.probabilities, drawing.embeddings)
    of_hidden, of_far = score(photos.features[photos.labels == hidden]), score(far)
    certainty = drawing.answers.head.predict_probabilities(photos.features[photos.labels == hidden]).max(axis=1)
    return {
        "can_tell": float(np.isfinite(novelty.threshold)),
        "rejected": float(np.average(of_known > novelty.threshold, weights=weights)),
        "promised": 0.05,
        "caught": float((of_hidden > novelty.threshold).mean()),
        "auroc": compute_auroc(of_known, of_hidden),
        "auroc_certainty": compute_auroc(-drawing.probabilities.max(axis=1), -certainty),
        "far_caught": float((of_far > novelty.threshold).mean()),
        "far_auroc": compute_auroc(of_known, of_far),
    }


def main() -> None:
    options = parse_arguments(__doc__ or "")
    photos = load_photo_set(options.photos, groups=options.groups, group_column=options.group_column)
    backbone = load_backbone()
    session, preprocessing = make_session(backbone.onnx), Preprocessing(size=backbone.input_size)
    pictures = [prepare_image(picture, preprocessing)[None] for picture in draw_far_pictures()]
    far = np.concatenate([session.run(["features"], {"image": picture})[0] for picture in pictures])
    for num_per_class in options.num_per_class:
        draws = [measure(photos, far, num_per_class, options.seed + draw) for draw in range(options.draws)]
        mean = {name: float(np.mean([draw[name] for draw in draws])) for name in draws[0]}
        spread = float(np.std([draw["rejected"] for draw in draws]))
        print_table(
            f"{photos.name}, {num_per_class} photos a class, {options.draws} draws, each with one class hidden",
            [
                ("draws with enough groups", f"{mean['can_tell']:.0%}", ""),
                ("known photos rejected", f"{mean['rejected']:.1%} (sd of a draw {spread:.1%})", "5 % +- 1.5"),
                ("hidden species caught", f"{mean['caught']:.0%}", ""),
                (
                    "AUROC, hidden species",
                    f"{mean['auroc']:.3f} (certainty alone {mean['auroc_certainty']:.3f})",
                    "within 1 point of the best",
                ),
                ("far things caught", f"{mean['far_caught']:.1%}", "nearly all"),
                ("AUROC, far things", f"{mean['far_auroc']:.3f}", ">= 0.97"),
            ],
        )


if __name__ == "__main__":
    main()
