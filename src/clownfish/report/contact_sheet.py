"""Small pictures with captions in one HTML file, for a person to look through; no script, nothing from outside."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from clownfish.report.wording import clean_text

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c2b33; }
section { margin-top: 2rem; }
ul.photos { display: flex; flex-wrap: wrap; gap: 1rem; list-style: none; padding: 0; }
figure { margin: 0; width: 11rem; }
img { display: block; max-width: 100%; height: auto; background: #eee; }
figcaption { overflow-wrap: anywhere; font-size: 0.85rem; }
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class SheetPhoto:
    """One picture."""

    file: str
    caption: str
    preview: bytes
    """JPEG data; b"" where there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """Pictures that show the same thing."""

    title: str
    photos: tuple[SheetPhoto, ...]


def render_contact_sheet(name: str, messages: Sequence[str], sheets: Sequence[Sheet]) -> str:
    """Write the page.

    Args:
        name: of the photo set.
        messages: sentences for the top of the page.
        sheets: pictures below them.

    Returns:
        A whole HTML document without references to anything outside itself; encode it as UTF-8.
    """
    found = "".join(f"<li>{escape(message)}</li>" for message in messages) or "<li>Nothing was found.</li>"
    body = "".join(
        f"<section><h2>{escape(sheet.title)}</h2><ul class=photos>"
        + "".join(map(_render_photo, sheet.photos))
        + "</ul></section>"
        for sheet in sheets
    )
    return clean_text(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:;'
        " style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)}: audit</title><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(name)}: what the audit found</h1><ul>{found}</ul>{body}</body></html>\n"
    )


def _render_photo(photo: SheetPhoto) -> str:
    text = f"<figcaption><bdi>{escape(photo.file)}</bdi><br>{escape(photo.caption)}</figcaption>"
    if not photo.preview:
        return f"<li><figure>{text}</figure></li>"
    data = base64.b64encode(photo.preview).decode("ascii")
    return f'<li><figure><img alt="{escape(photo.caption)}" src="data:image/jpeg;base64,{data}">{text}</figure></li>'
