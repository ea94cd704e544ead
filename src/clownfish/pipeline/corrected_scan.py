"""Find the photos, with the labels that a person has corrected."""

from dataclasses import replace
from pathlib import Path

from clownfish.photos.catalog import PhotosOptions
from clownfish.photos.corrections import Correction, apply_corrections, read_corrections
from clownfish.photos.scan import Scan, scan_labelled_photos


def scan_corrected(options: PhotosOptions) -> tuple[Scan, tuple[Correction, ...]]:
    """Scan the photos and apply the corrections, if there are any.

    Args:
        options: the place, and the CSV of corrections.

    Returns:
        What was found, with the new labels, and the corrections.

    Raises:
        PhotosError: there are no photos to train on, or the corrections do not fit them.
    """
    scan = scan_labelled_photos(Path(options.place), photos_folder=Path(options.folder) if options.folder else None)
    if not options.corrections:
        return scan, ()
    corrections = read_corrections(Path(options.corrections))
    return replace(scan, photos=apply_corrections(scan.photos, corrections, options.corrections)), corrections
