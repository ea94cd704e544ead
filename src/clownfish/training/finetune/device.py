"""Where fine-tuning computes, in which precision, and how batches get there.

The only module that knows one kind of device from another. Draws (order, dropout, mixing) are made on the CPU whatever
computes, so they are the same everywhere; checkpoints hold CPU tensors, so any device goes on from them.
"""

import contextlib
import functools
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from clownfish.errors import ConfigError

_PREFERRED = ("cuda", "mps", "cpu")


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """One processor, or graphics card."""

    kind: str
    """As PyTorch calls it: cpu, cuda or mps."""
    name: str
    """As its maker calls it."""
    precision: str
    """Of the products while learning: bfloat16 or float32. Photos are always classified in float32."""

    def autocast(self) -> AbstractContextManager[Any]:
        """Multiply in the precision of learning for as long as the context lasts."""
        if self.precision == "float32":
            return contextlib.nullcontext()
        context: AbstractContextManager[Any] = torch.autocast(self.kind, torch.bfloat16)
        return context

    def place(self, tensor: Any) -> Any:
        """Copy a tensor there, if it is not there already; the order of its places in memory stays."""
        return tensor.to(self.kind)

    def send(self, tensors: tuple[Any, ...]) -> tuple[Any, ...]:
        """Bring a batch there, ahead of the step that uses it, from the thread that loads batches.

        Args:
            tensors: on the CPU.

        Returns:
            For `receive`. With CUDA the copy is done, in a stream of its own beside the step under way.
        """
        if self.kind != "cuda":
            return tensors
        stream = _open_copy_stream()
        with torch.cuda.stream(stream):
            sent = tuple(tensor.pin_memory().to(self.kind, non_blocking=True) for tensor in tensors)
        stream.synchronize()  # this thread waits, the step does not; until then the pinned memory is in use
        return sent

    def receive(self, tensors: tuple[Any, ...]) -> tuple[Any, ...]:
        """Take over a batch in the thread that steps.

        Args:
            tensors: of `send`.

        Returns:
            On this device.
        """
        if self.kind != "cuda":
            return tuple(self.place(tensor) for tensor in tensors)
        for tensor in tensors:  # or the stream that copies could fill its memory anew while the step still reads it
            tensor.record_stream(torch.cuda.current_stream())
        return tensors


def choose_device(wanted: str) -> Device:
    """Find the device to use.

    Args:
        wanted: cpu, cuda or mps; auto for the quickest that there is.

    Returns:
        The device.

    Raises:
        ConfigError: it is not there, or does not work.
    """
    for kind in _PREFERRED if wanted == "auto" else (wanted,):
        fault = _find_fault(kind)
        if fault is None:
            return _describe(kind)
    raise ConfigError(
        f"--device {wanted} cannot be used: {fault}. Leave it out, or use --device cpu; fine-tuning is slower then."
    )


def has_quick_bfloat16() -> bool:
    """Whether the processor multiplies numbers of 16 bits; without it they would be slower than those of 32."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _find_fault(kind: str) -> str | None:
    """Why a kind of device does not work; None if it does."""
    if kind == "cuda" and not torch.cuda.is_available():
        if torch.version.cuda is None:
            return f"PyTorch {torch.__version__} was built without CUDA; https://pytorch.org has builds with it"
        return (
            f"PyTorch {torch.__version__}, built for CUDA {torch.version.cuda}, finds no NVIDIA card with a driver for"
            " it; nvidia-smi tells whether there is one"
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        return f"PyTorch {torch.__version__} finds no graphics processor of Apple, which Macs with Apple silicon have"
    try:  # a card can be too old for this PyTorch, or in use by another program alone
        torch.zeros(1, device=kind).add(1).cpu()
    except Exception as error:  # noqa: BLE001 (drivers raise many things)
        return f"it is there, but does not compute ({(str(error).strip().splitlines() or [type(error).__name__])[0]})"
    return None


def _describe(kind: str) -> Device:
    if kind == "cpu":
        return Device(kind=kind, name="processor", precision="bfloat16" if has_quick_bfloat16() else "float32")
    if kind == "mps":  # its products of 16 bits were not measured
        return Device(kind=kind, name="Apple graphics processor", precision="float32")
    # products of 32 bits are whole ones, for photos are classified as the ONNX graph does it
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    is_quick = torch.cuda.is_bf16_supported(including_emulation=False)
    return Device(kind=kind, name=torch.cuda.get_device_name(), precision="bfloat16" if is_quick else "float32")


@functools.cache
def _open_copy_stream() -> Any:
    return torch.cuda.Stream()
