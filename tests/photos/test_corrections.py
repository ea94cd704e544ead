from pathlib import Path

import pytest

from clownfish.errors import PhotosError
from clownfish.photos.corrections import Correction, apply_corrections, explain_new_labels, read_corrections
from clownfish.records import PhotoFile

PHOTOS = tuple(PhotoFile(file=f"{label}/{number}.jpg", path="", label=label) for label in "ab" for number in range(3))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def correct(file: str, old: str, new: str) -> Correction:
    return Correction(file=file, old=old, new=new, reason="")


def test_corrections_are_read_with_or_without_reasons(tmp_path: Path) -> None:
    table = write(tmp_path / "c.csv", "file,old,new,reason\na/0.jpg,a,b,seen\na/1.jpg,a,-,blurred\nb/0.jpg,b,,\n\n")
    first, second, third = read_corrections(table)
    assert (first.new, first.describe()) == ("b", "label corrected, was a (seen)")
    assert (second.new, second.describe()) == ("", "left out by the corrections (blurred)")
    assert (third.new, third.describe()) == ("", "left out by the corrections")
    assert read_corrections(write(tmp_path / "d.csv", "File;old;new\n'=x.jpg;a;b\n"))[0].file == "=x.jpg"


def test_spaces_around_the_name_of_a_folder_do_not_matter() -> None:
    photos = [PhotoFile(file=f"{label}/0.jpg", path="", label=label) for label in ("ant ", "bee")]
    corrections = [correct("ant /0.jpg", "ant", "bee"), correct("bee/0.jpg", "bee", "ant")]
    assert [photo.label for photo in apply_corrections(photos, corrections, "c.csv")] == ["bee", "ant "]


def test_dashes_of_spreadsheets_leave_a_photo_out(tmp_path: Path) -> None:
    table = write(tmp_path / "c.csv", "file,old,new\na/0.jpg,a,\u2013\na/1.jpg,a,\u2014\n")
    assert [correction.new for correction in read_corrections(table)] == ["", ""]


def test_label_that_is_right_is_no_change() -> None:
    assert correct("a/0.jpg", "a", "a").describe() == "label confirmed by the corrections"
    assert apply_corrections(PHOTOS, [correct("a/0.jpg", "a", "a")], "c.csv") == PHOTOS


def test_two_spellings_of_one_file_are_told() -> None:
    twice = [correct("a/0.jpg", "a", "b"), correct("a\\0.jpg", "a", "")]
    with pytest.raises(PhotosError, match=r"c\.csv names the file a/0\.jpg twice, in two spellings\. Keep one row\."):
        apply_corrections(PHOTOS, twice, "c.csv")


def test_labels_change_and_photos_are_left_out() -> None:
    photos = apply_corrections(PHOTOS, [correct("a/0.jpg", "a", "b"), correct("a\\1.jpg", "a", "")], "c.csv")
    assert [photo.label for photo in photos] == ["b", "a", "a", "b", "b", "b"]
    assert [bool(photo.refusal) for photo in photos] == [False, True, False, False, False, False]
    assert apply_corrections(PHOTOS, [], "c.csv") == PHOTOS


def test_every_correction_that_does_not_fit_is_named() -> None:
    wrong = [correct("a/7.jpg", "a", "b"), correct("b/0.jpg", "a", "b"), correct("b/1.jpg", "b", "A")]
    with pytest.raises(PhotosError) as caught:
        apply_corrections(PHOTOS, wrong, "c.csv")
    first, second, third = caught.value.problems
    assert first.startswith("c.csv corrects 'a/7.jpg', but there is no such photo. Did you mean a/")
    assert second == (
        "c.csv says that b/0.jpg is labelled 'a', but it is labelled 'b'. Was it corrected already? Remove or mend the"
        " row."
    )
    assert third.startswith("The labels 'A' and 'a' differ only by upper case")


def test_label_that_only_a_correction_gives_is_told_with_its_file() -> None:
    photos = [
        PhotoFile(file=f"{label}/{number}.jpg", path="", label=label) for label in ("bee", "ant") for number in "01"
    ]
    corrections = [correct("bee\\0.jpg", "bee", "ants"), correct("bee/1.jpg", "bee", "zebra")]
    found = explain_new_labels(apply_corrections(photos, corrections, "c.csv"), corrections, "c.csv")
    assert found == [
        "c.csv gives bee/0.jpg the label 'ants', which no other photo has. Did you mean 'ant'? "
        'Mend the column "new".',
        "c.csv gives bee/1.jpg the label 'zebra', which no other photo has. Mend the column \"new\".",
    ]


@pytest.mark.parametrize("new", ["ant", "_unknown", ""])
def test_label_that_is_known_is_no_slip(new: str) -> None:
    photos = [PhotoFile(file=f"{label}/0.jpg", path="", label=label) for label in ("bee", "ant ")]
    corrections = [correct("bee/0.jpg", "bee", new), correct("ant /0.jpg", "ant", "ant")]
    assert explain_new_labels(apply_corrections(photos, corrections, "c.csv"), corrections, "c.csv") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,old\na,b\n", "have no column 'new'. Needed is a first line: file,old,new,reason"),
        ("", "have no column 'file' and no column 'old' and no column 'new'"),
        ("file,old,new\nx,a,b\nx,a,c\n", "name a file twice: x. Keep one row of each."),
        ('file,old,new\n"x,a,b\n', "cannot be read near line"),
        ("file,old,new,NEW\nx,a,b,c\n", "have several columns 'new'. Keep one of each."),
        ("\0", r"c\.csv is no CSV\. Give a CSV with the columns file,old,new,reason\."),
    ],
)
def test_table_that_is_no_table_of_corrections_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PhotosError, match=message):
        read_corrections(write(tmp_path / "c.csv", text))


def test_folder_is_no_table_of_corrections(tmp_path: Path) -> None:
    with pytest.raises(PhotosError, match=r"is no CSV\. Give a CSV with the columns file,old,new,reason\."):
        read_corrections(tmp_path)


def test_table_that_is_absent_is_said(tmp_path: Path) -> None:
    with pytest.raises(PhotosError, match=r"There is no file .*none.csv with corrections"):
        read_corrections(tmp_path / "none.csv")
    with pytest.raises(PhotosError, match=r"The file .* cannot be read: .*too long\."):
        read_corrections(tmp_path / ("x" * 300))
