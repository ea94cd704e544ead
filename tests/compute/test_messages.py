import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from clownfish.compute.worker import find_function, read_message, write_message

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
ARRAYS = npst.arrays(
    st.sampled_from([np.uint8, np.float32, np.int64, np.bool_, np.dtype(">u2")]),
    npst.array_shapes(min_dims=0, min_side=0),
)


def pack(message: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    write_message(stream, message)
    return stream.getvalue()


@given(st.lists(st.dictionaries(st.text(), JSON | ARRAYS, max_size=4), max_size=3))
def test_messages_come_back_as_they_were(messages: list[dict[str, Any]]) -> None:
    stream = io.BytesIO(b"".join(pack(message) for message in messages))
    for message in messages:
        found = read_message(stream)
        assert found is not None and found.keys() == message.keys()
        for name, value in message.items():
            if isinstance(value, np.ndarray):
                assert found[name].dtype == value.dtype and found[name].shape == value.shape
                assert found[name].tobytes() == value.tobytes()
            else:
                assert found[name] == value
    assert read_message(stream) is None


def test_arrays_in_any_memory_order_are_sent() -> None:
    array = np.arange(12).reshape(3, 4)
    for sent in (array.T, array[:, ::2], np.asfortranarray(array)):
        found = read_message(io.BytesIO(pack({"array": sent})))
        assert found is not None and np.array_equal(found["array"], sent)


def test_message_cut_anywhere_counts_as_none() -> None:
    data = pack({"hash": "ab", "pixels": np.arange(20, dtype=np.uint8)})
    for length in range(len(data)):
        assert read_message(io.BytesIO(data[:length])) is None


def test_value_that_json_cannot_hold_is_an_error() -> None:
    with pytest.raises(TypeError):
        pack({"value": object()})


def test_function_is_found_by_module_and_name() -> None:
    assert find_function("os.path:join")("a", "b").startswith("a")  # type: ignore[call-arg, arg-type, union-attr]
    with pytest.raises(AttributeError):
        find_function("os.path:no_such_function")
    with pytest.raises(ModuleNotFoundError):
        find_function("no_such_module:function")
