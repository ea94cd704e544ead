"""A TensorFlow Lite file that `clownfish export` wrote, run by LiteRT on one core for each caller."""

import contextlib
import io
import json
import os
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.errors import MissingExtraError, ModelFileError
from clownfish.files import compute_facts_seal
from clownfish.prediction.networks import PLAIN_PROPERTIES, refuse_changed, refuse_foreign

_LABELS_FILE = "labels.txt"
_FACTS_FILE = "clownfish.json"
_LOCK = threading.Lock()


class TfliteNetwork:
    """A TensorFlow Lite model of clownfish's; see `networks.Network`.

    An interpreter serves one thread at a time, so every thread gets its own. The file is checked before any of them
    sees it.
    """

    def __init__(self, path: Path, data: bytes) -> None:
        """Open the model.

        Args:
            path: where it came from, for messages.
            data: the file's content.

        Raises:
            ModelFileError: the data is no such model.
            MissingExtraError: the extra is not installed.
        """
        self._model, self._facts = _read_archive(path, data)
        self.metadata = {
            name: content if name in PLAIN_PROPERTIES else json.dumps(content, ensure_ascii=False)
            for name, content in self._facts.items()
        }
        self._own = threading.local()
        if not self.is_sealed():
            raise refuse_changed(path)  # before anything of it is run
        try:
            interpreter = self._find_interpreter()
        except ImportError as error:
            raise MissingExtraError("To run a TensorFlow Lite file, clownfish", "tflite") from error
        except (RuntimeError, ValueError) as error:
            raise ModelFileError(f"{path} cannot be run by the TensorFlow Lite installed here: {error}.") from error
        self.input_shape: tuple[int, ...] = tuple(interpreter.get_input_details()[0]["shape"].tolist()[1:])
        self.output_widths = {output["name"]: int(output["shape"][-1]) for output in _list_outputs(interpreter)}

    def run(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Compute every output; see `networks.Network.run`."""
        interpreter = self._find_interpreter()
        image = interpreter.get_input_details()[0]
        if image["shape"][0] != len(pixels):
            interpreter.resize_tensor_input(image["index"], pixels.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(image["index"], pixels)
        interpreter.invoke()
        return {output["name"]: interpreter.get_tensor(output["index"]) for output in _list_outputs(interpreter)}

    def is_sealed(self) -> bool:
        """Tell whether the file is as clownfish wrote it."""
        return bool(self._facts.get("seal") == compute_facts_seal(self._model, self._facts))

    def _find_interpreter(self) -> Any:
        if not hasattr(self._own, "interpreter"):
            from ai_edge_litert.interpreter import Interpreter

            with _LOCK, _silence():
                self._own.interpreter = Interpreter(model_content=self._model, num_threads=1)
                self._own.interpreter.allocate_tensors()
        return self._own.interpreter


def _list_outputs(interpreter: Any) -> list[dict[str, Any]]:
    """Those that are one vector a photo; the model of a web page has others, for where it looks."""
    return [output for output in interpreter.get_output_details() if len(output["shape"]) == 2]


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the runtime from writing to standard error which of its parts it has started; it offers no switch."""
    try:
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # there is no standard error
        yield
        return
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _read_archive(path: Path, data: bytes) -> tuple[bytes, dict[str, Any]]:
    """The model, and what clownfish wrote into the archive behind it."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            if any(entries[name].compress_type != zipfile.ZIP_STORED for name in (_LABELS_FILE, _FACTS_FILE)):
                raise refuse_foreign(path)
            labels, facts = archive.read(_LABELS_FILE).decode(), json.loads(archive.read(_FACTS_FILE))
    except (zipfile.BadZipFile, KeyError, ValueError, RecursionError, NotImplementedError, OSError) as error:
        raise refuse_foreign(path) from error
    if not isinstance(facts, dict) or "clownfish.format" not in facts:
        raise refuse_foreign(path)
    if labels.splitlines() != facts.get("labels"):
        raise refuse_changed(path)
    return data[: min(entry.header_offset for entry in entries.values())], facts
