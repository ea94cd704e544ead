import io
import os
import pickle
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clownfish.backbones.state_dict import read_state_dict
from clownfish.errors import BackboneError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class FloatStorage:
    __module__ = "torch"


class LongStorage:
    __module__ = "torch"


class DoubleStorage:
    __module__ = "torch"


def _rebuild_tensor_v2(*_: object) -> None: ...


_rebuild_tensor_v2.__module__ = "torch._utils"


class Storage:
    def __init__(self, key: str, values: np.ndarray, kind: type = FloatStorage, **changes: Any) -> None:
        self.key, self.values, self.kind = key, values, kind
        self.tag, self.view = changes.get("tag", "storage"), changes.get("view")
        self.num_elements = changes.get("num_elements", values.size)


class Tensor:
    def __init__(self, storage: Storage, offset: Any, shape: Any, strides: Any) -> None:
        self.arguments = (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self) -> Any:
        return _rebuild_tensor_v2, self.arguments


class TorchPickler(pickle.Pickler):
    def persistent_id(self, thing: object) -> Any:
        if isinstance(thing, Storage):
            return (thing.tag, thing.kind, thing.key, "cpu", thing.num_elements, thing.view)
        return None


@contextmanager
def pretend_torch_is_installed() -> Iterator[None]:
    """Pickle writes a global only after finding it where it says it lives."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    for storage in (FloatStorage, LongStorage, DoubleStorage):
        setattr(torch, storage.__name__, storage)
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    torch._utils = utils  # type: ignore[attr-defined]
    kept = {name: sys.modules.pop(name, None) for name in ("torch", "torch._utils")}
    sys.modules.update({"torch": torch, "torch._utils": utils})
    try:
        yield
    finally:
        for name, module in kept.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


def write_file(content: object, *storages: Storage, magic: int = MAGIC, protocol: int = PROTOCOL) -> bytes:
    """What torch.save wrote before version 1.6."""
    file = io.BytesIO()
    with pretend_torch_is_installed():
        for part in (magic, protocol, {"little_endian": True}, content, [storage.key for storage in storages]):
            TorchPickler(file, protocol=2).dump(part)
    for storage in storages:
        file.write(storage.values.size.to_bytes(8, "little") + storage.values.tobytes())
    return file.getvalue()


def write_one(values: np.ndarray, *, offset: Any = 0, shape: Any = None, strides: Any = None, **changes: Any) -> bytes:
    storage = Storage("0", values, LongStorage if values.dtype == np.int64 else FloatStorage, **changes)
    shape = (values.size,) if shape is None else shape
    strides = (1,) if strides is None else strides
    return write_file(OrderedDict(a=Tensor(storage, offset, shape, strides)), storage)


NUMBERS = np.arange(12, dtype=np.float32)


def test_tensors_come_in_the_order_of_the_file() -> None:
    first, second = Storage("7", NUMBERS), Storage("3", np.array([5], np.int64), LongStorage)
    content = OrderedDict(z=Tensor(first, 0, (3, 4), (4, 1)), a=Tensor(second, 0, (), ()))
    tensors = read_state_dict(write_file(content, second, first))
    assert list(tensors) == ["z", "a"]
    assert np.array_equal(tensors["z"], NUMBERS.reshape(3, 4)) and tensors["z"].dtype == np.float32
    assert tensors["a"] == 5 and tensors["a"].dtype == np.int64 and tensors["a"].shape == ()


def test_transposed_and_shared_storage_is_understood() -> None:
    storage = Storage("0", NUMBERS)
    content = OrderedDict(turned=Tensor(storage, 0, (4, 3), (1, 4)), tail=Tensor(storage, 10, (2,), (1,)))
    tensors = read_state_dict(write_file(content, storage))
    assert np.array_equal(tensors["turned"], NUMBERS.reshape(3, 4).T)
    assert tensors["tail"].tolist() == [10.0, 11.0]


def test_empty_tensor_is_read() -> None:
    assert read_state_dict(write_one(np.zeros(0, np.float32)))["a"].shape == (0,)


@pytest.mark.parametrize(
    "bounds",
    [
        {"shape": (13,)},
        {"offset": 1, "shape": (12,)},
        {"offset": 12, "shape": (1,)},
        {"shape": (3, 5), "strides": (4, 1)},
        {"shape": (2,), "strides": (10**18,)},
        {"shape": (2,), "strides": (-1,)},
        {"offset": -3, "shape": (2,)},
    ],
)
def test_tensor_beyond_its_storage_is_refused(bounds: dict[str, Any]) -> None:
    with pytest.raises(BackboneError, match=r"^The weights file is damaged: a tensor reaches beyond its storage\.$"):
        read_state_dict(write_one(NUMBERS, **bounds))


@pytest.mark.parametrize(
    "bounds", [{"shape": (2, 2)}, {"shape": "ab"}, {"offset": None}, {"shape": None, "strides": 5}]
)
def test_tensor_described_by_nonsense_is_refused(bounds: dict[str, Any]) -> None:
    with pytest.raises(BackboneError, match=r"^The weights file cannot be read: "):
        read_state_dict(write_one(NUMBERS, **bounds))


class Malice:
    def __init__(self, call: Any, *arguments: object) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


@pytest.mark.parametrize("position", [0, 1, 2, 3, 4])
@pytest.mark.parametrize(
    ("call", "name"),
    [(os.system, r"(posix|nt)\.system"), (eval, r"(__builtin__|builtins)\.eval"), (getattr, "getattr")],
)
def test_forbidden_global_is_named_and_never_called(tmp_path: Any, position: int, call: Any, name: str) -> None:
    canary = tmp_path / "canary"
    command = f"touch {canary}" if call is os.system else f"open({str(canary)!r}, 'w')"
    parts: list[object] = [MAGIC, PROTOCOL, {}, OrderedDict(), []]
    parts[position] = Malice(call, command)
    data = b"".join(pickle.dumps(part, protocol=2) for part in parts)
    with pytest.raises(BackboneError, match=rf"asks for .*{name}, which weights have no use for\. Do not trust it\."):
        read_state_dict(data)
    assert not canary.exists()


def test_storage_type_that_weights_do_not_need_is_refused() -> None:
    storage = Storage("0", np.zeros(3), DoubleStorage)
    data = write_file(OrderedDict(a=Tensor(storage, 0, (3,), (1,))), storage)
    with pytest.raises(BackboneError, match=r"asks for torch\.DoubleStorage, which weights have no use for"):
        read_state_dict(data)


@pytest.mark.parametrize("changes", [{"tag": "module"}, {"view": ("1", 0, 3)}])
def test_persistent_objects_other_than_storages_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BackboneError, match=r"holds a '(module|storage)' that this reader does not know\."):
        read_state_dict(write_one(NUMBERS, **changes))


@pytest.mark.parametrize("changes", [{"magic": 1}, {"protocol": 1002}])
def test_wrong_magic_number_or_protocol_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(BackboneError, match=r"^The weights file is not a PyTorch state dict of the legacy format\.$"):
        read_state_dict(write_file(OrderedDict(), **changes))


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04 a zip, as newer PyTorch writes", b"\x80\x02.", b"hello", b"\x00" * 50]
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(BackboneError, match=r"^The weights file cannot be read: "):
        read_state_dict(data)


def test_file_cut_at_any_byte_is_refused() -> None:
    data = write_one(NUMBERS)
    read_state_dict(data)
    for length in range(len(data)):
        with pytest.raises(BackboneError, match=r"cannot be read|cut short"):
            read_state_dict(data[:length])


@pytest.mark.parametrize("num_elements", [11, 13])
def test_storage_of_another_length_is_refused(num_elements: int) -> None:
    with pytest.raises(BackboneError, match=r"^The weights file is cut short\.$"):
        read_state_dict(write_one(NUMBERS, num_elements=num_elements, shape=(1,)))


@pytest.mark.parametrize("num_elements", [-1, 1 << 62, 1 << 80, "many"])
def test_storage_of_impossible_length_is_refused(num_elements: Any) -> None:
    with pytest.raises(BackboneError, match=r"^The weights file cannot be read: "):
        read_state_dict(write_one(NUMBERS, num_elements=num_elements, shape=(1,)))


@pytest.mark.parametrize("content", [5, [1, 2], OrderedDict(a=5)])
def test_pickle_of_something_else_is_refused(content: object) -> None:
    with pytest.raises(BackboneError, match=r"^The weights file cannot be read: "):
        read_state_dict(write_file(content))


@given(st.binary(max_size=200))
def test_random_bytes_raise_only_the_one_error(data: bytes) -> None:
    with pytest.raises(BackboneError):
        read_state_dict(data)


@given(st.data())
def test_changed_bytes_raise_only_the_one_error(data: st.DataObject) -> None:
    content = bytearray(write_one(NUMBERS))
    end_of_pickles = len(content) - 8 - NUMBERS.nbytes
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, end_of_pickles - 1))] = data.draw(st.integers(0, 255))
    try:
        read_state_dict(bytes(content))
    except BackboneError:
        pass
