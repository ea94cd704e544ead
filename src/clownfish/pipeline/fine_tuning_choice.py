"""Whether the tuned network is better than the frozen one, and the same in PyTorch and in ONNX."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.errors import ModelFileError
from clownfish.evaluation.paired import PairedTest, compare_paired

MAX_PARITY_DIFFERENCE = 1e-4
"""Between PyTorch's and ONNX Runtime's probabilities of one photo."""


def choose(
    labels: NDArray[np.int64], groups: NDArray[np.int64], frozen: NDArray[np.float64], tuned: NDArray[np.float64]
) -> tuple[dict[str, Any], str]:
    """Decide by photos that neither side had seen.

    Args:
        labels: class of each photo, shape (num_photos,).
        groups: number of each photo's group, shape (num_photos,).
        frozen: probabilities by networks that stayed as they were, shape (num_photos, num_classes).
        tuned: likewise by tuned ones.

    Returns:
        Keys of "fine_tuning" in metrics.json, and the sentence among them.
    """
    frozen_right, tuned_right = frozen.argmax(axis=1) == labels, tuned.argmax(axis=1) == labels
    test = compare_paired(frozen_right, tuned_right, groups)
    sentence = describe_choice(test)
    metrics = {
        "kept": test.low > 0,
        "num_photos": test.num_photos,
        "num_groups": test.num_groups,
        "frozen_accuracy": float(frozen_right.mean()),
        "tuned_accuracy": float(tuned_right.mean()),
        "difference": {"value": test.difference, "low": test.low, "high": test.high},
        "p_value": test.p_value,
        "reason": sentence,
    }
    return metrics, sentence


def describe_choice(test: PairedTest) -> str:
    """Say what the comparison found, in points of accuracy.

    Args:
        test: frozen first, tuned second.

    Returns:
        One sentence.
    """
    points = f"{100 * test.difference:+.1f} points ({100 * test.low:.1f} to {100 * test.high:.1f})"
    photos = f"on {test.num_photos:,} photos that neither had seen"
    if test.low > 0:
        return f"Fine-tuning was kept: {points} {photos}."
    return f"Fine-tuning is not better: {points} {photos}; kept the simpler model."


def check_parity(of_torch: NDArray[np.float64], of_onnx: NDArray[np.float64]) -> float:
    """Compare what PyTorch and the ONNX graph say of the same photos.

    Args:
        of_torch: probabilities, shape (num_photos, num_classes).
        of_onnx: likewise.

    Returns:
        The largest difference.

    Raises:
        ModelFileError: it is more than 1e-4.
    """
    difference = float(np.abs(of_torch - of_onnx).max(initial=0.0))
    if not difference <= MAX_PARITY_DIFFERENCE:
        raise ModelFileError(
            f"The fine-tuned model differs between PyTorch and ONNX by {difference:.2g} in probability, more than the"
            f" {MAX_PARITY_DIFFERENCE:g} allowed. Please report this: it is a fault of clownfish."
        )
    return difference
