"""How small and how large the numbers inside a network get, on photos like those to come."""

from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper


def measure_ranges(
    model: bytes, names: Sequence[str], pictures: Iterable[NDArray[np.uint8]]
) -> dict[str, tuple[float, float]]:
    """Find the smallest and largest value of tensors over pictures (min-max calibration).

    Args:
        model: the content of `model.onnx`.
        names: of tensors inside it.
        pictures: at least one, each of shape (size, size, 3).

    Returns:
        Smallest and largest value by name.
    """
    import onnxruntime

    observed = onnx.load_from_string(model)
    del observed.graph.output[:]
    for name in names:
        for kind in ("ReduceMin", "ReduceMax"):  # in the graph, so that only two numbers of each tensor leave it
            output = f"{name}.{kind}"
            observed.graph.node.append(helper.make_node(kind, [name], [output], keepdims=0))
            observed.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, []))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(observed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = np.array([session.run(None, {"image": picture[None]}) for picture in pictures])
    lowest, highest = found[:, 0::2].min(axis=0), found[:, 1::2].max(axis=0)
    return {name: (float(low), float(high)) for name, low, high in zip(names, lowest, highest, strict=True)}
