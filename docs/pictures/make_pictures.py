"""Draw docs/screen.svg: what `clownfish demo` prints, as a picture. Run it when the output changes."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 118


def main() -> None:
    """Run the demo in a temporary folder and save its output as an SVG."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "clownfish", "demo"]
        output = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    with Path("/dev/null").open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere)
        console.print(Text("$ clownfish demo", style="bold"))
        console.print(Text(output))
        picture = console.export_svg(title="clownfish")
    # rich names fonts on a web server; whoever looks at the picture may be offline
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    Path(__file__).with_name("screen.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
