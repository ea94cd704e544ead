"""Read a PyTorch state dict of the legacy (pre-1.6) format, without PyTorch.

Such a file is five pickles in a row (magic number, protocol version, system information, the state
dict, the list of storage keys), then for each key the number of elements as a little-endian int64
and the raw elements. Pickles can run code, so this reader allows three names and nothing else, and
`backbones` calls it only after the file's SHA-256 was found to be the known one.
"""

import pickle
from collections import OrderedDict
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.errors import BackboneError

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
_STORAGE_TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Storage:
    """Stand-in for a torch storage: filled after the pickles are read, viewed by `_rebuild`."""

    def __init__(self, dtype: np.dtype[Any], num_elements: int) -> None:
        self.values: NDArray[Any] = np.empty(num_elements, dtype)


class _Tensor:
    """What `torch._utils._rebuild_tensor_v2` is called with; becomes an array at the end."""

    def __init__(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
    ) -> None:
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def to_array(self) -> NDArray[Any]:
        values = self.storage.values[self.offset :]
        span = sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        if self.offset < 0 or span >= len(values) or min(self.strides, default=0) < 0:
            raise BackboneError("The weights file is damaged: a tensor reaches beyond its storage.")
        byte_strides = [stride * values.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(values, self.shape, byte_strides, writeable=False)
        return np.array(view, order="C")


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BytesIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in _STORAGE_TYPES:
            return _STORAGE_TYPES[name]
        raise BackboneError(
            f"The weights file asks for {module}.{name}, which weights have no use for. Do not trust it."
        )

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _device, num_elements, view = pid
        if kind != "storage" or view is not None:
            raise BackboneError(f"The weights file holds a {kind!r} that this reader does not know.")
        return self.storages.setdefault(key, _Storage(dtype, num_elements))


def read_state_dict(data: bytes) -> dict[str, NDArray[Any]]:
    """Read the tensors of a legacy state dict, in the file's order.

    Args:
        data: the whole file.

    Returns:
        Name to array; float32 or int64.

    Raises:
        BackboneError: the file is no legacy state dict, is cut short, or asks for forbidden names.
    """
    file = BytesIO(data)
    unpickler = _Unpickler(file)
    try:
        header = (unpickler.load(), unpickler.load())
        if header != (_MAGIC_NUMBER, _PROTOCOL_VERSION):
            raise BackboneError("The weights file is not a PyTorch state dict of the legacy format.")
        unpickler.load()  # system information: always little-endian in the files known by hash
        tensors = unpickler.load()
        keys = unpickler.load()
        for key in keys:
            _fill_storage(unpickler.storages[key], file)
        return {name: tensor.to_array() for name, tensor in tensors.items()}
    except BackboneError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything, MemoryError and OverflowError among it
        raise BackboneError(f"The weights file cannot be read: {error}.") from error


def _fill_storage(storage: _Storage, file: BytesIO) -> None:
    num_elements = int.from_bytes(file.read(8), "little")
    raw = file.read(storage.values.nbytes)
    if num_elements != len(storage.values) or len(raw) != storage.values.nbytes:
        raise BackboneError("The weights file is cut short.")
    storage.values[:] = np.frombuffer(raw, storage.values.dtype)
