"""Export of a trained model to a weights file: frozen networks, fitted tables, figures."""

from __future__ import annotations

import copy
import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codec.coding.latents import hyper_groups, quantize_latents
from codec.engine.batch_decoding import decode_pictures
from codec.engine.encoding import encode_pictures
from codec.engine.loaded_model import LoadedModel
from codec.format import container
from codec.model.config import MAX_LEVEL
from codec.model.network import Model
from codec.model.quantization import SCALES
from codec.model.weights import Objective, deserialise, model_id, serialise
from codec.pictures.picture import to_picture
from codec.training.data import CropSampler, list_images, split, usable_images
from codec.training.loop import validate
from codec.training.tables import collect_histograms, fit_tables

QUALITIES = (0, 25, 50, 75, 100)


@torch.no_grad()
def freeze(model: Model) -> tuple[Model, int]:
    """Return a copy of the model as it will be loaded, and the bound of `ScaleModel.freeze`.

    In the copy the float networks are rounded to float16, and the scale model is exact and on the
    CPU.
    """
    model = copy.deepcopy(model).requires_grad_(False).eval()
    for part in (model.analysis, model.synthesis, model.hyper_analysis, model.mean_model, model.hyper_prior):
        for parameter in part.parameters():
            parameter.copy_(parameter.to(torch.float16))
    return model, model.scale_model.cpu().freeze()


def export(
    model: Model, data: Path, *, training: dict[str, Any], objective: Objective, crop: int = 256,
    batches: int = 300, batch: int = 4,
) -> tuple[bytes, list[dict[str, float]]]:
    """Return the bytes of the weights file and its validation table.

    `training` is stored in the metadata. Raises `ValueError` if payloads differ too much from the
    estimated number of bits.
    """
    device = next(model.parameters()).device
    files, held_out = split(list_images(data))
    frozen, largest = freeze(model)
    sampler = CropSampler(files, crop, device, seed=2)
    tables = fit_tables(*collect_histograms(frozen, sampler, batches, batch, objective), objective.skip)
    draft = serialise(frozen, tables, {})
    rows = validate_real(draft, held_out, device, objective)
    for row, trained in zip(rows, validate(model, held_out, objective), strict=True):
        row["training_estimate_bpp"] = trained["bpp"]
        # The coder writes whole words: up to 64 bits of a picture of 512² are not in the estimate.
        if abs(row["payload_bpp"] - row["estimated_bpp"]) > 0.01 * row["estimated_bpp"] + 64 / 512**2:
            raise ValueError(
                f"payloads differ from the estimate by more than 1 % at quality {row['quality']}"
            )
    names = "\n".join(path.name for path in files + held_out)
    metadata = {
        "training": training,
        "data": {
            "training_pictures": len(files),
            "validation_pictures": len(held_out),
            "names_sha256": hashlib.sha256(names.encode()).hexdigest(),
        },
        "validation": rows,
        "largest_exact_sum": largest,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    return serialise(frozen, tables, metadata), rows


def validate_real(
    weights: bytes, files: list[Path], device: torch.device, objective: Objective
) -> list[dict[str, float]]:
    """Return mean figures of held-out pictures at five qualities, from files and decoded pixels.

    `bpp` counts all bytes of the file and `payload_bpp` only those of the payloads. `estimated_bpp`
    is the information content of the symbols under the tables.
    """
    networks, tables = deserialise(weights)
    loaded = LoadedModel(networks, tables, model_id(weights), device, objective)
    images = usable_images(files)
    rows = []
    for quality in QUALITIES:
        level = round(quality * MAX_LEVEL / 100)
        total = {"bpp": 0.0, "payload_bpp": 0.0, "estimated_bpp": 0.0, "psnr": 0.0}
        for image in images:
            pixels = image.shape[0] * image.shape[1]
            data = encode_pictures(loaded, [to_picture(image)], level)[0]
            file = container.read(data)
            decoded = decode_pictures(loaded, [file])[0]
            total["bpp"] += 8 * len(data) / pixels
            total["payload_bpp"] += 8 * sum(tile.length for tile in file.header.tiles) / pixels
            total["estimated_bpp"] += estimated_bits(loaded, image, level) / pixels
            mse = np.square(image.astype(np.float64) - decoded).mean()
            total["psnr"] += 10 * math.log10(255**2 / max(mse, 1e-9))
        rows.append({"quality": quality, **{k: v / len(images) for k, v in total.items()}})
    return rows


@torch.no_grad()
def estimated_bits(loaded: LoadedModel, image: np.ndarray, level: int) -> float:
    """Return the information content of the symbols of a picture under the tables, in bits.

    The picture is H×W×3 uint8 and is coded as one tile.
    """
    x = torch.from_numpy(image)[None].to(loaded.device, torch.float32) / 255
    levels = torch.tensor([level], device=loaded.device)
    y = loaded.networks.analysis(x, levels)
    skip, dead_zone = loaded.tables.skip, loaded.objective.dead_zone
    (tile,), indexes, _ = quantize_latents(loaded.networks, y, levels, dead_zone, skip)
    bits = 0.0
    hyper = tile.hyper.reshape(-1, tile.hyper.shape[2]).T
    for values, (table, _) in zip(hyper, hyper_groups(level, *hyper.shape[::-1]), strict=True):
        bits += loaded.tables.tables[table].bits(values)
    for index in range(0 if tile.dense else skip + 1, SCALES):
        bits += loaded.tables.tables[index].bits(tile.latents[indexes[0] == index])
    return bits
