"""The process that fine-tunes, as it is asked from this one, which imports no PyTorch."""

from contextlib import closing
from importlib.util import find_spec

from clownfish.compute import Helpers, Message, WorkerFailure, run_in_workers
from clownfish.errors import FineTuningError, MissingExtraError, OutputError, WorkerError

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
            FineTuningError: the process does not start, or ended twice.
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
            if "fault" in answer:
                raise RuntimeError(f"in the process that fine-tunes:\n{answer['fault']}")
            return answer
        raise FineTuningError(
            f"the process that fine-tunes ended twice ({failure}); memory may have run out, so try a smaller"
            " --batch-size"
        )

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
