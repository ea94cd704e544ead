"""`clownfish export --to web`: a model, a runtime and a page around them in one HTML file, or as an app in a folder."""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.export.tflite.lowering import lower_model
from clownfish.export.tflite.maps import find_map_sources
from clownfish.export.tflite.quantization import shorten_numbers

_MODULES = ("runtime.js", "table.js", "pool.js", "interface.js")
"""In the order in which they need each other."""
_WORK_MODULES = ("pixels.js", "answers.js", "runtime.js", "network.js", "work.js")
"""What runs in the workers of the page."""
_PACKED = (
    "core.js",
    "wasm-utils.js",
    "litert_wasm_internal.js",
    "litert_wasm_internal.wasm",
    "litert_wasm_compat_internal.js",
    "litert_wasm_compat_internal.wasm",
)
_MAP_SIDE = 28
"""Places along each side of what shows where the model looks, as in the report."""
_IMPORT = re.compile(r"^import .*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=async function|function|class|const)", re.MULTILINE)


def build_page(model: bytes, facts: Mapping[str, Any], title: str, *, is_folder: bool = False) -> bytes:
    """Write the page.

    Args:
        model: a TensorFlow Lite file of `build_tflite` for the web.
        facts: what the page knows; see `pipeline.web`. Everything in it may be hostile.
        title: shown on top.
        is_folder: whether a manifest and a service worker lie beside it.

    Returns:
        The HTML file; it needs nothing else.
    """
    from jinja2 import Environment, select_autoescape
    from markupsafe import Markup

    page, program, style = _page(), _join_modules(_MODULES), _read(_page() / "page.css")
    icon = _read(page / "icon.svg")
    packed = [(name, Markup(_encode((_litert() / f"{name}.gz").read_bytes()))) for name in _PACKED]  # noqa: S704
    packed.append(("model", Markup(_encode(gzip.compress(model, 9, mtime=0)))))  # noqa: S704 (base64)
    template = Environment(autoescape=select_autoescape(default=True), trim_blocks=False).from_string(
        _read(page / "page.html.jinja")
    )
    shown = {**facts, "runtime": read_runtime_version(), "is_folder": is_folder}
    return template.render(
        title=title,
        version=facts["version"],
        policy=_make_policy(program, style),
        icon=Markup(icon),  # noqa: S704 (our own)
        icon_url=f"data:image/svg+xml;base64,{_encode(icon.encode())}",
        style=Markup(style),  # noqa: S704
        work=Markup(_join_modules(_WORK_MODULES)),  # noqa: S704
        program=Markup(program),  # noqa: S704
        facts=_dump(shown),
        texts=_dump(json.loads(_read(page / "texts.json"))),
        licence=_read(_litert() / "LICENSE"),
        packed=packed,
        is_folder=is_folder,
        has_maps=facts["maps"] is not None,
    ).encode()


def build_app(page: bytes, title: str) -> dict[str, bytes]:
    """Put what makes an app of a page beside it.

    Args:
        page: of `build_page`.
        title: name of the app.

    Returns:
        Content by file name.
    """
    folder = _page()
    version = hashlib.sha256(page).hexdigest()[:16]
    manifest = {
        "name": title,
        "short_name": title[:24],
        "start_url": "./",
        "scope": "./",
        "display": "standalone",
        "background_color": "#f6f5f1",
        "theme_color": "#0f5f8c",
        "icons": [
            {"src": "icon.svg", "sizes": "any", "type": "image/svg+xml"},
            {"src": "icon.png", "sizes": "192x192", "type": "image/png"},
        ],
    }
    return {
        "index.html": page,
        "manifest.webmanifest": (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode(),
        "service-worker.js": _read(folder / "service-worker.js").replace("{{ version }}", version).encode(),
        "icon.svg": (folder / "icon.svg").read_bytes(),
        "icon.png": (folder / "icon.png").read_bytes(),
    }


def describe_maps(original: bytes, model: bytes) -> dict[str, Any] | None:
    """Tell the page where in its model lies what it needs to show where the model looks.

    Args:
        original: the content of `model.onnx`.
        model: the TensorFlow Lite file made of it.

    Returns:
        Names and sizes of outputs, and where the weights of the last layer and the mean of the features lie in the
        file; None if that cannot be shown.
    """
    graph = lower_model(original)
    sources = find_map_sources(graph)
    weights = graph.tensors.get("classifier.weight")
    if not sources or weights is None or weights.data is None:
        return None
    place = _find_numbers(model, weights.data)
    if place is None:
        return None
    mean = graph.tensors.get("embedding.mean")
    return {
        "side": _MAP_SIDE,
        "width": weights.shape[1],
        "weights": place,
        "mean": None if mean is None or mean.data is None else _find_numbers(model, mean.data),
        "parts": [
            {"output": source.name, "start": source.start, "channels": source.num_channels, "side": source.side}
            for source in sources
        ],
    }


@lru_cache(1)
def read_runtime_version() -> str:
    """Tell which LiteRT.js the pages carry."""
    version: str = json.loads(_read(_litert() / "versions.json"))["@litertjs/core"]["version"]
    return version


def _find_numbers(model: bytes, values: NDArray[np.float32]) -> dict[str, int] | None:
    """Weights lie in the file, perhaps rounded; found by what they are, they need no second copy."""
    for stored in (values, shorten_numbers(values)):
        offset = model.find(stored.tobytes())
        if offset >= 0:
            return {"offset": offset, "length": values.size}
    return None


def _make_policy(program: str, style: str) -> str:
    """Only this program and this style, WebAssembly, and scripts that the page makes itself; no connection at all."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(program)}' blob: 'wasm-unsafe-eval'",
            f"style-src '{_hash(style)}'",
            "img-src 'self' blob: data:",
            "manifest-src 'self'",
            "worker-src 'self' blob:",
            "connect-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash(text: str) -> str:
    return f"sha256-{_encode(hashlib.sha256(text.encode()).digest())}"


def _join_modules(names: Sequence[str]) -> str:
    """One program of the modules, which a page from a file cannot import; each keeps its own text."""
    texts = [f"// ---- {name}\n{_read(_page() / name)}" for name in names]
    return _EXPORT.sub("", _IMPORT.sub("", "\n".join(texts)))


def _dump(content: Any) -> Any:
    """As JSON that no text can break out of."""
    from markupsafe import Markup

    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)  # noqa: S704 (made harmless above)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _read(file: Traversable) -> str:
    return file.read_text(encoding="utf-8")


def _page() -> Traversable:
    return files("clownfish.export.web") / "page"


def _litert() -> Traversable:
    return files("clownfish.export.web") / "litert"
