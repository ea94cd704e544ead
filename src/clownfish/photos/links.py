"""Links between photos to groups, with one reason a photo."""

from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from clownfish.photos.near_duplicates import label_components, turn_picture
from clownfish.photos.parts import Match
from clownfish.records import LINK_KINDS, Link, LinkKind, PhotoFile

VIEW_NAMES = (
    "",
    "mirrored",
    "flipped upside down",
    "turned by 180 degrees",
    "mirrored and turned by 90 degrees",
    "turned by 90 degrees",
    "turned by 90 degrees",
    "mirrored and turned by 90 degrees",
)
"""What each view of `turn_picture` is called."""


def link_equals(values: Sequence[str], kind: LinkKind, *, relations: Sequence[str] = ()) -> list[Link]:
    """Link each photo with the first that has the same value.

    Args:
        values: one a photo; "" equals nothing.
        kind: why equal values belong together.
        relations: one a photo, for the links; none by default.

    Returns:
        The links.
    """
    first: dict[str, int] = {}
    return [
        Link(first=first[value], second=position, kind=kind, relation=relations[position] if relations else "")
        for position, value in enumerate(values)
        if value and first.setdefault(value, position) != position
    ]


def link_lookalikes(pairs: NDArray[np.int64], thumbnails: NDArray[np.uint8]) -> list[Link]:
    """Say of pairs that look the same how the second is turned.

    Args:
        pairs: positions, shape (num_pairs, 2).
        thumbnails: shape (num_photos, 32, 32).

    Returns:
        The links.
    """
    links = []
    for first, second in pairs.tolist():
        wanted = thumbnails[first].astype(np.float32)
        distances = [np.abs(turn_picture(thumbnails[second], view) - wanted).sum() for view in range(8)]
        links.append(Link(first=first, second=second, kind="looks", relation=VIEW_NAMES[int(np.argmin(distances))]))
    return links


def link_matches(matches: Sequence[Match]) -> list[Link]:
    """Turn matches into links: parts, and scenes where neither shows much less than the other."""
    return [
        Link(
            first=match.first,
            second=match.second,
            kind="part" if match.is_part else "scene",
            relation=VIEW_NAMES[match.view],
        )
        for match in matches
    ]


def find_components(num_photos: int, links: Sequence[Link]) -> NDArray[np.int64]:
    """Number the groups that links make.

    Args:
        num_photos: how many photos there are.
        links: between them.

    Returns:
        Shape (num_photos,).
    """
    pairs = np.array([(link.first, link.second) for link in links], np.int64).reshape(-1, 2)
    return label_components(num_photos, pairs)


def explain_groups(photos: Sequence[PhotoFile], links: Sequence[Link]) -> tuple[list[str], Mapping[LinkKind, int]]:
    """Give each photo one reason for being in its group.

    The links of the strongest kinds that connect a group make a tree (Kruskal); a photo's reason is the
    link towards the group's first photo, and the first photo's is that of its first neighbour.

    Args:
        photos: the photos.
        links: between them.

    Returns:
        One reason a photo, "" for a photo alone; and the number of links in the trees by kind.
    """
    neighbours: dict[int, list[Link]] = defaultdict(list)
    counts: Counter[LinkKind] = Counter()
    leaders = list(range(len(photos)))
    for link in sorted(links, key=lambda link: (LINK_KINDS.index(link.kind), link.first, link.second)):
        first, second = _find_leader(leaders, link.first), _find_leader(leaders, link.second)
        if first != second:
            leaders[max(first, second)] = min(first, second)
            counts[link.kind] += 1
            neighbours[link.first].append(link)
            neighbours[link.second].append(link)
    reasons = [""] * len(photos)
    for root in sorted(neighbours):
        if reasons[root]:
            continue
        reasons[root] = _describe(neighbours[root][0], root, photos)
        pending = deque([root])
        while pending:
            photo = pending.popleft()
            for link in neighbours[photo]:
                other = link.second if link.first == photo else link.first
                if not reasons[other]:
                    reasons[other] = _describe(link, other, photos)
                    pending.append(other)
    return reasons, {kind: counts[kind] for kind in LINK_KINDS if counts[kind]}


def _find_leader(leaders: list[int], photo: int) -> int:
    while leaders[photo] != photo:
        leaders[photo] = leaders[leaders[photo]]
        photo = leaders[photo]
    return photo


def _describe(link: Link, photo: int, photos: Sequence[PhotoFile]) -> str:
    """The link as a reason of one of its two photos."""
    is_first = photo == link.first
    other = photos[link.second if is_first else link.first].file
    how = f", {link.relation}" if link.relation else ""
    match link.kind:
        case "bytes":
            return f"same bytes as {other}"
        case "pixels":
            return f"same pixels as {other}"
        case "looks":
            return f"looks like {other}{how}"
        case "part":
            return f"shown in part of {other}{how}" if is_first else f"a part of it is {other}{how}"
        case "scene":
            return f"same scene as {other}{how}"
        case "name":
            return f"name marks {other} as a copy of it" if is_first else f"name marks a copy of {other}"
        case "moment":
            return f"taken {link.relation} {'before' if is_first else 'after'} {other} by the same camera"
        case "user":
            return link.relation
