"""The labels alone, for apps that keep them beside a model."""

from collections.abc import Sequence


def format_labels(classes: Sequence[str]) -> bytes:
    """One label a line, in the order of the probabilities.

    Args:
        classes: the labels.

    Returns:
        The content of the file, UTF-8.
    """
    return "".join(f"{label}\n" for label in classes).encode()
