"""The labels alone, for apps that keep them beside a model."""

from collections.abc import Sequence

from clownfish.errors import ExportError


def format_labels(classes: Sequence[str]) -> bytes:
    """One label a line, in the order of the probabilities.

    Args:
        classes: the labels.

    Returns:
        The content of the file, UTF-8.

    Raises:
        ExportError: a label is not one line; all that follow would be given to other numbers.
    """
    for label in classes:
        if label.splitlines() != [label]:
            raise ExportError(
                f"The label {label!r} is not one line, and phones read one label a line. Give that class another name"
                " and train again, or export with --to onnx."
            )
    return "".join(f"{label}\n" for label in classes).encode()
