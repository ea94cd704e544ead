"""The report of a run: everything that was measured, in one HTML file that opens from disk.

The file holds no script and refers to nothing outside itself: pictures are data URIs, charts are inline SVG.
Names of files and classes are the user's, so they are escaped, isolated from the text direction around
them, and shortened where space is short.
"""

from clownfish.report.content import ReportContent, ReportPhoto
from clownfish.report.html import render_report

__all__ = ["ReportContent", "ReportPhoto", "render_report"]
