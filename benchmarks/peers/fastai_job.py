"""The peer fastai: what its documentation teaches for a folder of photos, with the backbone frozen.

Every epoch decodes every photo and runs the backbone again. Two variants: "default" leaves fastai's
`train_bn=True`, by which freezing still trains the backbone's batch normalisation; "frozen" trains
the head alone.
"""

import json
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from backbone import (
    BATCH_SIZE,
    IMAGE_SIZE,
    PIXEL_DEVIATION,
    PIXEL_MEAN,
    Job,
    find_photos,
    load_state_dict,
    read_job,
    split_photos,
)
from fastai.callback.training import BnFreeze  # type: ignore[import-not-found,unused-ignore]
from fastai.vision.all import (  # type: ignore[import-not-found,unused-ignore]
    ImageDataLoaders,
    Normalize,
    Resize,
    ResizeMethod,
    accuracy,
    set_seed,
    vision_learner,
)


def main() -> None:
    """Train, test, and print one line of JSON."""
    job = read_job(("default", "frozen"))
    set_seed(job.seed)
    photos = find_photos(job.photos)
    train, validation, test = split_photos(photos, job.seed)
    learner = make_learner(job, train + validation, len(validation) / len(train + validation))
    with learner.no_bar(), learner.no_logging():
        if job.epochs:
            learner.fit_one_cycle(job.epochs)
        loader = learner.dls.test_dl(test, with_labels=True)
        probabilities, labels = learner.get_preds(dl=loader)
    report = {
        "accuracy": float(accuracy(probabilities, labels)),
        "num_test": len(test),
        "versions": {name: version(name) for name in ("fastai", "torch", "timm")},
    }
    print(json.dumps(report))


def make_learner(job: Job, photos: list[Path], validation_share: float) -> Any:
    """Make fastai's learner; `vision_learner` would fetch the weights from the net, so they are put in afterwards."""
    loaders = ImageDataLoaders.from_path_func(
        job.photos,
        photos,
        partial(get_label, root=job.photos),
        valid_pct=validation_share,
        seed=job.seed,
        item_tfms=Resize(IMAGE_SIZE, method=ResizeMethod.Squish),
        batch_tfms=Normalize.from_stats(PIXEL_MEAN, PIXEL_DEVIATION),
        bs=BATCH_SIZE,
    )
    frozen = job.variant == "frozen"
    callbacks = [BnFreeze] if frozen else []
    learner = vision_learner(
        loaders, "tf_efficientnet_lite0", pretrained=False, metrics=accuracy, train_bn=not frozen, cbs=callbacks
    )
    load_body(learner.model[0].model)
    learner.freeze()
    return learner


def load_body(body: Any) -> None:
    """Put the weights into the body, from which fastai has cut the last layer."""
    import timm  # type: ignore[import-not-found,unused-ignore]

    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    load_state_dict(whole)
    tensors = whole.state_dict()
    body.load_state_dict({name: tensors[name] for name in body.state_dict()})


def get_label(path: Path, root: Path) -> str:
    """The class is the name of the first folder."""
    return path.relative_to(root).parts[0]


if __name__ == "__main__":
    main()
