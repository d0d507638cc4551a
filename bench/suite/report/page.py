"""HTML report: one file that needs no network, made from a summary and some decoded pictures.

The file contains plotly, our style and script, the figures as JSON, and the pictures as lossless
WebP. The content security policy allows only these two scripts and no network access. A hostile
file name therefore cannot run code, and the page is guaranteed to work offline.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image
from plotly.offline import get_plotlyjs

from codec.pictures.atomic import write_atomically

from ..comparisons import Comparison

PARTS = Path(__file__).parent
SCRIPTS = ("common.js", "plots.js", "tables.js", "compare.js", "report.js")  # one module, in this order
WEBP_LIMIT = 16383  # pixels per side; larger pictures are embedded as PNG

# Defaults for what is missing from a summary.
EMPTY: dict[str, Any] = {
    "title": "untitled", "created": None, "command": None, "environment": {}, "pictures": [], "skipped": [],
    "metrics": [], "codecs": [], "bd_rate": {"anchors": [], "rows": []},
}


def write_report(summary: dict[str, Any], comparisons: list[Comparison], path: Path) -> None:
    """Write the page to `path` atomically: the file is replaced completely or left unchanged.

    Anything missing from `summary` is left out.
    """
    summary = {**EMPTY, **summary}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PARTS), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    scripts = {"plotly": get_plotlyjs(), "script": "\n".join(_part(name) for name in SCRIPTS)}
    page = environment.get_template("report.html.j2").render(
        summary=summary,
        date=_date(summary["created"]),
        megapixels=sum((p.get("width") or 0) * (p.get("height") or 0) for p in summary["pictures"]) / 1e6,
        style=Markup(_part("report.css")),
        hashes=[_source_hash(text) for text in scripts.values()],
        summary_json=_json(summary),
        comparisons_json=_json([_embedded(comparison) for comparison in comparisons]),
        has_comparisons=bool(comparisons),
        **{name: Markup(text) for name, text in scripts.items()},
    )
    write_atomically(path, page.encode())


def _part(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


def _json(value: object) -> Markup:
    """JSON for a script element. `<` is escaped, as it could end the element or begin a comment."""
    return Markup(json.dumps(_finite(value), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"))


def _finite(value: Any) -> Any:
    """Copy in which numbers that JSON cannot represent are None."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _embedded(comparison: Comparison) -> dict[str, Any]:
    height, width = comparison.images[0].pixels.shape[:2]
    return {
        "picture": comparison.picture,
        "width": width,
        "height": height,
        "images": [
            {"label": s.label, "bytes": s.bytes, "figures": s.figures, "source": _data_uri(s.pixels)}
            for s in comparison.images
        ],
    }


def _data_uri(pixels: NDArray[np.uint8]) -> str:
    kind = "webp" if max(pixels.shape) <= WEBP_LIMIT else "png"
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind.upper(), lossless=True)
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"


def _source_hash(script: str) -> str:
    """Source expression of an inline script in a content security policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _date(created: str | None) -> str:
    """Date in readable form. Text that is not an ISO 8601 date is returned unchanged."""
    try:
        moment = datetime.fromisoformat(created or "")
    except ValueError:
        return created or ""
    return f"{moment.day} {moment:%B %Y, %H:%M} {moment.tzname() or ''}".rstrip()
