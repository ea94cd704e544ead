"""What a helper process imports to draw charts: Matplotlib and SciPy, at its start, while the model is trained."""

from typing import Any

import scipy.special  # noqa: F401 - a chart needs it, and it takes a tenth of a second

from clownfish.report.drawing import draw_chart
from clownfish.report.figure import load_matplotlib

load_matplotlib()


def draw_reply(request: dict[str, Any]) -> dict[str, Any]:
    """Draw charts.

    Args:
        request: "charts", requests of `list_charts` by name.

    Returns:
        "charts", an SVG element by name.
    """
    return {"charts": {name: draw_chart(chart) for name, chart in request["charts"].items()}}
