import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clownfish.errors import ConfigError, PhotosError
from clownfish.photos.catalog import PhotosOptions, build_catalog, leave_out
from clownfish.records import Catalog, Inspection, PhotoFile


def make_files(*names: str) -> list[PhotoFile]:
    """Files called "label/number", with a column that tells even from odd."""
    return [
        PhotoFile(
            file=f"{name}.png",
            path=f"/photos/{name}.png",
            label=name.split("/")[0],
            columns={"parity": str(int(name.split("/")[1]) % 2)},
        )
        for name in names
    ]


def inspect(content: str, *, note: str = "") -> Inspection:
    """What is known of a photo that holds "content"; equal contents are equal pictures."""
    content_hash = hashlib.sha256(content.encode()).hexdigest()
    random = np.random.default_rng(int(content_hash[:8], 16))
    return Inspection(
        content_hash=content_hash,
        pixel_hash=content_hash[::-1],
        width=40,
        height=30,
        usable=True,
        note=note,
        thumbnail=random.integers(0, 256, (32, 32), dtype=np.uint8),
    )


def ruin(note: str = "damaged: torn") -> Inspection:
    return Inspection(content_hash="0" * 64, note=note)


NAMES = [f"{label}/{number}" for label in ("ant", "bee", "wasp") for number in range(4)]


def build(changes: dict[str, Inspection] | None = None, **options: object) -> Catalog:
    """A catalog of three classes with four photos each, some of them changed."""
    inspections = {name: inspect(name) for name in NAMES} | (changes or {})
    return build_catalog(make_files(*NAMES), list(inspections.values()), PhotosOptions(place="here", **options))  # type: ignore[arg-type]


def test_ordinary_photos_are_all_used() -> None:
    catalog = build()
    assert catalog.classes == ("ant", "bee", "wasp")
    assert catalog.used.tolist() == catalog.feature_rows.tolist() == list(range(12))
    assert catalog.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert catalog.label_names == [name.split("/")[0] for name in NAMES]
    assert len(set(catalog.groups)) == 12
    assert catalog.notes == () and catalog.num_label_conflicts == 0
    assert {(photo.status, photo.note, photo.width, photo.height) for photo in catalog.photos} == {("used", "", 40, 30)}


def test_unusable_photo_keeps_its_row() -> None:
    catalog = build({"bee/1": ruin()})
    photo = catalog.photos[5]
    assert (photo.status, photo.note, photo.group, photo.width) == ("unusable", "damaged: torn", "", 0)
    assert catalog.used.tolist() == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert catalog.feature_rows.tolist() == list(range(11))


def test_copy_is_used_and_stays_with_its_original() -> None:
    catalog = build({"ant/3": inspect("ant/1", note="transparency put on white")})
    copy, original = catalog.photos[3], catalog.photos[1]
    assert copy.status == "used" and copy.group == original.group
    assert copy.note == "transparency put on white; copy of ant/1.png"
    assert original.note == ""
    assert catalog.notes == ("1 photo is a copy of others; copies stay together.",)


def test_one_picture_with_two_labels_is_used_under_neither() -> None:
    catalog = build({"bee/0": inspect("ant/0")})
    assert [catalog.photos[position].status for position in (0, 4)] == ["left out", "left out"]
    assert catalog.photos[0].note == "label conflict: the same picture as bee/0.png (bee)"
    assert catalog.photos[4].note == "copy of ant/0.png; label conflict: the same picture as ant/0.png (ant)"
    assert catalog.num_label_conflicts == 1
    assert (
        catalog.notes[0] == "Label conflict: ant/0.png (ant) and bee/0.png (bee) are the same picture; neither is used."
    )
    assert catalog.feature_rows.tolist() == catalog.used.tolist() == [1, 2, 3, 5, 6, 7, 8, 9, 10, 11]


def test_look_alikes_with_two_labels_are_used() -> None:
    original = inspect("ant/0")
    assert original.thumbnail is not None
    alike = Inspection(
        content_hash="1" * 64,
        pixel_hash="2" * 64,
        width=40,
        height=30,
        usable=True,
        thumbnail=np.clip(original.thumbnail.astype(int) + 1, 0, 255).astype(np.uint8),
    )
    catalog = build({"bee/0": alike})
    assert len(catalog.used) == 12
    assert catalog.groups[0] == catalog.groups[4]
    assert catalog.num_label_conflicts == 1
    assert catalog.notes[0] == "Label conflict: ant/0.png (ant) and bee/0.png (bee) look like copies; both are used."


def test_many_conflicts_are_summarised() -> None:
    names = [f"{label}/{number}" for label in ("ant", "bee") for number in range(12)]
    inspections = [inspect(name.split("/")[1] if int(name.split("/")[1]) < 8 else name) for name in names]
    catalog = build_catalog(make_files(*names), inspections, PhotosOptions(place="here"))
    assert catalog.num_label_conflicts == 8
    assert len(catalog.used) == 8
    assert [note.startswith("Label conflict: ") for note in catalog.notes] == [True] * 5 + [False] * 2
    assert catalog.notes[5] == "3 more label conflicts are in photos.csv."


def test_conflicts_may_make_a_class_too_small() -> None:
    with pytest.raises(PhotosError) as error:
        build({"bee/0": inspect("ant/0"), "bee/1": inspect("ant/1")})
    assert [problem[:41] for problem in error.value.problems] == [
        "The class 'ant' has 2 usable photos; at l",
        "The class 'bee' has 2 usable photos; at l",
    ]


def test_small_classes_are_left_out_on_request() -> None:
    catalog = build({"bee/0": ruin(), "bee/1": ruin()}, min_photos=3)
    assert catalog.classes == ("ant", "wasp")
    assert catalog.photos[6].status == "left out"
    assert catalog.photos[6].note == "its class has fewer than 3 usable photos"
    assert catalog.notes == ("Left out, with fewer than 3 usable photos: bee.",)


def test_class_without_any_usable_photo_is_left_out_on_request() -> None:
    ruined = {f"bee/{number}": ruin() for number in range(4)}
    assert build(ruined, min_photos=3).classes == ("ant", "wasp")
    with pytest.raises(PhotosError) as error:
        build(ruined)
    assert str(error.value) == (
        "None of the 4 photos of the class 'bee' can be used (bee/0.png: damaged: torn; bee/1.png: damaged: torn;"
        " bee/2.png: damaged: torn)."
        " Mend or replace them, or leave small classes out with --min-photos 3."
    )


def test_one_class_that_is_left_is_too_few() -> None:
    with pytest.raises(PhotosError, match="All 4 photos in here are of one class, 'ant'"):
        build({f"{label}/{number}": ruin() for label in ("bee", "wasp") for number in (0, 1)}, min_photos=3)


def test_no_class_that_is_left_is_explained() -> None:
    with pytest.raises(PhotosError) as error:
        build(min_photos=5)
    assert str(error.value) == (
        "No class in here has 5 usable photos; the largest has 4. Ask for fewer with --min-photos."
    )


def test_many_small_classes_are_summarised() -> None:
    names = NAMES + [f"tiny {letter}/0" for letter in "abcdefg"]
    catalog = build_catalog(
        make_files(*names), [inspect(name) for name in names], PhotosOptions(place="here", min_photos=3)
    )
    assert catalog.notes == (
        "Left out, with fewer than 3 usable photos: tiny a, tiny b, tiny c, tiny d, tiny e and more.",
    )


def test_photos_that_are_all_unusable_are_explained() -> None:
    with pytest.raises(PhotosError) as error:
        build({name: ruin("the file is empty (0 bytes)" if name.startswith("ant") else "no photo") for name in NAMES})
    assert str(error.value) == (
        "None of the 12 photos in here can be used: no photo (8); the file is empty (0 bytes) (4)."
    )


def test_groups_of_the_user_are_kept() -> None:
    catalog = build({"bee/0": ruin()}, group_by="parity")
    assert [photo.group for photo in catalog.photos[:6]] == [
        *("parity=0", "parity=1", "parity=0", "parity=1", "", "parity=1"),
    ]


def test_unknown_groups_of_the_user_are_refused() -> None:
    with pytest.raises(PhotosError, match=r"--group-by site: there is no such column; its columns are parity\."):
        build(group_by="site")
    with pytest.raises(ConfigError, match="is not a regular expression"):
        build(group_regex="(")


def test_photos_can_be_left_out_later() -> None:
    catalog = build({"ant/0": ruin(), "ant/3": inspect("ant/1")})
    rows = np.array(
        [photo.file in ("ant/3.png", "wasp/3.png") for photo in map(catalog.photos.__getitem__, catalog.used)]
    )
    smaller = leave_out(catalog, rows, "not today")
    assert smaller.photos[3].status == smaller.photos[11].status == "left out"
    assert smaller.photos[3].note == "copy of ant/1.png; not today"
    assert smaller.photos[11].note == "not today"
    assert smaller.used.tolist() == [1, 2, 4, 5, 6, 7, 8, 9, 10]
    assert smaller.feature_rows.tolist() == [0, 1, 3, 4, 5, 6, 7, 8, 9]
    assert smaller.labels.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert catalog.photos[11].status == "used"


@pytest.mark.parametrize("min_photos", [-1, 1, 2])
def test_limit_below_what_a_split_needs_is_refused(min_photos: int) -> None:
    with pytest.raises(
        ConfigError, match=rf"min_photos is {min_photos}; it must be at least 3 \(or 0 for no limit\)\."
    ):
        PhotosOptions(min_photos=min_photos)


@given(st.lists(st.sampled_from(["fine", "broken", "same"]), min_size=12, max_size=12))
def test_every_photo_is_used_or_says_why_not(fates: list[str]) -> None:
    changes = {
        name: {"fine": inspect(name), "broken": ruin(), "same": inspect("same")}[fate]
        for name, fate in zip(NAMES, fates, strict=True)
    }
    try:
        catalog = build(changes)
    except PhotosError as error:
        assert error.problems
        return
    assert len(catalog.photos) == 12
    used = set(catalog.used.tolist())
    for position, photo in enumerate(catalog.photos):
        assert (photo.status == "used") is (position in used)
        assert photo.status == "used" or photo.note
        assert (photo.group == "") is (photo.status == "unusable")
    assert [catalog.classes[label] for label in catalog.labels] == catalog.label_names
    usable = [position for position, fate in enumerate(fates) if fate != "broken"]
    assert [usable[row] for row in catalog.feature_rows] == catalog.used.tolist()


def test_reasons_links_and_inspections_line_up_with_photos() -> None:
    catalog = build({"ant/0": ruin(), "bee/1": inspect("bee/0")})
    reasons = {photo.file: photo.group_reason for photo in catalog.photos if photo.group_reason}
    assert reasons == {"bee/0.png": "same bytes as bee/1.png", "bee/1.png": "same bytes as bee/0.png"}
    assert [(link.first, link.second, link.kind) for link in catalog.links if link.kind == "bytes"] == [(4, 5, "bytes")]
    assert catalog.reason_counts == {"bytes": 1}
    assert [inspection.content_hash for inspection in catalog.used_inspections] == [
        catalog.photos[position].content_hash for position in catalog.used
    ]


def test_group_of_a_fifth_of_the_photos_is_told() -> None:
    moments = {
        name: replace(inspect(name), camera="Trap 7", taken=f"2024-05-01T10:00:{number:02}")
        for number, name in enumerate(NAMES[:3])
    }
    (sentence, warning) = build(moments).notes
    assert sentence == "Photos that stay together with another: 2 were taken within a minute by one camera."
    assert warning == (
        "One group holds 3 of the 12 photos (25 %), which leaves little to test on; one of its links is: taken 1 s"
        " before ant/1.png by the same camera. If that is no reason to keep photos together, mend the names, times or"
        " columns."
    )


def test_marks_in_names_are_kept_for_audits() -> None:
    files = make_files(*NAMES)
    files[0] = replace(files[0], file="ant/vertical-flip_0.png")
    catalog = build_catalog(files, [inspect(name) for name in NAMES], PhotosOptions(place="here"))
    assert [photo.name_mark for photo in catalog.photos[:2]] == ["vertical-flip", ""]


def test_other_things_are_kept_apart_from_the_classes() -> None:
    names = [*NAMES, "_unknown/0", "_unknown/1", "_unknown/2"]
    contents = [*NAMES, "a leaf", "a stone", "ant/2"]
    catalog = build_catalog(
        make_files(*names), [inspect(content) for content in contents], PhotosOptions(place="here", min_photos=3)
    )
    assert catalog.classes == ("ant", "bee", "wasp")
    assert catalog.unknown.tolist() == catalog.unknown_rows.tolist() == [12, 13]
    photo = catalog.photos[12]
    assert (photo.status, photo.label) == ("left out", "_unknown")
    assert photo.note == "something else: checks what is unlike the classes, and is never trained on"
    assert catalog.used.tolist() == [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11]  # the same picture cannot be both
    assert catalog.num_label_conflicts == 1


def test_other_things_that_are_all_broken_are_no_problem() -> None:
    names = [*NAMES, "_unknown/0"]
    inspections = [*(inspect(name) for name in NAMES), ruin()]
    catalog = build_catalog(make_files(*names), inspections, PhotosOptions(place="here"))
    assert len(catalog.unknown) == 0
    assert catalog.photos[12].status == "unusable"
