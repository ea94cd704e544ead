"""Renew the runtime that web pages carry, from the packages of npm. For developers; nothing of clownfish imports it.

    npm pack @litertjs/core@2.5.3 @litertjs/wasm-utils@2.5.3
    python -m clownfish.export.web.renew litertjs-core-2.5.3.tgz litertjs-wasm-utils-2.5.3.tgz

The files are kept as they are, each packed by gzip without a date; `litert/versions.json` says what they are.
"""

import argparse
import gzip
import hashlib
import json
import tarfile
from pathlib import Path

FOLDER = Path(__file__).with_name("litert")
_FILES = {
    "core": ("dist/index.js", "wasm/litert_wasm_internal", "wasm/litert_wasm_compat_internal"),
    "wasm-utils": ("dist/index.js",),
}
"""By package; a name without an ending stands for a program (.wasm) and the script that starts it (.js)."""


def renew_runtime(archives: list[Path]) -> None:
    """Take the files out of the archives.

    Args:
        archives: of `npm pack`, for both packages.
    """
    facts: dict[str, dict[str, object]] = {}
    for archive in archives:
        with tarfile.open(archive) as content:
            package = json.loads(_read(content, "package.json"))
            short = package["name"].rpartition("/")[2]
            facts[package["name"]] = {"version": package["version"], "licence": package["license"], "files": {}}
            for listed in _FILES[short]:
                names = [listed] if listed.endswith(".js") else [f"{listed}.js", f"{listed}.wasm"]
                for name in names:
                    data = _read(content, name)
                    kept = f"{short}.js" if name == "dist/index.js" else name.rpartition("/")[2]
                    (FOLDER / f"{kept}.gz").write_bytes(gzip.compress(data, 9, mtime=0))
                    facts[package["name"]]["files"][kept] = {  # type: ignore[index]
                        "from": name,
                        "sha256": hashlib.sha256(data).hexdigest(),
                    }
    (FOLDER / "versions.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _read(content: tarfile.TarFile, name: str) -> bytes:
    file = content.extractfile(f"package/{name}")
    if file is None:
        raise FileNotFoundError(name)
    return file.read()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("archives", nargs=2, type=Path, help="what npm pack wrote")
    renew_runtime(parser.parse_args().archives)
