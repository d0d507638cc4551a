"""Published curves. They are offered only for the pictures on which they were measured."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from .metrics import ms_ssim_db
from .pictures import Picture

FOLDER = Path(__file__).parent.parent / "anchors"
PREFIX = "published:"


@dataclasses.dataclass(frozen=True)
class Published:
    """A curve from the literature."""

    name: str
    source: str
    measured: str
    points: list[dict[str, float]]
    """Means over the set: `bpp`, `psnr_rgb` and, if published, `ms_ssim` and `ms_ssim_db`."""


def fingerprint(pictures: Sequence[Picture]) -> str:
    """Identifier of a set of pictures, computed from their pixels."""
    return hashlib.sha256(" ".join(sorted(p.digest for p in pictures)).encode()).hexdigest()[:16]


def published(pictures: str) -> list[Published]:
    """Curves that were measured on exactly the pictures with this fingerprint."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["fingerprint"] != pictures:
            continue
        for name, curve in content["curves"].items():
            points = [
                {"bpp": bpp, "psnr_rgb": psnr}
                for bpp, psnr in zip(curve["bpp"], curve["psnr_rgb"], strict=True)
            ]
            for point, value in zip(points, curve.get("ms_ssim", ()), strict=False):
                point |= {"ms_ssim": value, "ms_ssim_db": ms_ssim_db(value)}
            found.append(Published(PREFIX + name, curve["source"], curve["measured"], points))
    return found
