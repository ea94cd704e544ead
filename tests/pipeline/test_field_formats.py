"""Formats of field tools: what is written, read by the tools' own readers where they are installed."""

import csv
import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import clownfish
from camtrap_columns import SCHEMAS
from clownfish.cli import EXIT_SOME_UNUSABLE
from clownfish.errors import ConfigError, OutputError, PhotosError
from clownfish.files import encode_text
from clownfish.photos.scan import scan_photos
from clownfish.pipeline.predict import predict_table
from clownfish.pipeline.run import Run
from clownfish.prediction.answer_lines import AnswerLayout, classify_name
from clownfish.prediction.batch import Answer
from clownfish.prediction.camtrap_dp import write_camtrap_dp
from clownfish.prediction.classifier import Answered, Classifier
from clownfish.prediction.field_files import write_document
from clownfish.prediction.json_file import write_json
from clownfish.prediction.study import read_study
from clownfish.prediction.timelapse import write_timelapse
from clownfish.records import Inspection, PhotoFile
from pictures import draw_photo
from runs import Cli, read_table, write_table

pytestmark = pytest.mark.usefixtures("no_helpers")

PACKAGE = {
    "contributors": [{"title": "Ana Pérez", "role": "contact"}],
    "project": {
        "title": "Digits of the forest",
        "samplingDesign": "opportunistic",
        "captureMethod": ["activityDetection"],
        "individualAnimals": False,
    },
    "taxonomic": [{"scientificName": "Numerus tertius", "vernacularNames": {"eng": "Digit 3"}}],
}
DEPLOYMENTS = [
    {
        "deploymentID": "north",
        "latitude": "52.7044219",
        "longitude": "-3.1",
        "deploymentStart": "2026-03-01T12:00:00+01:00",
        "deploymentEnd": "2026-04-01T12:00:00+01:00",
        "cameraModel": "Reconyx-PC800",
    },
    {
        "deploymentID": "south",
        "latitude": "51",
        "longitude": "4.5",
        "deploymentStart": "2026-03-02 08:00:00Z",
        "deploymentEnd": "2026-03-30T08:00:00Z",
        "cameraModel": "",
    },
]


def write_study(folder: Path, package: Any = PACKAGE, deployments: list[dict[str, str]] = DEPLOYMENTS) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "datapackage.json").write_text(json.dumps(package), encoding="utf-8")
    with (folder / "deployments.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(deployments[0]) if deployments else ["deploymentID"])
        writer.writeheader()
        writer.writerows(deployments)
    return folder


def write_trap_photos(folder: Path) -> Path:
    """Photos of two cameras with times; one has none, one is damaged."""
    for name, taken in {
        "north/1.jpg": "2026:03:05 06:30:00",
        "north/2.jpg": "2026:03:05 06:31:00",
        "south/1.jpg": "2026:05:05 06:31:00",
        "south/timeless.jpg": "",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(draw_photo(48, 32, seed=len(taken)))
        exif = Image.Exif()
        if taken:
            exif.get_ifd(0x8769)[0x9003] = taken
        image.save(path, exif=exif)
    (folder / "north" / "damaged.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    return folder


def make_answers(classifier: Classifier, folder: Path) -> list[Any]:
    """One answer of each kind, by way of the lines on disk."""
    import numpy as np

    from clownfish.prediction.answer_lines import read_answers

    layout, lines = AnswerLayout(classifier.classes), []
    for number, status in enumerate(("ok", "unsure", "unlike anything seen", "")):
        probabilities = np.full(len(classifier.classes), 0.25 / (len(classifier.classes) - 1), np.float32)
        probabilities[3] = 0.75
        answered = Answered(probabilities=probabilities, status=status, candidates=("digit_3", "digit_8"))  # type: ignore[arg-type]
        photo = PhotoFile(file=f"north/{number}.jpg", path="", label="")
        lines.append(
            layout.format_answer(
                Answer(
                    photo=photo,
                    content_hash="",
                    answered=answered if status else None,
                    note="" if status else "the file is empty (0 bytes)",
                    inspection=Inspection(content_hash="", taken="2026-03-05T06:30:00.250", format="JPEG")
                    if status
                    else None,
                )
            )
        )
    path = folder / "lines"
    path.write_bytes(layout.header + b"".join(lines))
    return list(read_answers(path))


def check_with(name: str, check: Callable[[Any], None]) -> None:
    """Where the reader of a format is installed, use it, too."""
    try:
        module = importlib.import_module(name)
    except ImportError:
        return
    check(module)


# ---- JSON


def test_json_says_what_the_table_says(cli: Cli, digits_run: Run, digits: Path) -> None:
    result = cli("predict", digits_run.path, digits, "--format", "json")
    assert (result.code, result.err) == (0, "")
    assert result.out.endswith("Written: predictions.json\n")
    cli("predict", digits_run.path, digits)
    document = json.loads(Path("predictions.json").read_text(encoding="utf-8"))
    assert document["classes"] == digits_run.metrics["classes"]
    assert document["model"] == {"file": "model.onnx", "sha256": digits_run.classifier.hash}
    assert document["max_error"] == 0.05
    for photo, row in zip(document["photos"], read_table(Path("predictions.csv")), strict=True):
        assert [photo[name] for name in ("file", "label", "status")] == [row["file"], row["label"], row["status"]]
        assert photo["probability"] == float(row["probability"])
        assert photo["candidates"] == row["candidates"].split(" | ")
        assert photo["probabilities"] == {name: float(row[name]) for name in document["classes"]}
    assert not list(Path().glob("*partial*"))


def test_json_of_an_unusable_photo_gives_the_reason(digits_run: Run, tmp_path: Path) -> None:
    answers = make_answers(digits_run.classifier, tmp_path)
    document = json.loads("".join(write_json(digits_run.classifier, answers)))
    assert [photo["status"] for photo in document["photos"]] == ["ok", "unsure", "unlike anything seen", "unusable"]
    assert document["photos"][3] == {
        "file": "north/3.jpg",
        "status": "unusable",
        "reason": "the file is empty (0 bytes)",
    }
    assert document["photos"][0]["taken"] == "2026-03-05T06:30:00.250"


def test_interrupted_document_is_continued_wherever_it_was_torn(digits_run: Run, insects: Path, tmp_path: Path) -> None:
    classifier, path = digits_run.classifier, tmp_path / "answers.json"
    source = next(scan_photos(insects)).path
    names = ['a,"b".png', "=1+1.png", "two\nlines.png", "caf\udce9.png", "été 🐠.png"]
    photos = [PhotoFile(file=name, path=source, label="") for name in names]
    write_document(classifier, photos, path, "json")
    whole = path.read_bytes()
    assert [photo["file"] for photo in json.loads(whole)["photos"]] == names
    layout = AnswerLayout(classifier.classes)
    from clownfish.prediction.batch import predict_photos

    lines = layout.header + b"".join(map(layout.format_answer, predict_photos(classifier, photos)))
    partial = tmp_path / f"answers.json.partial-{classifier.hash[:8]}-answers"
    for end in range(0, len(lines), 211):
        path.unlink()
        partial.write_bytes(lines[:end])
        summary = write_document(classifier, photos, path, "json")
        assert path.read_bytes() == whole
        assert summary.num_resumed == max(0, lines[:end].count(b"\n") - 1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["answers.json"]
    partial.write_bytes(lines)
    with pytest.raises(OutputError, match=r"-answers holds an interrupted table of other photos \('a,\"b\"\.png' is"):
        write_document(classifier, photos[1:], path, "json", overwrite=True)


def test_existing_document_is_replaced_only_on_request(digits_run: Run, insects: Path, tmp_path: Path) -> None:
    path = tmp_path / "answers.json"
    predict_table(digits_run.path, insects, path, kind="json")
    with pytest.raises(OutputError, match=r"answers\.json exists already\. Give another name with --out, or replace"):
        predict_table(digits_run.path, insects, path, kind="json")
    predict_table(digits_run.path, insects, path, kind="timelapse", overwrite=True)
    assert "images" in json.loads(path.read_text(encoding="utf-8"))
    with pytest.raises(OutputError, match="is not a file that can be replaced"):
        predict_table(digits_run.path, insects, tmp_path, kind="json", overwrite=True)
    with pytest.raises(OutputError, match=r"^Cannot write .*Give another place with --out\."):
        predict_table(digits_run.path, insects, path / "below.json", kind="json")


# ---- Timelapse


def check_timelapse(document: Any, path: Path) -> None:
    """The rules of https://lila.science/megadetector-output-format, and its validator where that is installed."""
    assert float(document["info"]["format_version"]) >= 1.3
    categories, classes = document["detection_categories"], document["classification_categories"]
    assert all(re.fullmatch("[0-9]+", key) and name for key, name in {**categories, **classes}.items())
    for image in document["images"]:
        if image.get("failure"):
            assert image["detections"] is None
            continue
        for detection in image["detections"]:
            assert detection["category"] in categories and isinstance(detection["conf"], float)
            assert detection["bbox"] == [0, 0, 1, 1]
            named = detection.get("classifications", [])
            assert [pair[1] for pair in named] == sorted((pair[1] for pair in named), reverse=True)
            assert all(pair[0] in classes and 0 <= pair[1] <= 1 for pair in named)
    path.write_text(json.dumps(document), encoding="utf-8")

    def validate(module: Any) -> None:
        assert module.validate_batch_results(str(path))["validation_results"]["errors"] == []

    check_with("megadetector.postprocessing.validate_batch_results", validate)


def test_timelapse_has_a_category_for_each_status(digits_run: Run, tmp_path: Path) -> None:
    answers = make_answers(digits_run.classifier, tmp_path)
    document = json.loads("".join(write_timelapse(digits_run.classifier, answers)))
    check_timelapse(document, tmp_path / "timelapse.json")
    sure, unsure, unlike, unusable = document["images"]
    names = document["detection_categories"]
    assert [names[image["detections"][0]["category"]] for image in (sure, unsure, unlike)] == [
        *("animal", "unsure", "unlike anything seen"),
    ]
    assert sure["detections"][0]["classifications"][0] == ["3", 0.75]
    assert document["classification_categories"]["3"] == "digit_3"
    assert "classifications" not in unlike["detections"][0]
    assert unusable == {"file": "north/3.jpg", "failure": "the file is empty (0 bytes)", "detections": None}


def test_timelapse_of_a_folder(cli: Cli, digits_run: Run, digits: Path, tmp_path: Path) -> None:
    result = cli("predict", digits_run.path, digits, "--format", "timelapse", "--json")
    assert result.read_json()["table"] == "timelapse.json"
    document = json.loads(Path("timelapse.json").read_text(encoding="utf-8"))
    check_timelapse(document, tmp_path / "again.json")
    assert len(document["images"]) == 60


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        *(("Blank", "blank"), ("empty", "blank"), ("PERSON", "human"), ("Homo_sapiens", "human")),
        *(("vehicle", "vehicle"), ("emptiness", "animal"), ("Vulpes vulpes", "animal")),
    ],
)
def test_names_of_classes_tell_what_is_no_animal(label: str, kind: str) -> None:
    assert classify_name(label) == kind


# ---- Camtrap DP


def validate_package(folder: Path) -> None:
    """Check with frictionless, where it is installed, against the rules of the standard instead of their addresses."""
    package = json.loads((folder / "datapackage.json").read_text(encoding="utf-8"))
    assert {"contributors", "project", "profile", "created", "spatial", "temporal", "taxonomic"} <= package.keys()
    for resource in package["resources"]:
        name = resource["name"]
        assert resource["schema"].endswith(f"camtrap-dp/1.0.2/{name}-table-schema.json")
        resource["schema"] = SCHEMAS[name]
        with (folder / resource["path"]).open(encoding="utf-8", newline="") as file:
            assert next(csv.reader(file)) == [field["name"] for field in SCHEMAS[name]["fields"]]
    del package["profile"]

    def validate(module: Any) -> None:
        report = module.Package(package, basepath=str(folder)).validate()
        assert report.valid, report.flatten(["title", "note", "rowNumber"])

    check_with("frictionless", validate)


def test_camtrap_dp_says_where_when_and_how_certain(cli: Cli, digits_run: Run, tmp_path: Path) -> None:
    photos, study = write_trap_photos(tmp_path / "photos"), write_study(tmp_path / "study")
    done = cli("predict", digits_run.path, photos, "--format", "camtrap-dp", "--study", study, "--max-error", "0.9")
    assert (done.code, done.err) == (EXIT_SOME_UNUSABLE, "")
    assert "       2  left out:\n          north/damaged.jpg: unusable (" in done.out
    assert "          south/timeless.jpg: it does not tell when it was taken; a CSV with the columns file," in done.out
    assert "1 photos were taken outside the time of their deployment. Check the cameras' clocks" in done.out
    folder = tmp_path / "camtrap-dp"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("datapackage.json", "deployments.csv", "media.csv", "observations.csv"),
    ]
    validate_package(folder)
    media, observations = read_table(folder / "media.csv"), read_table(folder / "observations.csv")
    assert [row["filePath"] for row in media] == ["north/1.jpg", "north/2.jpg", "south/1.jpg"]
    assert [row["timestamp"] for row in media] == [
        *("2026-03-05T06:30:00+01:00", "2026-03-05T06:31:00+01:00", "2026-05-05T06:31:00+00:00"),
    ]
    assert {row["filePublic"] for row in media} == {"false"}
    assert [row["mediaID"] for row in observations] == [row["mediaID"] for row in media]
    assert {row["classificationMethod"] for row in observations} == {"machine"}
    package = json.loads((folder / "datapackage.json").read_text(encoding="utf-8"))
    assert package["temporal"] == {"start": "2026-03-01", "end": "2026-04-01"}
    assert package["spatial"]["coordinates"][0][0] == [-3.1, 51.0]
    assert package["project"]["observationLevel"] == ["media"]
    assert read_table(folder / "deployments.csv")[0]["latitude"] == "52.7044219"
    assert read_table(folder / "deployments.csv")[1]["deploymentStart"] == "2026-03-02T08:00:00+00:00"
    again = cli("predict", digits_run.path, photos, "--format", "camtrap-dp", "--study", study)
    assert again.err == (
        "Error: camtrap-dp exists already. Give another name with --out, or replace it with --overwrite.\n"
    )
    again = cli("predict", digits_run.path, photos, "--format", "camtrap-dp", "--study", study, "--overwrite")
    assert again.code == EXIT_SOME_UNUSABLE
    (folder / "own notes.txt").touch()
    again = cli("predict", digits_run.path, photos, "--format", "camtrap-dp", "--study", study, "--overwrite")
    assert again.err == "Error: camtrap-dp is not a package that can be replaced. Give another name with --out.\n"


def test_times_and_deployments_can_come_from_a_table(digits_run: Run, tmp_path: Path) -> None:
    photos, study = write_trap_photos(tmp_path / "photos"), write_study(tmp_path / "study")
    times = ["2026-03-06T01:00:00.5", "2026-03-06 01:00:00+03:00", "the day before yesterday", ""]
    files = ["north/1.jpg", "south/timeless.jpg", "north/2.jpg", "south/1.jpg"]
    rows = [{"file": file, "timestamp": time, "deploymentID": "south"} for file, time in zip(files, times, strict=True)]
    place = write_table(photos / "list.csv", rows)
    summary = predict_table(digits_run.path, place, tmp_path / "package", kind="camtrap-dp", study=study)
    assert [line.partition(":")[0] for line in summary.left_out] == ["north/2.jpg"]
    validate_package(tmp_path / "package")
    media = read_table(tmp_path / "package" / "media.csv")
    assert [(row["deploymentID"], row["timestamp"]) for row in media] == [
        ("south", "2026-03-06T01:00:00+00:00"),
        ("south", "2026-03-06T01:00:00+03:00"),
        ("south", "2026-05-05T06:31:00+00:00"),
    ]


def test_camtrap_dp_names_only_what_is_sure(digits_run: Run, tmp_path: Path) -> None:
    answers = make_answers(digits_run.classifier, tmp_path)
    study = read_study(write_study(tmp_path / "study"))
    folder = tmp_path / "package"
    folder.mkdir()
    summary = write_camtrap_dp(digits_run.classifier, answers, study, {"digit_3": "Numerus tertius"}, folder)
    validate_package(folder)
    assert summary.left_out == ["north/3.jpg: unusable (the file is empty (0 bytes))"]
    sure, unsure, unlike = read_table(folder / "observations.csv")
    columns = ("observationType", "scientificName", "classificationProbability", "observationTags")
    assert [sure[name] for name in columns] == ["animal", "Numerus tertius", "0.75", "class:digit_3"]
    assert [unsure[name] for name in columns] == ["unknown", "", "0.75", "status:unsure | guess:digit_3"]
    assert [unlike[name] for name in columns] == ["unknown", "", "", "status:unlike anything seen | guess:digit_3"]
    package = json.loads((folder / "datapackage.json").read_text(encoding="utf-8"))
    assert package["taxonomic"] == PACKAGE["taxonomic"]


def test_names_of_taxa_come_from_the_study(digits_run: Run, tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path / "study"))
    assert study.name_taxa() == {"numerus tertius": "Numerus tertius", "digit 3": "Numerus tertius"}
    photos = write_trap_photos(tmp_path / "photos")
    summary = clownfish.predict(
        digits_run.path,
        photos,
        tmp_path / "out",
        format="camtrap-dp",
        study=tmp_path / "study",
        max_error=0.9,
        quiet=True,
    )
    assert summary.num_left_out == 2
    rows = read_table(tmp_path / "out" / "observations.csv")
    named = {row["scientificName"] for row in rows if row["observationTags"] == "class:digit_3"}
    assert named <= {"Numerus tertius"}
    nameless = {row["observationTags"] for row in rows if row["observationType"] == "animal"} - {"class:digit_3"}
    assert bool(nameless) == any("No scientific name is known for digit_" in line for line in summary.messages)


def test_names_that_the_standard_forbids_are_left_out(digits_run: Run, tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path / "study", deployments=DEPLOYMENTS[:1]))
    answers = make_answers(digits_run.classifier, tmp_path)[:1] * 3
    import dataclasses

    names = ("a..b.jpg", "=1.jpg", ".hidden.jpg")
    renamed = [dataclasses.replace(answer, file=name) for answer, name in zip(answers, names, strict=True)]
    (tmp_path / "package").mkdir()
    summary = write_camtrap_dp(digits_run.classifier, renamed, study, {}, tmp_path / "package")
    assert [line.partition(": ")[2][:24] for line in summary.left_out] == [
        *("its name begins with . /", "its name begins with = +", "its name begins with . /"),
    ]
    package = json.loads((tmp_path / "package" / "datapackage.json").read_text(encoding="utf-8"))
    assert package["spatial"] == {"type": "Point", "coordinates": [-3.1, 52.7044219]}


def test_deployment_is_found_by_column_folder_or_because_it_is_the_only_one(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path / "study"))

    def find(file: str, **columns: str) -> str | None:
        found = study.find_deployment(file, columns)
        return None if found is None else found.name

    assert find("2026/south/card 1/3.jpg") == "south"
    assert find("south/3.jpg", deploymentID="north") == "north"
    assert find("south/3.jpg", deploymentID="west") is None
    assert find("3.jpg") is None
    lone = read_study(write_study(tmp_path / "study", deployments=DEPLOYMENTS[:1]))
    assert lone.find_deployment("3.jpg", {}) == lone.deployments["north"]


def test_photos_without_a_deployment_are_named_before_the_work(cli: Cli, digits_run: Run, tmp_path: Path) -> None:
    photos, study = write_trap_photos(tmp_path / "photos"), write_study(tmp_path / "study")
    (photos / "south").rename(photos / "west")
    done = cli("predict", digits_run.path, photos, "--format", "camtrap-dp", "--study", study)
    assert done.err.startswith(
        "Error: 2 photos belong to no deployment, such as west/1.jpg, west/timeless.jpg. Put the"
    )
    assert "(north, south), or give a CSV with the columns file,deploymentID." in done.err
    assert not (tmp_path / "camtrap-dp").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latitude": "north"}, r"row 2: latitude is 'north'; degrees from -90 to 90 are needed, such as 52\.7\."),
        ({"longitude": "181"}, r"row 2: longitude is '181'; degrees from -180 to 180 are needed"),
        (
            {"deploymentStart": "2026-03-01T12:00:00"},
            r"deploymentStart is '2026-03-01T12:00:00'; a time with its zone is",
        ),
        ({"deploymentEnd": "yesterday"}, r"deploymentEnd is 'yesterday'; a time with its zone is needed"),
        ({"deploymentID": ""}, r"row 2: the deploymentID is empty\. Give each deployment a name of its own\."),
        ({"deploymentID": "south"}, r"row 3: deployment 'south' is there already\. Give each its own name\."),
    ],
)
def test_wrong_deployment_is_explained(tmp_path: Path, change: dict[str, str], message: str) -> None:
    study = write_study(tmp_path / "study", deployments=[{**DEPLOYMENTS[0], **change}, DEPLOYMENTS[1]])
    with pytest.raises(PhotosError, match=message):
        read_study(study)


@pytest.mark.parametrize(
    ("package", "message"),
    [
        ([], r"datapackage\.json is no JSON object\. It needs contributors and project\."),
        (
            {**PACKAGE, "contributors": []},
            r"lacks contributors\. Add who did the study: \"contributors\": \[\{\"title\":",
        ),
        (
            {**PACKAGE, "contributors": [{"title": "Ana", "role": "boss"}]},
            r"the role of a contributor has to be one of contact, principalInvestigator, rightsHolder, publisher, c",
        ),
        (
            {**PACKAGE, "licenses": [{"name": "CC0-1.0", "scope": "data"}]},
            r"licenses has to have one entry with \"scope\": \"data\" and one with \"scope\": \"media\"\. Add them, or",
        ),
        ({**PACKAGE, "licenses": "CC0"}, r"licenses has to have one entry with"),
        (
            {**PACKAGE, "project": None},
            r"lacks project\.title, project\.samplingDesign, project\.captureMethod, project",
        ),
        (
            {**PACKAGE, "project": {**PACKAGE["project"], "samplingDesign": "random"}},  # type: ignore[dict-item]
            r"project\.samplingDesign has to be one of simpleRandom, systematicRandom,",
        ),
        (
            {**PACKAGE, "project": {**PACKAGE["project"], "captureMethod": "timeLapse"}},  # type: ignore[dict-item]
            r"project\.captureMethod has to be a list of activityDetection and timeLapse\.",
        ),
        ({**PACKAGE, "taxonomic": ["fox"]}, r"each entry of taxonomic needs a scientificName\."),
    ],
)
def test_wrong_package_is_explained(tmp_path: Path, package: Any, message: str) -> None:
    with pytest.raises(PhotosError, match=message):
        read_study(write_study(tmp_path / "study", package=package))


def test_study_that_is_not_there_is_explained(tmp_path: Path) -> None:
    with pytest.raises(
        PhotosError, match=r"cannot be read \(No such file or directory\)\. A folder is needed that holds"
    ):
        read_study(tmp_path)
    study = write_study(tmp_path / "study", deployments=[])
    with pytest.raises(
        PhotosError, match=r"deployments\.csv has no row\. It needs one row a deployment: one camera at"
    ):
        read_study(study)
    (study / "deployments.csv").write_bytes(encode_text("deploymentID,latitude\nnorth,1\n"))
    with pytest.raises(PhotosError, match=r"lacks the column longitude, deploymentStart, deploymentEnd\. See https:"):
        read_study(study)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"kind": "darwin-core"},
            r"There is no format 'darwin-core'\. Choose one of: csv, json, timelapse, camtrap-dp\.",
        ),
        ({"kind": "camtrap-dp"}, r"Give a folder with deployments\.csv and datapackage\.json with --study\."),
        (
            {"kind": "json", "study": "x"},
            r"--format json has no place for a study\. Leave --study out, or choose --form",
        ),
    ],
)
def test_wrong_choice_of_format_is_explained(digits_run: Run, digits: Path, options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        predict_table(digits_run.path, digits, **options)
