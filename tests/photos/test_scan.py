import os
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clownfish.errors import PhotosError
from clownfish.photos.scan import Scan, is_single_photo, scan_labelled_photos, scan_photos

needs_posix = pytest.mark.skipif(os.name != "posix", reason="file names and links of POSIX")


def touch(root: Path, *files: str) -> Path:
    """Files that look like photos from outside, which is all that scanning does."""
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def list_files(scan: Scan) -> list[str]:
    return [photo.file for photo in scan.photos]


def read_problems(place: Path, **options: Any) -> tuple[str, ...]:
    with pytest.raises(PhotosError) as caught:
        scan_labelled_photos(place, **options)
    return caught.value.problems


# --- folders -------------------------------------------------------------------------------------


def test_folders_are_classes_and_order_is_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "dog/b.jpg", "dog/a.png", "cat/c.jpg", "ant/z.tif")
    scan = scan_labelled_photos(tmp_path)
    assert list_files(scan) == ["ant/z.tif", "cat/c.jpg", "dog/a.png", "dog/b.jpg"]
    assert [photo.label for photo in scan.photos] == ["ant", "cat", "dog", "dog"]
    assert all(Path(photo.path) == tmp_path / photo.file and not photo.refusal for photo in scan.photos)
    assert (scan.skipped, scan.loose_files, scan.empty_classes, scan.columns) == ({}, (), (), ())


def test_folders_inside_a_class_belong_to_it(tmp_path: Path) -> None:
    touch(tmp_path, "cat/day1/a.jpg", "cat/day2/deep/b.jpg", "dog/c.jpg")
    scan = scan_labelled_photos(tmp_path)
    assert [(photo.file, photo.label) for photo in scan.photos] == [
        ("cat/day1/a.jpg", "cat"),
        ("cat/day2/deep/b.jpg", "cat"),
        ("dog/c.jpg", "dog"),
    ]


@pytest.mark.parametrize("ending", ".jpg .JPG .Jpeg .jfif .PNG .tif .TIFF .webp .BMP .gif .HEIC .heif".split())
def test_photo_endings_are_known_in_any_case(tmp_path: Path, ending: str) -> None:
    touch(tmp_path, f"cat/a{ending}", f"dog/b{ending}")
    assert len(scan_labelled_photos(tmp_path).photos) == 2


def test_other_files_are_counted_by_ending(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.jpg", "dog/b.jpg", "cat/notes.TXT", "dog/list.txt", "dog/video.mp4", "README")
    assert scan_labelled_photos(tmp_path).skipped == {".txt": 2, ".mp4": 1, "no ending": 1}


def test_files_of_the_system_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.jpg", "dog/b.jpg", ".hidden/c.jpg", "cat/.d.jpg", "cat/._a.jpg", "__MACOSX/cat/._a.jpg")
    touch(tmp_path, "cat/Thumbs.db", "dog/desktop.ini", ".DS_Store", "cat/.ipynb_checkpoints/a.jpg")
    scan = scan_labelled_photos(tmp_path)
    assert list_files(scan) == ["cat/a.jpg", "dog/b.jpg"]
    assert scan.skipped == {} and scan.empty_classes == () and scan.loose_files == ()


def test_photos_outside_of_classes_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.jpg", "dog/b.jpg", "loose.jpg", "another.png")
    assert scan_labelled_photos(tmp_path).loose_files == ("another.png", "loose.jpg")


NAMES = [
    "with space",
    "ünïcode",
    "日本語",
    "emoji 🐟",
    "quote'\"",
    "a,b;c",
    "%41&<b>",
    "=1+1",
    "-rf",
    "x" * 200,
    "new\nline",
]


@needs_posix
@pytest.mark.parametrize("name", NAMES)
def test_names_of_any_kind_are_kept(tmp_path: Path, name: str) -> None:
    touch(tmp_path, f"{name}/{name}.jpg", "other/b.jpg")
    scan = scan_labelled_photos(tmp_path)
    assert (f"{name}/{name}.jpg", name) in [(photo.file, photo.label) for photo in scan.photos]
    assert all(Path(photo.path).exists() for photo in scan.photos)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems allow text only")
def test_names_that_are_no_text_are_refused_as_labels(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.jpg")
    os.makedirs(os.fsencode(tmp_path) + b"/d\xffg")
    (tmp_path / os.fsdecode(b"d\xffg") / "b.jpg").touch()
    assert read_problems(tmp_path) == (r"The label 'd\udcffg' is not valid text (UTF-8). Give it another name.",)


def test_labels_that_are_probably_one_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.jpg", "dog/b.jpg", "CAT/c.jpg")
    if len(os.listdir(tmp_path)) < 3:
        pytest.skip("this disk does not tell upper from lower case")
    assert read_problems(tmp_path) == (
        "The labels 'CAT' and 'cat' differ only by upper case or spaces. Give them one name.",
    )


def test_labels_that_look_the_same_are_refused(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        touch(tmp_path, f"{unicodedata.normalize(form, 'Bräme')}/a.jpg")
    if len(os.listdir(tmp_path)) < 2:
        pytest.skip("this disk stores one form only")
    (problem,) = read_problems(tmp_path)
    assert problem.endswith(
        "differ only by how accented letters are stored (Unicode forms NFC and NFD). Give them one name."
    )


def test_place_that_does_not_exist_shows_what_does(tmp_path: Path) -> None:
    place = tmp_path / "fotos" / "2024"
    expected = f"There is no folder or file {place}. What exists is {tmp_path.resolve()}. Check the spelling."
    assert read_problems(place) == (expected,)
    with pytest.raises(PhotosError, match="There is no folder or file"):
        list(scan_photos(place))


def test_place_of_impossible_length_does_not_exist(tmp_path: Path) -> None:
    (problem,) = read_problems(tmp_path / ("x" * 5000))
    assert problem.startswith("There is no folder or file")


def test_empty_folder_is_told_the_endings(tmp_path: Path) -> None:
    (problem,) = read_problems(tmp_path)
    assert problem.startswith(
        f"There is no photo in {tmp_path} (found nothing). Photos end in .bmp, .dib, .gif, .heic,"
    )


def test_folder_without_photos_is_told_what_is_there(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.docx", "b/y.docx", "b/z.mp4")
    (problem,) = read_problems(tmp_path)
    assert problem.startswith(f"There is no photo in {tmp_path} (found only 2 .docx, 1 .mp4).")


def test_folder_of_loose_photos_needs_classes(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    assert read_problems(tmp_path) == (
        f"The 2 photos of {tmp_path} lie in no class (such as 'a.jpg'). Put them into one folder a class, inside it, or"
        " give a CSV with the columns file,label.",
    )


def test_folders_without_photos_are_no_classes(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.jpg", "dog/b.jpg", "eel/notes.txt")
    (tmp_path / "fox").mkdir()
    scan = scan_labelled_photos(tmp_path)
    assert scan.empty_classes == ("eel", "fox")
    assert {photo.label for photo in scan.photos} == {"cat", "dog"}


def test_loose_photos_are_accounted_for(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.jpg", "dog/b.jpg", "loose.jpg")
    loose = scan_labelled_photos(tmp_path).photos[-1]
    assert (loose.file, loose.label) == ("loose.jpg", "")
    assert loose.refusal == "it lies in no class folder; put it into one to use it"


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "val", "testing")])
def test_folders_of_a_split_are_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    touch(tmp_path, *(f"{name}/cat/{name}.jpg" for name in names))
    assert read_problems(tmp_path) == (
        f"The folders of {tmp_path} are {', '.join(sorted(names))}: parts of a split, not classes. Put all photos of a"
        " class into one folder (clownfish splits them itself), or give a CSV with the columns file,label,split and"
        " --split-column split.",
    )


def test_class_called_test_beside_others_is_fine(tmp_path: Path) -> None:
    touch(tmp_path, "test/a.jpg", "control/b.jpg")
    assert len(scan_labelled_photos(tmp_path).photos) == 2


def test_single_class_needs_a_second(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.jpg", "cat/b.jpg")
    assert read_problems(tmp_path) == (
        f"All 2 photos in {tmp_path} are of one class, 'cat'. A classifier needs at least two: put the photos of each"
        " class into a folder of its own, inside the folder you give.",
    )
    assert len(scan_labelled_photos(tmp_path, min_classes=1).photos) == 2


def test_folder_around_the_classes_is_pointed_out(tmp_path: Path) -> None:
    touch(tmp_path, "dataset/cat/a.jpg", "dataset/dog/b.jpg")
    problems = read_problems(tmp_path)
    assert problems[0] == (
        f"{tmp_path} holds only the folder 'dataset', which holds the classes. Give that folder instead:"
        f" {tmp_path / 'dataset'}"
    )


# --- links ---------------------------------------------------------------------------------------


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """Links of all kinds beside two good photos."""
    root = touch(tmp_path / "photos", "cat/a.jpg", "dog/b.jpg")
    touch(tmp_path / "elsewhere", "secret.jpg", "more/c.jpg")
    try:
        (root / "cat" / "inside.jpg").symlink_to(root / "dog" / "b.jpg")
    except OSError:
        pytest.skip("links need permission here")
    (root / "cat" / "outside.jpg").symlink_to(tmp_path / "elsewhere" / "secret.jpg")
    (root / "cat" / "outside.txt").symlink_to(tmp_path / "elsewhere" / "secret.jpg")
    (root / "cat" / "relative.jpg").symlink_to("../../elsewhere/secret.jpg")
    (root / "cat" / "broken.jpg").symlink_to(root / "gone.jpg")
    (root / "cat" / "loop.jpg").symlink_to(root / "cat" / "loop.jpg")
    (root / "cat" / "up").symlink_to(root, target_is_directory=True)
    (root / "cat" / "folder").symlink_to(tmp_path / "elsewhere" / "more", target_is_directory=True)
    return root


def test_links_are_followed_only_inside_the_folder(linked: Path) -> None:
    refusals = {photo.file: photo.refusal for photo in scan_labelled_photos(linked).photos}
    outside = "a link out of the photo folder"
    assert refusals == {
        "cat/a.jpg": "",
        "cat/broken.jpg": "a link that leads nowhere",
        "cat/folder": f"{outside}; copy the folder here to use it",
        "cat/inside.jpg": "",
        "cat/loop.jpg": "a link that leads nowhere",
        "cat/outside.jpg": f"{outside}; copy the photo here to use it",
        "cat/outside.txt": f"{outside}; copy the photo here to use it",
        "cat/relative.jpg": f"{outside}; copy the photo here to use it",
        "cat/up": "a link to the folder ., whose photos are found there already",
        "dog/b.jpg": "",
    }


def test_class_that_is_a_link_elsewhere_is_a_problem(linked: Path, tmp_path: Path) -> None:
    (linked / "eel").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    expected = "The class folder 'eel' is a link out of the photo folder; copy the folder here to use it."
    assert read_problems(linked) == (expected,)
    only_links = tmp_path / "only links"
    only_links.mkdir()
    (only_links / "eel").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert read_problems(only_links) == (expected,)


def test_photo_folder_may_itself_be_a_link(linked: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(linked, target_is_directory=True)
    assert list_files(scan_labelled_photos(tmp_path / "alias")) == list_files(scan_labelled_photos(linked))


def test_folder_beside_with_a_longer_name_is_outside(tmp_path: Path) -> None:
    root = touch(tmp_path / "photos", "cat/a.jpg", "dog/b.jpg")
    touch(tmp_path / "photos2", "c.jpg")
    (root / "cat" / "c.jpg").symlink_to(tmp_path / "photos2" / "c.jpg")
    assert "a link out of the photo folder" in scan_labelled_photos(root).photos[1].refusal


# --- folders that cannot be opened ---------------------------------------------------------------


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folders called "locked" refuse to be listed; root, as which tests may run, would be let in."""
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).rstrip("/").endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    yield tmp_path
    monkeypatch.undo()


def test_class_that_cannot_be_opened_is_a_reported_row(locked: Path) -> None:
    touch(locked, "cat/a.jpg", "dog/b.jpg", "dog/locked/c.jpg", "locked/d.jpg")
    rows = [(photo.file, photo.label, photo.refusal) for photo in scan_labelled_photos(locked).photos if photo.refusal]
    refusal = "the folder cannot be opened: Permission denied"
    assert rows == [("dog/locked", "dog", refusal), ("locked", "locked", refusal)]


def test_photo_folder_that_cannot_be_opened_is_a_problem(locked: Path) -> None:
    root = touch(locked / "locked", "cat/a.jpg")
    assert read_problems(root) == (f"The folder {root} cannot be opened: Permission denied.",)
    with pytest.raises(PhotosError, match=r"cannot be opened: Permission denied\.$"):
        list(scan_photos(root))


# --- CSV -----------------------------------------------------------------------------------------

ROWS = "file,label,site\na.jpg,cat,north\nsub/b.jpg,dog,süd\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return touch(tmp_path, "a.jpg", "sub/b.jpg", "ä.jpg")


def write_csv(folder: Path, text: str | bytes, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_csv_gives_labels_and_columns(folder: Path) -> None:
    scan = scan_labelled_photos(write_csv(folder, ROWS))
    assert [(photo.file, photo.label, dict(photo.columns)) for photo in scan.photos] == [
        ("a.jpg", "cat", {"site": "north"}),
        ("sub/b.jpg", "dog", {"site": "süd"}),
    ]
    assert scan.columns == ("site",)
    assert all(not photo.refusal and Path(photo.path).is_file() for photo in scan.photos)


@pytest.mark.parametrize(
    ("delimiter", "encoding"),
    [
        (",", "utf-8"),
        (",", "utf-8-sig"),
        (";", "utf-8-sig"),
        (";", "cp1252"),
        ("\t", "utf-16"),
        ("\t", "utf-8"),
        (",", "utf-16"),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_csv_of_any_spreadsheet_is_read(folder: Path, delimiter: str, encoding: str, line_end: str) -> None:
    text = ROWS.replace(",", delimiter).replace("\n", line_end)
    scan = scan_labelled_photos(write_csv(folder, text.encode(encoding)))
    assert [photo.columns["site"] for photo in scan.photos] == ["north", "süd"]
    assert list_files(scan) == ["a.jpg", "sub/b.jpg"]


def test_csv_in_big_endian_utf_16_is_read(folder: Path) -> None:
    scan = scan_labelled_photos(write_csv(folder, b"\xfe\xff" + ROWS.encode("utf-16-be")))
    assert len(scan.photos) == 2


def test_column_names_are_found_in_any_case(folder: Path) -> None:
    scan = scan_labelled_photos(write_csv(folder, " File , LABEL ,Site\n a.jpg , cat ,n\nsub/b.jpg,dog,s\n"))
    assert [(photo.file, photo.label) for photo in scan.photos] == [("a.jpg", "cat"), ("sub/b.jpg", "dog")]
    assert scan.columns == ("Site",)


def test_quoted_cells_may_hold_anything(folder: Path) -> None:
    touch(folder, "with, comma.jpg")
    text = 'file,label,note\n"with, comma.jpg","cat, big","two\nlines ""quoted"""\na.jpg,dog,\n'
    scan = scan_labelled_photos(write_csv(folder, text))
    assert scan.photos[0].file == "with, comma.jpg" and scan.photos[0].label == "cat, big"
    assert scan.photos[0].columns["note"] == 'two\nlines "quoted"'


def test_short_and_empty_rows_are_tolerated(folder: Path) -> None:
    scan = scan_labelled_photos(write_csv(folder, "file,label,site\na.jpg,cat\n\n,,\nsub/b.jpg,dog,s,too,many\n"))
    assert [photo.columns["site"] for photo in scan.photos] == ["", "s"]


def test_backslashes_of_windows_are_understood(folder: Path) -> None:
    scan = scan_labelled_photos(write_csv(folder, "file,label\na.jpg,cat\nsub\\b.jpg,dog\n"))
    assert list_files(scan) == ["a.jpg", "sub/b.jpg"] and not scan.photos[1].refusal


@needs_posix
def test_backslash_that_is_part_of_a_name_is_kept(folder: Path) -> None:
    touch(folder, "odd\\name.jpg")
    scan = scan_labelled_photos(write_csv(folder, "file,label\na.jpg,cat\nodd\\name.jpg,dog\n"))
    assert scan.photos[1].file == "odd\\name.jpg" and not scan.photos[1].refusal


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_are_found_however_they_are_stored(tmp_path: Path, form: str) -> None:
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    touch(tmp_path, unicodedata.normalize(form, "sub/bräme.jpg"), "a.jpg")
    text = unicodedata.normalize(other, "file,label\na.jpg,cat\nsub\\bräme.jpg,dog\n")
    scan = scan_labelled_photos(write_csv(tmp_path, text))
    assert [photo.refusal for photo in scan.photos] == ["", ""]
    assert Path(scan.photos[1].path).is_file()


def test_names_are_relative_to_the_folder_given(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "tables"
    elsewhere.mkdir()
    path = write_csv(elsewhere, ROWS)
    assert [photo.refusal for photo in scan_labelled_photos(path).photos] == [
        "there is no such file in the photo folder (--photos says where that is)"
    ] * 2
    assert [photo.refusal for photo in scan_labelled_photos(path, photos_folder=folder).photos] == ["", ""]


def test_rows_that_cannot_be_used_say_why(folder: Path) -> None:
    long_name = "x" * 3000
    text = f"file,label\na.jpg,cat\nsub/b.jpg,dog\nnone.jpg,cat\n{long_name},cat\nä.jpg,\n,dog\n,cat\n"
    refusals = [photo.refusal for photo in scan_labelled_photos(write_csv(folder, text)).photos]
    missing = "there is no such file in the photo folder (--photos says where that is)"
    assert refusals == ["", "", missing, missing, "the row of the CSV has no label", "the row of the CSV names no file"]


def test_same_row_twice_counts_once(folder: Path) -> None:
    scan = scan_labelled_photos(write_csv(folder, "file,label\na.jpg,cat\na.jpg,cat\nsub/b.jpg,dog\nsub\\b.jpg,dog\n"))
    assert list_files(scan) == ["a.jpg", "sub/b.jpg"]


def test_file_with_two_labels_is_a_problem(folder: Path) -> None:
    path = write_csv(folder, "file,label\na.jpg,cat\na.jpg,dog\nsub/b.jpg,dog\nsub/b.jpg,cat\n")
    assert read_problems(path) == (
        f"The CSV {path} gives two labels to the same file, 2 times: a.jpg (cat, dog), sub/b.jpg (dog, cat). Keep one.",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "The CSV {path} is empty. Needed is a first line: file,label"),
        ("\n\n", "The CSV {path} is empty. Needed is a first line: file,label"),
        (",,\n , \n", "The CSV {path} is empty. Needed is a first line: file,label"),
        ("file,label\n", "The CSV {path} has a first line but no rows. Add one row a photo."),
        ("file,label\n,\n", "The CSV {path} has a first line but no rows. Add one row a photo."),
        (
            "file,species\na.jpg,cat\n",
            "The CSV {path} has no column 'label'; its columns are 'file', 'species'."
            " Rename the columns in its first line.",
        ),
        (
            "a.jpg,cat\nb.jpg,dog\n",
            "The CSV {path} has no column 'file' and no column 'label'; its columns are 'a.jpg', 'cat'."
            " Rename the columns in its first line.",
        ),
        (
            "file,label,site,site\na.jpg,cat,n,s\n",
            "The CSV {path} has several columns called 'site'. Rename them.",
        ),
        (
            "file,label\na.jpg,cat\nsub/b.jpg,cat\n",
            "All 2 photos in {path} are of one class, 'cat'. A classifier needs at least two: put the photos of each"
            " class into a folder of its own, inside the folder you give.",
        ),
        (
            "file,label\na.jpg,cat\nsub/b.jpg,Cat\n",
            "The labels 'Cat' and 'cat' differ only by upper case or spaces. Give them one name.",
        ),
        (
            'file,label\n"a.jpg,cat\n' + "b.jpg,dog\n" * 20000,
            "The CSV {path} cannot be read near line 13109: field larger than field limit (131072)."
            ' Is a quotation mark (") left open after line 2?',
        ),
        (
            'file,label\na.jpg,cat\n"b.jpg,dog\nc.jpg,dog\nd.jpg,cat\n',
            "The CSV {path} cannot be read near line 5: unexpected end of data."
            ' Is a quotation mark (") left open after line 3?',
        ),
        (
            'file,label\n"a.jpg,cat\nb.jpg",dog\nc.jpg,dog\n',
            "The CSV {path} has line ends inside a file name or label, as in 'a.jpg,cat\\nb.jpgdog'."
            " Is a quotation mark left open?",
        ),
        (
            "file,label\na.jpg,cat\nsub/b.jpg,cat \n",
            "The labels 'cat' and 'cat ' differ only by upper case or spaces. Give them one name.",
        ),
        (b"\x00\x01\x02", "{path} is neither a folder nor a CSV. Give the folder that holds one folder a class."),
    ],
)
def test_unusable_csv_says_what_is_needed(folder: Path, text: str | bytes, problem: str) -> None:
    path = write_csv(folder, text)
    assert read_problems(path) == (problem.format(path=path),)


def test_photo_given_for_training_is_no_csv(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    expected = f"{tmp_path / 'a.jpg'} is neither a folder nor a CSV. Give the folder that holds one folder a class."
    assert read_problems(tmp_path / "a.jpg") == (expected,)


def test_folder_of_the_photos_must_exist(folder: Path) -> None:
    path = write_csv(folder, ROWS)
    expected = f"There is no folder {folder / 'none'}, which the file names in {path} should be relative to."
    assert read_problems(path, photos_folder=folder / "none") == (expected,)


def test_csv_that_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_csv(folder, ROWS)

    def refuse(self: Path, mode: str) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert read_problems(path) == (f"The file {path} cannot be read: Permission denied.",)


@given(data=st.binary(max_size=300), header=st.sampled_from([b"", b"file,label\n", b"\xff\xfe", b"file;label\r\n"]))
def test_any_bytes_give_photos_or_problems(
    data: bytes, header: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    path = write_csv(folder, header + data)
    try:
        scan = scan_labelled_photos(path)
    except PhotosError as error:
        assert error.problems
    else:
        assert scan.photos and len({photo.label for photo in scan.photos if photo.label}) != 1


# --- photos to classify --------------------------------------------------------------------------


def test_photos_to_classify_lie_at_any_depth(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a/c.jpg", "a/deep/d.png", "notes.txt", ".hidden.jpg")
    assert [(photo.file, photo.label) for photo in scan_photos(tmp_path)] == [
        ("b.jpg", ""),
        ("a/c.jpg", ""),
        ("a/deep/d.png", ""),
    ]


def test_one_photo_to_classify_is_itself(tmp_path: Path) -> None:
    touch(tmp_path, "photo without ending")
    (photo,) = scan_photos(tmp_path / "photo without ending")
    assert (photo.file, photo.path) == ("photo without ending", str(tmp_path / "photo without ending"))


def test_csv_of_photos_to_classify_needs_no_label(folder: Path) -> None:
    photos = list(scan_photos(write_csv(folder, "file,camera\na.jpg,1\nsub/b.jpg,2\nnone.jpg,3\n")))
    assert [(photo.file, photo.label, photo.columns["camera"]) for photo in photos] == [
        ("a.jpg", "", "1"),
        ("sub/b.jpg", "", "2"),
        ("none.jpg", "", "3"),
    ]
    assert [bool(photo.refusal) for photo in photos] == [False, False, True]


def test_csv_of_photos_to_classify_may_have_labels(folder: Path) -> None:
    assert [photo.label for photo in scan_photos(write_csv(folder, ROWS, "labels.TSV"))] == ["cat", "dog"]


def test_bad_csv_of_photos_to_classify_is_a_problem(folder: Path) -> None:
    path = write_csv(folder, "photo\na.jpg\n")
    with pytest.raises(PhotosError, match=r"has no column 'file'; its columns are 'photo'"):
        list(scan_photos(path))


def test_tables_are_told_from_photos(folder: Path) -> None:
    assert is_single_photo(folder / "a.jpg")
    assert not is_single_photo(folder) and not is_single_photo(folder / "none.csv")
    for name in ("a.csv", "b.TSV", "c.txt"):
        assert not is_single_photo(write_csv(folder, ROWS, name))


def test_folder_of_other_things_is_no_class(tmp_path: Path) -> None:
    touch(tmp_path / "photos", "ant/1.jpg", "bee/1.jpg", "_unknown/leaf.jpg")
    scan = scan_labelled_photos(tmp_path / "photos")
    assert [photo.label for photo in scan.photos] == ["_unknown", "ant", "bee"]
    touch(tmp_path / "one", "ant/1.jpg", "_unknown/leaf.jpg")
    (problem,) = read_problems(tmp_path / "one")
    assert problem.startswith(f"All 1 photos in {tmp_path / 'one'} are of one class, 'ant'.")
    touch(tmp_path / "none", "_unknown/leaf.jpg")
    assert read_problems(tmp_path / "none") == (
        f"All photos in {tmp_path / 'none'} are in '_unknown', which is for other things and no class. Put the photos"
        " of each class into a folder of its own, beside it.",
    )
