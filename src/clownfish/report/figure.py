"""From a drawing by Matplotlib to an SVG element that lives in the page.

Matplotlib writes a file of its own with fixed colours; the page wants an element that follows its style sheet (in dark
mode too), whose identifiers are its own, and that has a title and a description for those who cannot see it. So a
chart is drawn in stand-in colours that are replaced by the style sheet's, text stays text, and everything else is cut
away.
"""

import io
import logging
import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Stand-ins: the page's style sheet says what they look like.
INK, SOFT, RULE, SEA, ORANGE, RED, PAPER, TINT = (f"#01020{digit}" for digit in range(1, 9))
_VARIABLES = {
    INK: "ink",
    SOFT: "soft",
    RULE: "rule",
    SEA: "sea",
    ORANGE: "orange",
    RED: "red",
    PAPER: "paper",
    TINT: "tint",
}

WIDTH = 360
"""Of most charts, in the units of the SVG, which are pixels where there is room."""
_UNITS_PER_INCH = 72

_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "clownfish",
    "font.size": 11,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "lines.linewidth": 2,
    "lines.markersize": 4.5,
    "lines.solid_joinstyle": "round",
}


@lru_cache(maxsize=1)
def load_matplotlib() -> Any:
    """Import Matplotlib, which takes a third of a second; charts do it, but it may be done in good time."""
    # "building the font cache", once in a lifetime, is nothing to tell the user
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib as library
    import matplotlib.backends.backend_svg
    import matplotlib.figure

    return library


def draw_svg(
    key: str, title: str, description: str, draw: Callable[["Axes"], None], *, width: float = WIDTH, height: float = 240
) -> str:
    """Make one chart.

    Args:
        key: unique on the page; start of every identifier, and class of the element.
        title: what is drawn.
        description: the same in words and numbers.
        draw: fills the axes.
        width: in pixels where there is room; less on a phone, where everything shrinks alike.
        height: likewise.

    Returns:
        An SVG element.

    Source:
        J. D. Hunter, Matplotlib: a 2D graphics environment, Computing in Science & Engineering 9 (2007) 90-95.
    """
    library = load_matplotlib()
    file = io.StringIO()
    with library.rc_context(_SETTINGS), warnings.catch_warnings():
        # the browser has fonts for scripts that Matplotlib's own font lacks
        warnings.simplefilter("ignore", UserWarning)
        size = (width / _UNITS_PER_INCH, height / _UNITS_PER_INCH)
        figure = library.figure.Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        figure.patch.set_visible(False)
        for axes in figure.axes:
            axes.patch.set_visible(False)
        library.backends.backend_svg.FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
    body = _settle(file.getvalue(), key)
    head = (
        f'<svg class="chart {key}" role="img" aria-labelledby="{key}-title {key}-description"'
        f' viewBox="0 0 {width:g} {height:g}" style="max-width:{1.12 * width:.0f}px">'
        f'<title id="{key}-title">{escape(title)}</title><desc id="{key}-description">{escape(description)}</desc>'
    )
    return f"{head}{body}</svg>"


def _settle(svg: str, key: str) -> str:
    """Cut what is inside the SVG file, and make its identifiers and colours those of the page."""
    body = svg[svg.index('<g id="figure_1">') : svg.rindex("</svg>")]
    body = re.sub(r"<!--.*?-->|<style.*?</style>", "", body, flags=re.DOTALL)
    referred = set(re.findall(r'(?:href="#|url\(#)([^")]+)', body))
    body = re.sub(r'\sid="([^"]*)"', lambda found: f' id="{key}-{found[1]}"' if found[1] in referred else "", body)
    body = re.sub(r'xlink:href="#', f'href="#{key}-', body).replace("url(#", f"url(#{key}-")
    body = re.sub(r"<[^>]*>", _shorten_tag, body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    return re.sub(r">\s+<", "><", body)


def _shorten_tag(found: re.Match[str]) -> str:
    """The page has its own fonts; hundredths of a pixel and turns by nothing are not seen."""
    tag = re.sub(r" ?font-family: [^;\"]*;?| ?font-style: normal;?| transform=\"rotate\(-0 [^\"]*\"", "", found[0])
    return re.sub(r"(\.\d\d)\d+", r"\1", tag)
