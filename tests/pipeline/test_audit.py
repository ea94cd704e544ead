import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

import clownfish
from clownfish.config import TrainConfig
from clownfish.errors import ConfigError, OutputError, PhotosError
from clownfish.pipeline.audit import audit_photos
from pictures import draw_photo, write_photo
from runs import Cli, write_classes, write_table

pytestmark = pytest.mark.usefixtures("shared_cache", "no_helpers")


def draw_tree(seed: int, *, hue: int) -> Image.Image:
    """Light above, dark below, a different scene in every picture, and a crown of the class's colour."""
    random = np.random.default_rng(seed)
    pixels = 0.5 * draw_photo(64, 64, seed=seed) + np.linspace(140, 0, 64)[:, None, None]
    left = 20 + int(random.integers(0, 16))
    pixels[24:, left : left + 8] = [200, 60, 60]
    pixels[8:28, left - 8 : left + 16, hue] = 220
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write_trees(root: Path, *, num_photos: int = 20) -> Path:
    """Three classes, of which one is saved as PNG and upside down."""
    for number, label in enumerate(["ash", "elm", "oak"]):
        for position in range(num_photos):
            tree = draw_tree(1000 * number + position, hue=number)
            if label == "oak":
                write_photo(root / label / f"flip_{position:02}.png", ImageOps.flip(tree))
            else:
                write_photo(root / label / f"{position:02}.jpg", tree, quality=90)
    return root


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trees(tmp_path_factory.mktemp("trees") / "photos")


def test_planted_shortcuts_are_found_and_named(trees: Path, tmp_path: Path) -> None:
    audit = clownfish.audit(trees, out=tmp_path / "audit", quiet=True)
    text = "\n".join(audit.messages)
    assert "Photos of oak are upside down compared with the other classes" in text
    assert "Files of the kind PNG RGB are 100 % of oak, 0 % of the others (oak/flip_" in text
    assert "The mark 'flip' of altered copies stands in the names of 100 % of oak" in text
    assert audit.path == tmp_path / "audit"
    assert {path.name for path in audit.path.iterdir()} == {
        *("audit.json", "photos.csv", "suspicious_labels.csv", "contact-sheet.html"),
    }
    written = json.loads((audit.path / "audit.json").read_text(encoding="utf-8"))
    assert written["messages"] == list(audit.messages)
    assert written["shortcuts"]["orientation"]["upside_down"][0]["label"] == "oak"
    page = (audit.path / "contact-sheet.html").read_text(encoding="utf-8")
    assert "data:image/jpeg;base64," in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    with (audit.path / "photos.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    assert {row["format"] for row in rows} == {"JPEG", "PNG"}


def test_audit_twice_gives_the_same_and_fast_skips_what_is_slow(trees: Path) -> None:
    first, second = (audit_photos(TrainConfig().change({"place": str(trees)})) for _ in range(2))
    assert first == second
    fast = audit_photos(TrainConfig().change({"place": str(trees)}), fast=True)
    assert fast.metrics["shortcuts"]["orientation"] is None
    assert fast.metrics["label_errors"]["self_test"] is None
    assert fast.metrics["shortcuts"]["words"] == first.metrics["shortcuts"]["words"]


def test_audit_is_told_in_lines(trees: Path, cli: Cli) -> None:
    result = cli("audit", trees)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("Photos          found 60 = used 60 + unusable 0; 3 classes")
    for word in ("Classes", "Copies", "Quick test", "Shortcuts", "Labels", "Note"):
        assert f"\n{word} " in result.out
    numbers = cli("audit", trees, "--json", "--fast").read_json()
    assert numbers["num_photos"]["used"] == 60
    assert cli("audit", trees, "--quiet", "--fast").out == ""


def test_small_and_uneven_set_is_audited_too(tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", {"ant": 3, "bee": 40})
    audit = clownfish.audit(photos, quiet=True)
    assert any(message.startswith("The classes are uneven: bee has 40 photos, ant 3.") for message in audit.messages)


def test_hostile_names_stay_text_in_the_contact_sheet(tmp_path: Path) -> None:
    for label in ("<img src=x onerror=alert(1)>", "b"):
        for number in range(4):
            write_photo(tmp_path / "photos" / label / f"{number}&'.png", draw_photo(32, 32, seed=number))
    for number in range(3):
        write_photo(tmp_path / "photos" / "b" / f"other{number}.png", draw_photo(32, 32, seed=50 + number))
    write_photo(tmp_path / "photos" / "<img src=x onerror=alert(1)>" / "more.png", draw_photo(32, 32, seed=60))
    for number in range(3):
        write_photo(
            tmp_path / "photos" / "<img src=x onerror=alert(1)>" / f"m{number}.png",
            draw_photo(32, 32, seed=70 + number),
        )
    audit = clownfish.audit(tmp_path / "photos", out=tmp_path / "audit", quiet=True)
    assert audit.path is not None
    page = (audit.path / "contact-sheet.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


def test_impossible_requests_are_refused_before_any_work(trees: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No photos are given"):
        audit_photos(TrainConfig())
    with pytest.raises(OutputError, match="exists already"):
        clownfish.audit(trees, out=tmp_path, quiet=True)


def test_corrections_change_labels_and_leave_photos_out(tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", {"ant": 12, "bee": 12})
    table = tmp_path / "corrections.csv"
    table.write_text("file,old,new,reason\nant/00.png,ant,bee,a bee\nbee/01.png,bee,-,blurred\n", encoding="utf-8")
    before = {path: path.read_bytes() for path in photos.rglob("*.png")}
    run = clownfish.train(photos, out=tmp_path / "run", corrections=table, epochs=1, quiet=True)
    assert {path: path.read_bytes() for path in photos.rglob("*.png")} == before
    with (run.path / "photos.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert (rows["ant/00.png"]["label"], rows["ant/00.png"]["note"]) == ("bee", "label corrected, was ant (a bee)")
    assert rows["bee/01.png"]["status"] == "left out"
    assert rows["bee/01.png"]["note"] == "left out by the corrections (blurred)"
    assert run.metrics["num_photos"]["left_out"] == 1
    assert "Corrections applied: 1 label changed, 1 left out." in run.metrics["messages"]
    assert (
        (run.path / "suspicious_labels.csv").read_text(encoding="utf-8").startswith("file,label,suggested,score,reason")
    )
    again = clownfish.train(config=run.path / "config.toml", out=tmp_path / "again", quiet=True)
    assert again.metrics["cross_validated"] == run.metrics["cross_validated"]


def test_corrections_that_do_not_fit_are_an_error(tmp_path: Path, cli: Cli) -> None:
    photos = write_classes(tmp_path / "photos", {"ant": 3, "bee": 3})
    table = tmp_path / "corrections.csv"
    table.write_text("file,old,new\nant/00.png,bee,ant\n", encoding="utf-8")
    for command in ("train", "audit"):
        result = cli(command, photos, "--corrections", table)
        assert result.code == 2
        assert "says that ant/00.png is labelled 'bee', but it is labelled 'ant'" in result.err
    with pytest.raises(PhotosError, match="no file"):
        clownfish.audit(photos, corrections=tmp_path / "none.csv", quiet=True)


def test_slip_in_the_corrections_is_told_with_their_file(cli: Cli, insects: Path, tmp_path: Path) -> None:
    rows = [{"file": "ant/02.png", "old": "ant", "new": "beee", "reason": ""}]
    table = write_table(tmp_path / "mended.csv", rows)
    for command in ("audit", "train"):
        result = cli(command, insects, "--corrections", table)
        assert result.code == 2
        assert "The class 'beee' has 1 usable photo; " in result.err
        assert f"{table} gives ant/02.png the label 'beee', which no other photo has. Did you mean 'bee'?" in result.err
    result = cli("train", insects, "--corrections", table, "--min-photos", 3, "--fast", "--epochs", 1)
    assert "Corrections applied: 1 label changed, 0 left out. Labels that no photo had before: beee (1)." in (
        " ".join(result.out.split())
    )
