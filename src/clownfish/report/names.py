"""Species names as biologists write them: binomials in italics."""

import re
from collections.abc import Sequence

_SHAPE = re.compile(r"[A-Z][a-z]{2,}([_ ][a-z]{3,}){1,2}")
# "Red fox" has the shape too; what a last word of Latin or Greek ends with is rarer in English
_LATIN_END = re.compile(
    r"(us|a|um|is|i|ae|ense|ans|ens|or|ix|ax|ex|ops|oides|yx|es|os|on|ile|ale|are|ule|ceps|pes|ior|o)$"
)
_SHARE = 0.6


def find_binomials(classes: Sequence[str]) -> frozenset[str]:
    """Find the class names that are names of species or subspecies.

    A set of photos is named in one way, so one name is believed only if most names have the shape: a "Red panda" among
    a "Red fox" and a "Grey wolf" is none.

    Args:
        classes: class names, words joined by spaces or underscores.

    Returns:
        Those to be set in italics; few or none where it is not clear.
    """
    found = {name for name in classes if _SHAPE.fullmatch(name) and _LATIN_END.search(name)}
    return frozenset(found) if len(found) >= max(1, _SHARE * len(classes)) else frozenset()


def write_binomial(name: str) -> str:
    """Write a name found by `find_binomials` with spaces."""
    return name.replace("_", " ")
