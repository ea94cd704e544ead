"""What a report shows, as a file beside it: `clownfish report` renders the page again from it, without the photos."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from clownfish.records import EpochRow
from clownfish.report.content import ReportContent, ReportMap, ReportPair, ReportPhoto

STORE_SCHEMA = 1
_PHOTO_LISTS = ("test_photos", "wrong_photos", "example_photos", "suspicious_photos")
_PLAIN = ("name", "created", "best_epoch", "messages", "options", "model", "min_groups", "min_groups_of_class")
_PHOTO_FACTS = ("file", "label", "predicted", "probability", "correct")


def write_content(content: ReportContent) -> str:
    """Write everything that a report says but the metrics, which have a file of their own.

    Args:
        content: of the report.

    Returns:
        JSON; each small picture is in it once, as Base64.
    """
    album: dict[bytes, int] = {}

    def note(photo: ReportPhoto) -> dict[str, Any]:
        picture = album.setdefault(photo.preview, len(album))
        return {**{name: getattr(photo, name) for name in _PHOTO_FACTS}, "picture": picture}

    def note_all(photos: Sequence[ReportPhoto]) -> list[dict[str, Any]]:
        return [note(photo) for photo in photos]

    stored = {
        "schema": STORE_SCHEMA,
        **{name: getattr(content, name) for name in _PLAIN},
        "history": [{field.name: getattr(row, field.name) for field in fields(row)} for row in content.history],
        "unusable": [list(row) for row in content.unusable],
        **{name: note_all(getattr(content, name)) for name in _PHOTO_LISTS},
        "shortcut_photos": note_all(list(content.shortcut_photos.values())),
        "pairs": [
            {
                "first": pair.first,
                "second": pair.second,
                "first_photos": note_all(pair.first_photos),
                "second_photos": note_all(pair.second_photos),
                "confused_photos": note_all(pair.confused_photos),
            }
            for pair in content.pairs
        ],
    }
    stored["maps"] = [
        {
            "photo": note(place.photo),
            "rival": place.rival,
            "picture": album.setdefault(place.picture, len(album)),
            "placed": place.placed,
            "unplaced": place.unplaced,
        }
        for place in content.maps
    ]
    stored["messages"] = list(content.messages)
    stored["pictures"] = [base64.b64encode(preview).decode("ascii") for preview in album]
    return json.dumps(stored, ensure_ascii=False, separators=(",", ":")) + "\n"


def read_content(stored: Mapping[str, Any], metrics: Mapping[str, Any]) -> ReportContent:
    """Read what `write_content` has written.

    Args:
        stored: the parsed JSON.
        metrics: of the run, as in metrics.json.

    Returns:
        The content of the report.

    Raises:
        KeyError: something is missing.
        ValueError: something is of another kind than it should be.
    """
    pictures = [base64.b64decode(picture, validate=True) for picture in stored["pictures"]]

    def take(row: Mapping[str, Any]) -> ReportPhoto:
        return ReportPhoto(preview=pictures[row["picture"]], **{name: row[name] for name in _PHOTO_FACTS})

    def take_all(rows: Sequence[Mapping[str, Any]]) -> list[ReportPhoto]:
        return [take(row) for row in rows]

    return ReportContent(
        metrics=metrics,
        history=[EpochRow(**row) for row in stored["history"]],
        unusable=[(file, note) for file, note in stored["unusable"]],
        pairs=[
            ReportPair(
                first=pair["first"],
                second=pair["second"],
                first_photos=take_all(pair["first_photos"]),
                second_photos=take_all(pair["second_photos"]),
                confused_photos=take_all(pair["confused_photos"]),
            )
            for pair in stored["pairs"]
        ],
        maps=[
            ReportMap(
                photo=take(place["photo"]),
                rival=place["rival"],
                picture=pictures[place["picture"]],
                placed=place["placed"],
                unplaced=place["unplaced"],
            )
            for place in stored["maps"]
        ],
        shortcut_photos={photo.file: photo for photo in take_all(stored["shortcut_photos"])},
        **{name: stored[name] for name in _PLAIN} | {name: take_all(stored[name]) for name in _PHOTO_LISTS},
    )
