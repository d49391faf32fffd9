"""Drawing cells by optical density (light times exp(-density)): an outline, a nucleus of one or
more lobes, texture.

What is drawn depends on the class (size, share of the nucleus, texture, lobes) and, more strongly,
on the person (stain, size, texture, focus): a split that puts one person's cells on both sides
therefore gives better figures than one by person, as with the real cells.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import yaml
from scipy import ndimage

Density = tuple[float, float, float]

BRIGHT_NUCLEUS: Density = (1.10, 1.85, 0.72)
DARK_NUCLEUS: Density = (1.42, 2.30, 1.27)
"""Gives the mean colour (67, 29, 78) of real C-NMC cells."""
RED_CELL: Density = (0.22, 0.45, 0.36)
RED_RADIUS = 48
TILE = 512


@dataclass(frozen=True)
class Look:
    """Mean appearance of one class of cells.

    Attributes:
        radius: Of the cell, pixels.
        nucleus: Radius of a round nucleus, as a share of the cell's; lobes divide its area.
        clumps: Strength of the chromatin's texture, 0 to 1.
        cytoplasm: Optical density in red, green, blue.
        granules: Optical density that granules add.
        rough: Irregularity of the outline, as a share of the radius.
    """

    radius: float
    nucleus: float
    clumps: float
    cytoplasm: Density
    lobes: int = 1
    granules: Density = (0.0, 0.0, 0.0)
    rough: float = 0.03


@dataclass(frozen=True)
class Person:
    """What all cells of one person share: factors on stain (by channel), size, nucleus and texture;
    width of edges.
    """

    stain: Density
    size: float
    nucleus: float
    clumps: float
    focus: float


@cache
def looks(data: str) -> Mapping[str, Look]:
    """Appearance of each class of a data set, by its code in file names."""
    text = (files("leukobench.simulation") / "looks.yaml").read_text(encoding="utf-8")
    return {code: Look(**fields) for code, fields in yaml.safe_load(text)[data].items()}


def person(seed: int, name: str) -> Person:
    """The person of this name under this seed."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    r, g, b = np.exp(rng.normal(0, 0.05) + rng.normal(0, 0.025, 3)).tolist()
    size, nucleus, clumps = np.exp(rng.normal(0, (0.06, 0.03, 0.25))).tolist()
    focus = float(rng.uniform(1.5, 4.0))
    return Person((r, g, b), size, nucleus=nucleus, clumps=clumps, focus=focus)


@cache
def texture(seed: int, grain: float) -> np.ndarray:
    """A tile of smooth noise, float32, shape (TILE, TILE), mean 0, deviation 1; `grain` is its
    width in pixels.
    """
    rng = np.random.default_rng([seed, 7])
    noise = rng.standard_normal((TILE, TILE), dtype=np.float32)
    tile = ndimage.gaussian_filter(noise, grain, mode="wrap")
    return (tile - tile.mean()) / tile.std()


def cut(rng: np.random.Generator, tile: np.ndarray, n: int) -> np.ndarray:
    """A random square of a tile."""
    y, x = rng.integers(0, TILE - n + 1, 2)
    return tile[y : y + n, x : x + n]


def blob(
    rng: np.random.Generator, half: int, radius: float, *, rough: float, centre: complex = 0
) -> np.ndarray:
    """Distance to an irregular outline, pixels, positive inside, shape (2 half + 1, 2 half + 1)."""
    line = np.arange(-half, half + 1, dtype=np.float32)
    z = (line[None, :] + 1j * line[:, None]).astype(np.complex64) - np.complex64(centre)
    angle = np.angle(z)
    outline = np.ones_like(angle)
    for k, amplitude in enumerate(rng.normal((0.06, 0, 0), rough), start=2):
        outline += np.float32(amplitude) * np.cos(k * angle + np.float32(rng.uniform(0, 6.3)))
    return np.float32(radius) * outline - np.abs(z)


def soft(distance: np.ndarray, width: float) -> np.ndarray:
    """0 outside, 1 inside, rising over `width` pixels at the outline."""
    return np.clip(distance / np.float32(width) + np.float32(0.5), 0, 1)


def draw_cell(
    rng: np.random.Generator, look: Look, who: Person, *, seed: int, nucleus: Density
) -> tuple[np.ndarray, np.ndarray]:
    """One cell in the middle of a patch that just holds it: density (n, n, 3) and share of the cell
    (n, n), float32.
    """
    radius = look.radius * who.size * float(np.exp(rng.normal(0, 0.09)))
    half = int(radius * (1.2 + 3 * look.rough))
    n = 2 * half + 1
    body = soft(blob(rng, half, radius, rough=look.rough), who.focus)
    inner = np.zeros((n, n), np.float32)
    nuclear = min(look.nucleus * who.nucleus * float(np.exp(rng.normal(0, 0.02))), 0.97) * radius
    turn = rng.uniform(0, 6.3)
    for i in range(look.lobes):
        away = 0 if look.lobes == 1 else 0.7 * nuclear
        centre = away * np.exp(1j * (turn + 6.28 * i / look.lobes))
        size = nuclear * look.lobes**-0.5
        lobe = blob(rng, half, size, rough=look.rough, centre=complex(centre))
        inner = np.maximum(inner, soft(lobe, who.focus))
    inner *= body
    coarse, fine = cut(rng, texture(seed, 5.0), n), cut(rng, texture(seed, 1.5), n)
    chromatin = inner * (1 + 0.08 * look.clumps * who.clumps * coarse + 0.06 * fine)
    grains = (body - inner) * np.clip(fine - 0.7, 0, 1)
    plasma = (body - inner) * (1 + 0.08 * coarse)
    stain = np.array(who.stain) * np.exp(rng.normal(0, 0.02))
    density = np.empty((n, n, 3), np.float32)
    for c in range(3):
        level = plasma * look.cytoplasm[c] + chromatin * nucleus[c] + grains * look.granules[c]
        density[..., c] = np.maximum(level * stain[c], 0)
    return density, body


def lit(rng: np.random.Generator, density: np.ndarray) -> np.ndarray:
    """The picture of a density under white light with the camera's noise, uint8, same shape."""
    light = 255 * np.exp(-density)
    light += 1.3 * rng.standard_normal(density.shape, dtype=np.float32)
    return np.clip(light, 1, 255).astype(np.uint8)


def add_at(canvas: np.ndarray, patch: np.ndarray, y: int, x: int) -> None:
    """Lay a patch centred at (y, x) over a canvas, as far as it lies inside; the denser of the two
    stays.
    """
    half = len(patch) // 2
    top, left = max(0, y - half), max(0, x - half)
    bottom, right = min(len(canvas), y + half + 1), min(canvas.shape[1], x + half + 1)
    if top >= bottom or left >= right:
        return
    part = patch[top - y + half : bottom - y + half, left - x + half : right - x + half]
    there = canvas[top:bottom, left:right]
    np.maximum(there, part, out=there)


def draw_smear(
    rng: np.random.Generator,
    shape: tuple[int, int],
    who: Person,
    cells: Sequence[tuple[Look, int, int]],
    *,
    seed: int,
) -> np.ndarray:
    """A field of a blood smear, uint8, shape (height, width, 3): leukocytes at (y, x), red cells
    around them.
    """
    density = np.full((*shape, 3), 0.07, np.float32)
    places = np.array([[y, x] for _, y, x in cells]).reshape(-1, 2)
    sprites = [soft(blob(rng, 60, RED_RADIUS, rough=0.03), 4) for _ in range(6)]
    stain = np.array(RED_CELL, np.float32) * np.array(who.stain, np.float32)
    step = int(2.6 * RED_RADIUS)
    for y in range(0, shape[0] + step, step):
        for x in range(0, shape[1] + step, step):
            at = np.array([y, x]) + rng.integers(-25, 26, 2)
            if rng.random() < 0.75 and (np.hypot(*(places - at).T) > 150).all():
                sprite = sprites[int(rng.integers(len(sprites)))]
                add_at(
                    density, sprite[..., None] * stain + np.float32(0.07), int(at[0]), int(at[1])
                )
    for look, y, x in cells:
        cell, _ = draw_cell(rng, look, who, seed=seed, nucleus=BRIGHT_NUCLEUS)
        add_at(density, cell, y, x)
    return lit(rng, density)


def draw_on_black(
    rng: np.random.Generator, look: Look, who: Person, *, size: int, seed: int
) -> np.ndarray:
    """A cell cut out of its smear, on black, uint8, shape (size, size, 3)."""
    density, body = draw_cell(rng, look, who, seed=seed, nucleus=DARK_NUCLEUS)
    cell = lit(rng, density) * (body > 0.5)[..., None]
    image = np.zeros((size, size, 3), np.uint8)
    y, x = (size // 2 + int(d) for d in rng.integers(-12, 13, 2))
    add_at(image, cell, y, x)
    return image
