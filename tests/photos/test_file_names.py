import pytest

from clownfish.photos.file_names import find_marked_copies, strip_marks
from clownfish.records import PhotoFile


def pair(*files: str, label: str = "cat") -> list[tuple[str, str]]:
    photos = [PhotoFile(file=file, path=f"/photos/{file}", label=label) for file in files]
    return [(files[first], files[second]) for first, second in find_marked_copies(photos)]


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("x7_aug3", "x7"),
        ("x7_copy", "x7"),
        ("x7 - Copy", "x7"),
        ("x7 - Copy (2)", "x7"),
        ("x7 (1)", "x7"),
        ("x7(1)", "x7"),
        ("x7_flip", "x7"),
        ("x7_flipped", "x7"),
        ("x7_hflip_rot90", "x7"),
        ("x7_rotated-180", "x7"),
        ("vertical-flip_X7-HERO", "x7-hero"),
        ("horizontal-flip_x7", "x7"),
        ("x7_mirror", "x7"),
        ("Copy of x7", "x7"),
        ("x7_brightness12", "x7"),
        ("x7_jpg.rf.0123456789abcdef0123456789abcdef", "x7"),
        ("img_1", "img_1"),
        ("august_01", "august_01"),
        ("mirrorfish-3", "mirrorfish-3"),
        ("grey_seal_1", "grey_seal_1"),
        ("flip", "flip"),
        ("copy1", "copy1"),
    ],
)
def test_marks_are_taken_off_and_nothing_else(name: str, stem: str) -> None:
    assert strip_marks(f"cat/{name}.jpg").stem == stem


def test_marks_are_named() -> None:
    assert strip_marks("bass/vertical-flip_x7.jpg").marks == "vertical-flip"
    assert strip_marks("bass/x7_aug3_mirror.jpg").marks == "mirror aug3"
    assert strip_marks("bass/x7.jpg").marks == ""


def test_marked_copy_is_paired_with_its_original() -> None:
    assert pair("cat/a.jpg", "cat/a_flip.jpg", "cat/b.jpg") == [("cat/a.jpg", "cat/a_flip.jpg")]
    assert pair("cat/a - Copy.png", "cat/a.jpg") == [("cat/a.jpg", "cat/a - Copy.png")]


def test_several_versions_without_their_original_are_paired() -> None:
    assert pair("cat/a1_aug0.jpg", "cat/a1_aug1.jpg") == [("cat/a1_aug0.jpg", "cat/a1_aug1.jpg")]


@pytest.mark.parametrize(
    "files",
    [
        ("cat/img_1.jpg", "cat/img_2.jpg"),  # bare numbers
        ("cat/a_flip.jpg", "cat/b.jpg"),  # one marked name alone
        ("cat/trout (1).jpg", "cat/trout (2).jpg", "cat/trout (3).jpg"),  # renamed by Windows
        ("cat/image.jpg", *(f"cat/image ({number}).jpg" for number in range(1, 9))),  # different pictures of one name
        tuple(f"cat/cat_aug{number}.jpg" for number in range(9)),  # a running number behind the name of the class
        tuple(f"cat/set1_aug{number}.jpg" for number in range(40)),
        ("cat/day1/IMG_0001.jpg", "cat/day2/IMG_0001_copy.jpg"),  # cameras begin anew in every folder
        ("cat/a.jpg", "cat/a.png"),
    ],
)
def test_names_that_are_no_evidence_pair_nothing(files: tuple[str, ...]) -> None:
    assert pair(*files) == []


def test_same_name_in_another_class_is_no_evidence() -> None:
    photos = [
        PhotoFile(file="all/a.jpg", path="", label="cat"),
        PhotoFile(file="all/a_copy.jpg", path="", label="dog"),
    ]
    assert find_marked_copies(photos) == []
