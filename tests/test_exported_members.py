import subprocess
import sys

import pytest

import clownfish
from clownfish import errors


def test_exported_members_are_complete_and_sorted() -> None:
    assert clownfish.__all__ == [
        "Audit",
        "BackboneError",
        "Classifier",
        "ClownfishError",
        "Comparison",
        "ConfigError",
        "CountTable",
        "Diagnosis",
        "Evaluation",
        "Export",
        "ModelFileError",
        "OutputError",
        "PhotosError",
        "Prediction",
        "Run",
        "RunFolderError",
        "UnusablePhotoError",
        "audit",
        "compare",
        "count",
        "doctor",
        "evaluate",
        "export_model",
        "load",
        "predict",
        "render_report",
        "train",
    ]
    assert dir(clownfish) == clownfish.__all__


@pytest.mark.parametrize("name", clownfish.__all__)
def test_exported_member_can_be_imported_and_is_documented(name: str) -> None:
    member = getattr(clownfish, name)
    assert callable(member)
    assert (member.__doc__ or "").strip()


def test_unknown_member_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'clownfish' has no attribute 'fit'"):
        _ = clownfish.fit  # type: ignore[attr-defined]


def test_every_error_has_the_one_base() -> None:
    own = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(own) == 13
    assert all(issubclass(error, errors.ClownfishError) for error in own)


def test_extra_that_is_missing_is_named_with_the_command() -> None:
    error = errors.MissingExtraError("Fine-tuning", "finetune")
    assert str(error) == "Fine-tuning needs the extra 'finetune'. Install it: pip install 'clownfish[finetune]'"


@pytest.mark.parametrize(
    ("code", "banned"),
    [
        ("import clownfish", "numpy PIL onnxruntime onnx scipy sklearn matplotlib pandas torch click"),
        ("import clownfish.cli", "numpy PIL onnxruntime onnx scipy sklearn matplotlib pandas torch jinja2 rich"),
        ("import clownfish; clownfish.load", "onnx scipy sklearn matplotlib pandas torch click jinja2 rich"),
    ],
)
def test_import_stays_light(code: str, banned: str) -> None:
    script = f"{code}\nimport sys\nprint(sorted(set({banned.split()!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
