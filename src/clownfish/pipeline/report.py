"""`clownfish report`: the page of a finished run, rendered again."""

from dataclasses import replace
from pathlib import Path

from clownfish.errors import RunFolderError
from clownfish.files import encode_text, write_file, write_page
from clownfish.pipeline.run_exports import read_exports
from clownfish.pipeline.run_folder import read_json
from clownfish.report.html import render_report
from clownfish.report.store import read_content


def render_run_report(run: str | Path, *, out: str | Path | None = None) -> Path:
    """Render the report of a run from what its folder holds, certificates of exports included; photos are not needed.

    Args:
        run: a run folder.
        out: the HTML file to write; None to replace the folder's report.html.

    Returns:
        The file.

    Raises:
        RunFolderError: the folder is none of a run, or too old, or damaged, or a certificate in it is.
        OutputError: the file cannot be written, or is something else than an earlier page.
    """
    from jinja2 import UndefinedError  # takes time to import, and only a page needs it

    folder = Path(run)
    metrics, stored = read_json(folder, "metrics.json"), read_json(folder, "report.json")
    exports = read_exports(folder)
    try:
        page = render_report(replace(read_content(stored, metrics), exports=exports))
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, UndefinedError) as error:
        raise RunFolderError(
            f"{folder / 'report.json'} does not hold a report ({type(error).__name__}: {error}). Train again: clownfish"
            f" train --config {folder / 'config.toml'}"
        ) from error
    if out is None:
        write_file(folder / "report.html", encode_text(page))
        return folder / "report.html"
    write_page(Path(out), encode_text(page))
    return Path(out)
