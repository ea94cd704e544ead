"""Every error that clownfish raises on purpose.

    ClownfishError
    ├── ConfigError          an option, a flag or a config file does not make sense
    ├── PhotosError          the folder or the CSV cannot be trained on (lists every problem)
    ├── UnusablePhotoError   one photo cannot be read (becomes a reported row, never a crash)
    ├── BackboneError        the pre-trained weights are missing, changed or unknown
    ├── ModelFileError       the file is not a model that clownfish made
    ├── ExportError          an exported model disagrees with its original
    ├── RunFolderError       the folder is not one of a training run, or is damaged
    ├── OutputError          a result cannot be written where it was asked for
    ├── ForecastError        a forecast is asked for that the photos cannot support
    ├── FineTuningError      fine-tuning could not be carried to its end; the frozen model is there
    ├── WorkerError          the helper processes cannot be started
    └── MissingExtraError    an optional dependency is not installed

The command line turns each of them into one message and exit code 2; a traceback is a bug.
"""

from collections.abc import Sequence


class ClownfishError(Exception):
    """Base of every error that is meant for the user."""


class ConfigError(ClownfishError):
    """An option, a flag or a config file does not make sense."""


class PhotosError(ClownfishError):
    """The photos cannot be trained on; carries all problems found, not only the first."""

    def __init__(self, problems: Sequence[str]) -> None:
        """Join the problems into one message.

        Args:
            problems: one sentence each: what was found, what is needed, what to do.
        """
        self.problems = tuple(problems)
        if len(self.problems) == 1:
            message = self.problems[0]
        else:
            lines = "\n".join(f"  {number}. {text}" for number, text in enumerate(problems, start=1))
            message = f"{len(self.problems)} problems with the photos:\n{lines}"
        super().__init__(message)


class UnusablePhotoError(ClownfishError):
    """One photo cannot be read; the message is the note in its row of photos.csv."""


class BackboneError(ClownfishError):
    """The pre-trained weights are missing, changed or unknown."""


class ModelFileError(ClownfishError):
    """The file is not a model that clownfish made, or is damaged."""


class ExportError(ClownfishError):
    """An exported model disagrees with its original, or could not be checked."""


class RunFolderError(ClownfishError):
    """The folder is not one that a training run has left, or a file in it is missing or damaged."""


class OutputError(ClownfishError):
    """A result cannot be written where it was asked for."""


class ForecastError(ClownfishError):
    """A forecast is asked for that the photos at hand cannot support."""


class FineTuningError(ClownfishError):
    """Fine-tuning could not be carried to its end; what was trained before it is not lost."""


class WorkerError(ClownfishError):
    """The helper processes that decode photos cannot be started."""


class MissingExtraError(ClownfishError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        """Name the command that installs it.

        Args:
            what: what the user asked for, as the subject of a sentence.
            extra: name of the optional dependency group.
        """
        super().__init__(f"{what} needs the extra '{extra}'. Install it: pip install 'clownfish[{extra}]'")
