"""Check the built documentation as a reader's browser would: `make docs` does, after the pages are made.

    python docs/check_site.py site

Every link and picture of a page has to lead to a file of the site, and to a place in it that exists. Nothing may be
fetched from elsewhere; links to other sites are allowed, but nobody is offline for them.
"""

import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "link": "href"}
NOT_FETCHED = {"canonical", "next", "prev"}
"""Kinds of <link> that are only said, not loaded."""


@dataclass
class Page(HTMLParser):
    """What a page refers to, and the places in it that others can refer to."""

    places: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag names and refers to."""
        values = {name: value or "" for name, value in attrs}
        self.places.update(values[name] for name in ("id", "name") if name in values)
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        name = FETCHED.get(tag)
        if name in values and values.get("rel") not in NOT_FETCHED:
            self.fetched.append(values[name])


def list_faults(site: Path) -> list[str]:
    """Find what does not work in a site.

    Args:
        site: folder with the pages.

    Returns:
        One line a fault, such as "a.html: no such place as b.html#c".
    """
    pages = {path.resolve(): read_page(path) for path in sorted(site.rglob("*.html"))}
    faults = [] if pages else [f"{site}: no pages"]
    for path, page in pages.items():
        if path.name == "404.html":  # its links are those of the server's root
            continue
        name = path.relative_to(site.resolve())
        faults += [f"{name}: fetches {url}" for url in page.fetched if urlsplit(url).netloc]
        for url in {*page.links, *page.fetched}:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                faults.append(f"{name}: no such file as {url}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
                faults.append(f"{name}: no such place as {url}")
    return sorted(faults)


def read_page(path: Path) -> Page:
    """Read a page.

    Args:
        path: an HTML file.

    Returns:
        What it refers to.
    """
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


if __name__ == "__main__":
    found = list_faults(Path(sys.argv[1]))
    sys.exit("\n".join(found) or None)
