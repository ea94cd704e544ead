import pytest

from clownfish import errors
from clownfish.errors import ClownfishError, MissingExtraError, PhotosError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_one_of_clownfish_and_is_drawn_in_the_tree(kind: type[Exception]) -> None:
    assert issubclass(kind, ClownfishError)
    assert errors.__doc__ is not None and kind.__name__ in errors.__doc__
    assert kind.__doc__


def test_single_problem_is_the_whole_message() -> None:
    error = PhotosError(["There is no photo."])
    assert str(error) == "There is no photo." and error.problems == ("There is no photo.",)


def test_several_problems_are_numbered() -> None:
    error = PhotosError(["One.", "Two."])
    assert str(error) == "2 problems with the photos:\n  1. One.\n  2. Two."
    assert error.problems == ("One.", "Two.")


def test_missing_extra_ends_in_the_command() -> None:
    error = MissingExtraError("Fine-tuning", "finetune")
    assert str(error) == "Fine-tuning needs the extra 'finetune'. Install it: pip install 'clownfish[finetune]'"
