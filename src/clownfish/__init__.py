"""A folder of labelled photos goes in; a classifier comes out, with the truth about how good it is.

    import clownfish

    run = clownfish.train("photos")            # one folder a class
    run.metrics["cross_validated"]["accuracy"]
    run.classifier.predict("new.jpg").label

The names below are all there is to the public interface. They are imported when first used, so that
`import clownfish` is quick.
"""

import importlib
import os

# Type checkers know the name; to import `typing` takes a while, in which Ctrl-C would show a traceback.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from clownfish.api import audit as audit
    from clownfish.api import compare as compare
    from clownfish.api import count as count
    from clownfish.api import evaluate as evaluate
    from clownfish.api import export_model as export_model
    from clownfish.api import predict as predict
    from clownfish.api import render_report as render_report
    from clownfish.api import train as train
    from clownfish.errors import BackboneError as BackboneError
    from clownfish.errors import ClownfishError as ClownfishError
    from clownfish.errors import ConfigError as ConfigError
    from clownfish.errors import ModelFileError as ModelFileError
    from clownfish.errors import OutputError as OutputError
    from clownfish.errors import PhotosError as PhotosError
    from clownfish.errors import RunFolderError as RunFolderError
    from clownfish.errors import UnusablePhotoError as UnusablePhotoError
    from clownfish.pipeline.audit import Audit as Audit
    from clownfish.pipeline.compare import Comparison as Comparison
    from clownfish.pipeline.count import CountTable as CountTable
    from clownfish.pipeline.diagnosis import Diagnosis as Diagnosis
    from clownfish.pipeline.doctor import examine_installation as doctor
    from clownfish.pipeline.evaluate import Evaluation as Evaluation
    from clownfish.pipeline.export import Export as Export
    from clownfish.pipeline.run import Run as Run
    from clownfish.prediction.classifier import Classifier as Classifier
    from clownfish.prediction.classifier import Prediction as Prediction
    from clownfish.prediction.classifier import load_classifier as load

# ONNX Runtime 1.32 has telemetry on Linux too: when imported, it writes an identifier of the computer and a queue of
# events for Microsoft into ~/.cache. Nothing here leaves the computer, so this has to be set before that import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "BackboneError": "clownfish.errors",
    "Classifier": "clownfish.prediction.classifier",
    "ClownfishError": "clownfish.errors",
    "ConfigError": "clownfish.errors",
    "Audit": "clownfish.pipeline.audit",
    "Comparison": "clownfish.pipeline.compare",
    "CountTable": "clownfish.pipeline.count",
    "Diagnosis": "clownfish.pipeline.diagnosis",
    "Evaluation": "clownfish.pipeline.evaluate",
    "Export": "clownfish.pipeline.export",
    "ModelFileError": "clownfish.errors",
    "OutputError": "clownfish.errors",
    "PhotosError": "clownfish.errors",
    "Prediction": "clownfish.prediction.classifier",
    "Run": "clownfish.pipeline.run",
    "RunFolderError": "clownfish.errors",
    "UnusablePhotoError": "clownfish.errors",
    "audit": "clownfish.api",
    "compare": "clownfish.api",
    "count": "clownfish.api",
    "doctor": "clownfish.pipeline.doctor:examine_installation",
    "evaluate": "clownfish.api",
    "export_model": "clownfish.api",
    "load": "clownfish.prediction.classifier:load_classifier",
    "predict": "clownfish.api",
    "render_report": "clownfish.api",
    "train": "clownfish.api",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 (a list of names, only made from the table above)


def __getattr__(name: str) -> "Any":
    if name in _HOMES:
        module, _, attribute = _HOMES[name].partition(":")
        return getattr(importlib.import_module(module), attribute or name)
    raise AttributeError(f"module 'clownfish' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
