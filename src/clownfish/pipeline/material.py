"""From where the photos lie to what is known of them: found, corrected, read, looked at and grouped."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from clownfish.backbones import load_backbone
from clownfish.compute import Helpers
from clownfish.config import TrainConfig
from clownfish.errors import PhotosError
from clownfish.features.cache import FeatureCache, find_cache_folder
from clownfish.features.extract import extract_features, extract_views, keep_rows
from clownfish.features.pictures import load_pictures
from clownfish.images import AUGMENTED_VIEWS, Preprocessing
from clownfish.photos.catalog import PhotosOptions, build_catalog
from clownfish.photos.corrections import (
    Correction,
    apply_corrections,
    explain_new_labels,
    note_corrections,
    read_corrections,
)
from clownfish.photos.scan import Scan, scan_labelled_photos
from clownfish.progress import Progress
from clownfish.records import Backbone, Catalog, Inspection, PhotoFile

MAX_KEPT = 300
"""Photos up to which what the network is shown stays in memory, 150 kB each, to be shown upside down later."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Photos that were found, before anybody looked inside."""

    scan: Scan
    """With the labels that a person has corrected."""
    corrections: tuple[Correction, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What the network made of every photo that can be read."""

    inspections: list[Inspection]
    """One a photo."""
    features: NDArray[np.float32]
    """Of the usable ones, shape (num_usable, num_features)."""
    backbone: Backbone
    preprocessing: Preprocessing
    cache: FeatureCache
    pixels: Mapping[str, NDArray[np.uint8]]
    """See `Material`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """What a run works on; rows are the used photos of the catalog, in its order."""

    scan: Scan
    catalog: Catalog
    features: NDArray[np.float32]
    """Shape (num_used, num_features), raw."""
    unknown_features: NDArray[np.float32]
    """Of the photos of other things, shape (num_unknown, num_features)."""
    backbone: Backbone
    preprocessing: Preprocessing
    cache: FeatureCache
    pixels: Mapping[str, NDArray[np.uint8]]
    """Of small sets, what the network was just shown of each photo, by content hash, shape (size, size, 3)."""

    @property
    def groups(self) -> NDArray[np.int64]:
        """Number of each photo's group, shape (num_used,)."""
        return np.unique(np.array(self.catalog.groups), return_inverse=True)[1].astype(np.int64)

    def keep(self, catalog: Catalog) -> Self:
        """Take the catalog's used photos only; the features are moved in place, and this one is of no more use.

        Args:
            catalog: the same photos, some of which may now be left out.

        Returns:
            The smaller material.
        """
        unknown_features = self.features[catalog.unknown_rows]
        features = keep_rows(self.features, catalog.feature_rows)
        return replace(self, catalog=catalog, features=features, unknown_features=unknown_features)

    def extract_views(self, helpers: Helpers, progress: Progress) -> NDArray[np.float32]:
        """Show the network mirrored and cropped views; shape (num_used, num_views, num_features)."""
        used = [self.catalog.photos[position] for position in self.catalog.used]
        files = [PhotoFile(file=photo.file, path=photo.path, label=photo.label) for photo in used]
        with progress.show_stage("Making views", len(files) * len(AUGMENTED_VIEWS)) as advance:
            return extract_views(
                files, self.features, self.backbone, self.preprocessing, self.cache, helpers=helpers, on_photo=advance
            )


def find_photos(options: PhotosOptions) -> Found:
    """Scan the photos and apply the corrections, if there are any.

    Args:
        options: the place, and the CSV of corrections.

    Returns:
        What was found.

    Raises:
        PhotosError: there are no photos to train on, or the corrections do not fit them.
    """
    scan = scan_labelled_photos(Path(options.place), photos_folder=Path(options.folder) if options.folder else None)
    if not options.corrections:
        return Found(scan=scan, corrections=())
    corrections = read_corrections(Path(options.corrections))
    photos = apply_corrections(scan.photos, corrections, options.corrections)
    return Found(scan=replace(scan, photos=photos), corrections=corrections)


def read_photos(found: Found, config: TrainConfig, progress: Progress, helpers: Helpers | None = None) -> Seen:
    """Decode every photo and show it to the network, unless the cache knows it.

    Args:
        found: the photos.
        config: which network.
        progress: shows how far the work has come.
        helpers: helper processes that are there already.

    Returns:
        Inspections and features.

    Raises:
        BackboneError: the pre-trained weights are missing or changed.
        MissingExtraError: the network needs an extra.
    """
    options = config.features
    backbone = load_backbone(
        options.backbone,
        feature_set=options.feature_set,
        weights=options.weights or None,
        cache_folder=find_cache_folder(),
    )
    preprocessing = Preprocessing(size=backbone.input_size, resize=options.resize)
    cache = FeatureCache()
    photos = found.scan.photos
    pixels: dict[str, NDArray[np.uint8]] = {}
    keep = pixels if len(photos) <= MAX_KEPT else None
    with progress.show_stage("Reading photos", len(photos)) as advance:
        inspections, features = extract_features(
            photos, backbone, preprocessing, cache, helpers=helpers, keep=keep, on_photo=advance
        )
    return Seen(
        inspections=inspections,
        features=features,
        backbone=backbone,
        preprocessing=preprocessing,
        cache=cache,
        pixels=pixels,
    )


def group_photos(
    found: Found, seen: Seen, options: PhotosOptions, *, choose: Callable[[Catalog], Catalog] = lambda catalog: catalog
) -> Material:
    """Find what belongs together, and keep what is used.

    Args:
        found: the photos.
        seen: what the network made of them.
        options: what the user knows of groups.
        choose: may leave further photos out.

    Returns:
        The material.

    Raises:
        PhotosError: what is left is too little to learn from.
        ConfigError: an option makes no sense.
    """
    try:
        catalog = build_catalog(
            found.scan.photos,
            seen.inspections,
            options,
            features=seen.features,
            load_pictures=lambda places: load_pictures(places, seen.cache),
        )
    except PhotosError as error:
        slips = explain_new_labels(found.scan.photos, found.corrections, options.corrections)
        raise PhotosError([*error.problems, *slips]) from error
    material = Material(
        scan=found.scan,
        catalog=catalog,
        features=seen.features,
        unknown_features=seen.features[:0],
        backbone=seen.backbone,
        preprocessing=seen.preprocessing,
        cache=seen.cache,
        pixels=seen.pixels,
    )
    return material.keep(choose(note_corrections(catalog, found.corrections)))
