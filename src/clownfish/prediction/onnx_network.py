"""`model.onnx`, run by ONNX Runtime on one core for each caller."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clownfish.errors import ModelFileError
from clownfish.files import compute_seal
from clownfish.prediction.networks import refuse_foreign

_EXTERNAL_DATA_MARK = b"\x0a\x08location\x12"
"""How a tensor that is stored in another file begins to name it (StringStringEntryProto, key "location")."""


class OnnxNetwork:
    """An ONNX model of clownfish's; see `networks.Network`."""

    def __init__(self, path: Path, data: bytes) -> None:
        """Open the model.

        Args:
            path: where it came from, for messages.
            data: the file's content.

        Raises:
            ModelFileError: the data is no such model.
        """
        import onnxruntime

        if _EXTERNAL_DATA_MARK in data:
            raise ModelFileError(f"The model {path} keeps weights in other files, which is refused. Use the original.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        except Exception as error:  # ONNX Runtime's errors share no class but this
            raise ModelFileError(f"{path} is not an ONNX model, or it is damaged.") from error
        if "clownfish.format" not in self.metadata:
            raise refuse_foreign(path)
        inputs = {node.name: tuple(node.shape[1:]) for node in self._session.get_inputs()}
        self.input_shape = inputs.get("image", ()) if len(inputs) == 1 else ()
        self.output_widths = {node.name: (*node.shape[1:], 0)[0] for node in self._session.get_outputs()}
        self._data = data

    def run(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Compute every output; see `networks.Network.run`."""
        names = list(self.output_widths)
        return dict(zip(names, self._session.run(names, {"image": pixels}), strict=True))

    def is_sealed(self) -> bool:
        """Tell whether the file is as clownfish wrote it."""
        seal, created = self.metadata.get("seal", ""), self.metadata.get("created", "")
        return compute_seal(self._data, seal, created) == seal
