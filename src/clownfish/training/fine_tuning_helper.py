"""The process that fine-tunes, as it is asked from this one, which imports no PyTorch."""

from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec

from clownfish.compute import Helpers, Message, WorkerFailure, run_in_workers
from clownfish.errors import ConfigError, FineTuningError, MissingExtraError, OutputError, WorkerError

_FUNCTION = "clownfish.training.finetune.worker:handle_request"
_MODULES = ("torch", "torchvision", "safetensors")
_EPOCH_SECONDS = 24 * 3600.0
_NUM_ATTEMPTS = 2


def check_extra() -> None:
    """Find out early whether fine-tuning is possible, without importing PyTorch.

    Raises:
        MissingExtraError: the extra is not installed.
    """
    if any(find_spec(name) is None for name in _MODULES):
        raise MissingExtraError("Fine-tuning", "finetune")


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceFacts:
    """What computes."""

    kind: str
    """cpu, cuda or mps."""
    name: str
    """As its maker calls it."""
    precision: str
    """bfloat16 or float32, while the network learns."""


class TuningHelper:
    """One process, for as long as the context lasts."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._helpers = Helpers()

    def __enter__(self) -> "TuningHelper":
        """Keep the process while the context lasts."""
        self._helpers.__enter__()
        return self

    def __exit__(self, *reason: object) -> None:
        """End the process."""
        self._helpers.__exit__(*reason)

    def ask(self, request: Message) -> Message:
        """Send a request; a helper that dies is replaced once, and goes on from the last checkpoint.

        Args:
            request: for `training.finetune.worker`.

        Returns:
            The answer.

        Raises:
            FineTuningError: the process does not start, or ended twice, or the memory of a graphics card ran out.
            OutputError: it cannot write a file.
        """
        failure: WorkerFailure | None = None
        for _ in range(_NUM_ATTEMPTS):
            answer = self._send(request)
            if isinstance(answer, WorkerFailure):
                failure = answer
                continue
            if "refused" in answer:
                raise OutputError(answer["refused"])
            if "exhausted" in answer:
                raise FineTuningError(
                    "the memory of the graphics card ran out; try a smaller --batch-size, or --device cpu"
                )
            if "fault" in answer:
                raise RuntimeError(f"in the process that fine-tunes:\n{answer['fault']}")
            return answer
        raise FineTuningError(
            f"the process that fine-tunes ended twice ({failure}); memory may have run out, so try a smaller"
            " --batch-size"
        )

    def find_device(self, wanted: str) -> DeviceFacts:
        """Find out what would compute.

        Args:
            wanted: auto, cpu, cuda or mps.

        Returns:
            What is known of it.

        Raises:
            ConfigError: it is not there, or does not work.
            FineTuningError: the process does not start, or ended twice.
        """
        answer = self.ask({"task": "device", "wanted": wanted})
        if "unavailable" in answer:
            raise ConfigError(answer["unavailable"])
        return DeviceFacts(kind=answer["device"], name=answer["name"], precision=answer["precision"])

    def _send(self, request: Message) -> Message | WorkerFailure:
        def take(_: Message, answer: Message | WorkerFailure) -> Message | WorkerFailure:
            return answer

        work = run_in_workers(
            [request],
            function=_FUNCTION,
            finish=take,
            num_workers=1,  # a process of its own, even where photos are read in this one
            timeout_seconds=_EPOCH_SECONDS,
            memory_bytes=0,
            helpers=self._helpers,
        )
        try:
            with closing(work) as outcomes:
                return next(outcomes).result
        except WorkerError as error:
            raise FineTuningError(
                "the process that fine-tunes does not start; find out why with: python -c 'import torch, torchvision,"
                " safetensors'"
            ) from error
