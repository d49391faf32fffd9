"""Simulated cells in the official layouts of the image data sets: `simulate_cnmc`, `simulate_all_idb1`,
`simulate_all_idb2`, `simulate_aml`.

For trying the software and for tests, at any size; nothing is learned about leukemia from them. Cells are drawn by
optical density (Beer and Lambert: light times exp(-stain)), as a cytoplasm and a nucleus of one or more lobes with
chromatin texture, nucleoli and granules. What is drawn depends on the class (size, share of the nucleus, texture,
lobes) and, more strongly, on the person (stain, size, texture, focus): a split that puts one person's cells on both
sides therefore gives better figures than one by person, as with the real cells.

Every image is a function of seed and its place in the list, whatever the number of threads.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from leukobench.data.image_files import Progress
from leukobench.data.simulated import MARK, mark_simulated
from leukobench.errors import LeukoBenchError

VERSION = 1
"""Raised when the same arguments would draw other images; part of the mark."""

TILE = 1024
"""Side of the noise tiles, pixels; their grains, as deviations of a Gaussian in pixels, are below."""
_GRAIN, _FINE, _CHROMATIN, _COARSE, _CLUMPS, _WAVES = 0.8, 1.3, 2.0, 2.6, 5.0, 24.0


# What a cell looks like -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Morphology:
    """Mean appearance of one class of cells.

    Attributes:
        radius: Of the cell, pixels.
        nucleus: Radius of a round nucleus, as a share of the cell's; lobes divide its area.
        lobes: Smallest and largest number of lobes.
        spread: Distance of the lobes from the middle, in nucleus radii.
        clumps: Strength of coarse chromatin, 0 to 1.
        nucleoli: Mean number of pale nucleoli.
        rough: Irregularity of the outlines, as a share of the radius.
        cytoplasm: Optical density of the cytoplasm in red, green, blue.
        granules: Optical density added by granules in red, green, blue; zero for none.
        coarse: Whether the granules are large.
    """

    radius: float
    nucleus: float
    lobes: tuple[int, int] = (1, 1)
    spread: float = 0.0
    clumps: float = 0.3
    nucleoli: float = 0.0
    rough: float = 0.03
    cytoplasm: tuple[float, float, float] = (0.55, 0.75, 0.30)
    granules: tuple[float, float, float] = (0.0, 0.0, 0.0)
    coarse: bool = False


NUCLEUS = (1.10, 1.85, 0.72)
"""Optical density of a nucleus in bright smears; C-NMC's cells are darker."""

CNMC_NUCLEUS = (1.42, 2.30, 1.27)
"""Gives the mean colour (67, 29, 78) of real C-NMC cells."""

CNMC_CELLS = {
    "all": Morphology(
        105, 0.93, clumps=0.42, nucleoli=1.6, rough=0.040, cytoplasm=(1.08, 1.66, 0.88)
    ),
    "hem": Morphology(
        95, 0.88, clumps=0.62, nucleoli=0.3, rough=0.030, cytoplasm=(1.08, 1.66, 0.88)
    ),
}

IDB_CELLS = {
    "1": Morphology(70, 0.86, clumps=0.45, nucleoli=1.5, rough=0.05, cytoplasm=(0.55, 0.70, 0.25)),
    "0": Morphology(60, 0.78, clumps=0.70, nucleoli=0.2, rough=0.03, cytoplasm=(0.42, 0.52, 0.18)),
}
IDB_HEALTHY = (
    IDB_CELLS["0"],
    Morphology(
        75,
        0.62,
        lobes=(3, 5),
        spread=0.75,
        clumps=0.7,
        cytoplasm=(0.18, 0.32, 0.16),
        granules=(0.2, 0.3, 0.1),
    ),
    Morphology(
        82, 0.70, lobes=(2, 2), spread=0.45, clumps=0.5, cytoplasm=(0.45, 0.52, 0.25), rough=0.06
    ),
)

_PINK, _BLUE, _GREY = (0.14, 0.28, 0.12), (0.55, 0.55, 0.16), (0.38, 0.45, 0.20)
_VIOLET = (0.45, 0.75, 0.25)

AML_CELLS: dict[str, Morphology] = {
    "BAS": Morphology(
        78, 0.62, (2, 3), 0.5, 0.5, cytoplasm=_PINK, granules=(1.0, 1.5, 0.6), coarse=True
    ),
    "EBO": Morphology(62, 0.62, clumps=0.8, cytoplasm=(0.45, 0.55, 0.30)),
    "EOS": Morphology(
        84, 0.58, (2, 2), 0.75, 0.6, cytoplasm=_PINK, granules=(0.15, 0.9, 0.65), coarse=True
    ),
    "KSC": Morphology(95, 0.90, clumps=0.2, rough=0.16, cytoplasm=(0.25, 0.40, 0.15)),
    "LYA": Morphology(92, 0.62, clumps=0.5, nucleoli=0.6, rough=0.10, cytoplasm=_BLUE),
    "LYT": Morphology(62, 0.86, clumps=0.7, cytoplasm=_BLUE),
    "MMZ": Morphology(88, 0.62, (2, 2), 0.40, 0.6, cytoplasm=_PINK, granules=(0.15, 0.3, 0.1)),
    "MOB": Morphology(100, 0.78, clumps=0.25, nucleoli=1.5, rough=0.05, cytoplasm=_GREY),
    "MON": Morphology(
        95, 0.66, (2, 2), 0.42, 0.4, rough=0.06, cytoplasm=_GREY, granules=(0.08, 0.15, 0.05)
    ),
    "MYB": Morphology(90, 0.66, clumps=0.55, cytoplasm=_VIOLET, granules=(0.25, 0.45, 0.1)),
    "MYO": Morphology(84, 0.84, clumps=0.2, nucleoli=2.0, rough=0.04, cytoplasm=_BLUE),
    "NGB": Morphology(82, 0.58, (3, 3), 0.62, 0.6, cytoplasm=_PINK, granules=(0.12, 0.25, 0.1)),
    "NGS": Morphology(82, 0.58, (3, 5), 0.85, 0.7, cytoplasm=_PINK, granules=(0.12, 0.25, 0.1)),
    "PMB": Morphology(
        95,
        0.72,
        (2, 2),
        0.55,
        0.3,
        nucleoli=0.8,
        cytoplasm=_VIOLET,
        granules=(0.5, 0.9, 0.3),
        coarse=True,
    ),
    "PMO": Morphology(
        98, 0.70, clumps=0.3, nucleoli=1.2, cytoplasm=_VIOLET, granules=(0.5, 0.9, 0.3), coarse=True
    ),
}


@dataclass(frozen=True)
class Person:
    """What all cells of one person share: the smear's stain, and the person's own cells.

    Attributes:
        stain: Factor on each channel's optical density.
        size, nucleus, clumps: Factors on the morphology's fields.
        focus: Width of edges, pixels.
        background: Optical density of the empty smear.
    """

    stain: tuple[float, float, float]
    size: float
    nucleus: float
    clumps: float
    focus: float
    background: tuple[float, float, float]


def person(seed: int, key: str) -> Person:
    """The person of this name under this seed."""
    rng = np.random.default_rng([seed, zlib.crc32(key.encode())])
    overall = rng.normal(0, 0.05)
    r, g, b = np.exp(overall + rng.normal(0, 0.025, 3))
    x, y, z = 0.05 + 0.05 * rng.random() + 0.02 * rng.random(3)
    return Person(
        (float(r), float(g), float(b)),
        float(np.exp(rng.normal(0, 0.06))),
        float(np.exp(rng.normal(0, 0.02))),
        float(np.exp(rng.normal(0, 0.25))),
        float(rng.uniform(1.2, 3.0)),
        (float(x), float(y), float(z)),
    )


# Drawing --------------------------------------------------------------------------------------------------------------


class Textures:
    """Tiles of smooth random noise (mean 0, deviation 1), from which each cell cuts its own piece."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 7])
        self.tiles = {
            s: self._tile(rng, s) for s in (_GRAIN, _FINE, _CHROMATIN, _COARSE, _CLUMPS, _WAVES)
        }

    @staticmethod
    def _tile(rng: np.random.Generator, sigma: float) -> np.ndarray:
        tile = ndimage.gaussian_filter(
            rng.standard_normal((TILE, TILE), dtype=np.float32), sigma, mode="wrap"
        )
        return (tile - tile.mean()) / tile.std()

    def cut(self, rng: np.random.Generator, sigma: float, height: int, width: int) -> np.ndarray:
        """A random piece, float32, shape (height, width), of at most `TILE` pixels a side; a view, not to be written."""
        y, x = (int(rng.integers(0, TILE - n + 1)) for n in (height, width))
        piece = self.tiles[sigma]
        if height == width and rng.random() < 0.5:
            return piece[y : y + height, x : x + width].T
        return piece[y : y + height, x : x + width][
            :: int(rng.choice((-1, 1))), :: int(rng.choice((-1, 1)))
        ]


def plane(height: int, width: int, y: float, x: float) -> np.ndarray:
    """Pixel positions relative to (y, x) as complex numbers, shape (height, width)."""
    columns = np.arange(width, dtype=np.float32) - np.float32(x)
    rows = np.arange(height, dtype=np.float32) - np.float32(y)
    return (columns[None, :] + 1j * rows[:, None]).astype(np.complex64)


def blob(
    rng: np.random.Generator, z: np.ndarray, radius: float, rough: float, longest: float = 0.12
) -> np.ndarray:
    """Distance to the outline of an irregular ellipse about 0, pixels, positive inside.

    The outline is a Fourier series in the angle, evaluated by powers of z / |z| without any angle.
    """
    r = np.abs(z)
    unit = z / np.maximum(r, 1e-3)
    k = np.arange(2, 7)
    amplitude = rough * rng.standard_normal(5) / (k - 1)
    amplitude[0] += rng.uniform(0, longest)
    coefficients = amplitude * np.exp(2j * np.pi * rng.random(5))
    series = np.full_like(z, coefficients[-1])
    for c in coefficients[-2::-1]:
        series *= unit
        series += np.complex64(c)
    series *= unit * unit
    return np.float32(radius) * (1 + series.real) - r


def soft(distance: np.ndarray, width: float) -> np.ndarray:
    """0 outside, 1 inside, rising over `width` pixels at the outline."""
    return np.clip(distance * np.float32(1 / width) + np.float32(0.5), 0, 1)


@dataclass(frozen=True)
class Cell:
    """A drawn cell.

    Attributes:
        density: Optical density, float32, shape (2h+1, 2h+1, 3).
        distance: To the cell's outline, positive inside, shape (2h+1, 2h+1).
    """

    density: np.ndarray
    distance: np.ndarray


def draw_cell(
    rng: np.random.Generator,
    textures: Textures,
    look: Morphology,
    who: Person,
    nucleus_density: Sequence[float] = NUCLEUS,
    radius_deviation: float = 0.08,
) -> Cell:
    """One cell of this class and person, in the middle of a square patch that just holds it."""
    radius = look.radius * who.size * float(np.exp(rng.normal(0, radius_deviation)))
    half = int(radius * (1.25 + 2 * look.rough)) + 3
    n = 2 * half + 1
    z = plane(n, n, half, half)
    distance = blob(rng, z, radius, look.rough)
    body = soft(distance, who.focus)

    nuclear = min(look.nucleus * who.nucleus * float(np.exp(rng.normal(0, 0.03))), 0.97) * radius
    lobes = int(rng.integers(look.lobes[0], look.lobes[1] + 1))
    # A nucleus that leaves room lies off the middle; lobes stand around a common centre.
    shift = max(0.0, radius - nuclear) * 0.6 * rng.random() * np.exp(2j * np.pi * rng.random())
    inside = None
    first, opening = rng.random(), rng.uniform(0.5, 0.85)
    for i in range(lobes):
        angle = 2 * np.pi * (first + (opening * i / max(1, lobes - 1) if lobes > 2 else i / lobes))
        centre = shift + (look.spread * nuclear * np.exp(1j * angle) if lobes > 1 else 0)
        lobe = blob(rng, z - np.complex64(centre), nuclear * (lobes**-0.45), look.rough, 0.18)
        if lobes == 1:  # a single nucleus follows the cell's outline
            lobe = 0.4 * lobe + 0.6 * (distance - np.float32(radius - nuclear))
        inside = lobe if inside is None else np.maximum(inside, lobe)
    assert inside is not None
    nucleus = soft(np.minimum(inside, distance - 2), who.focus * 1.5)

    strength = look.clumps * who.clumps
    chromatin = 1 + 0.11 * strength * textures.cut(rng, _CLUMPS, n, n)
    chromatin += (0.05 + 0.04 * strength) * textures.cut(rng, _CHROMATIN, n, n)
    chromatin += 0.05 * textures.cut(rng, _WAVES, n, n)
    for _ in range(rng.poisson(look.nucleoli)):
        at = shift + nuclear * 0.6 * np.sqrt(rng.random()) * np.exp(2j * np.pi * rng.random())
        size = nuclear * rng.uniform(0.10, 0.18)
        near, h = at + complex(half, half), int(1.6 * size) + 1
        y, x = int(near.imag), int(near.real)
        window = np.s_[max(0, y - h) : y + h + 1, max(0, x - h) : x + h + 1]
        chromatin[window] -= 0.16 * soft(
            blob(rng, z[window] - np.complex64(at), size, 0.06), size * 0.8
        )
    nucleus *= chromatin

    plasma = (
        1 + 0.10 * textures.cut(rng, _CLUMPS, n, n) + 0.06 * textures.cut(rng, _CHROMATIN, n, n)
    )
    plasma *= body
    grains = None
    if any(look.granules):
        tile = textures.cut(rng, _COARSE if look.coarse else _FINE, n, n)
        grains = np.clip(2 * tile - 1.4, 0, 1.3) * body * (1 - 0.6 * soft(inside, 2))
    drift = np.exp(rng.normal(0, 0.02) + rng.normal(0, 0.008, 3))
    density = np.empty((n, n, 3), np.float32)
    for c in range(3):
        channel = density[..., c]
        factor = who.stain[c] * drift[c]
        np.multiply(plasma, np.float32(look.cytoplasm[c] * factor), out=channel)
        channel += nucleus * np.float32((nucleus_density[c] - look.cytoplasm[c]) * factor)
        if grains is not None:
            channel += grains * np.float32(look.granules[c] * factor)
    np.maximum(density, 0, out=density)
    return Cell(density, distance)


def red_cell(rng: np.random.Generator, radius: float) -> np.ndarray:
    """A red cell's density, pale in the middle, float32, shape (n, n), 1 at its thickest."""
    half = int(radius * 1.3) + 2
    z = plane(2 * half + 1, 2 * half + 1, half, half)
    distance = blob(rng, z, radius, 0.03)
    hollow = np.exp(-((np.abs(z) / np.float32(radius * rng.uniform(0.35, 0.55))) ** 2))
    rim = 0.12 * np.exp(-((distance - 4) ** 2) / 16)
    return soft(distance, 3) * (1 - np.float32(rng.uniform(0.1, 0.7)) * hollow + rim)


RED = (0.22, 0.45, 0.36)


def add_at(
    canvas: np.ndarray, patch: np.ndarray, y: int, x: int, cover: np.ndarray | None = None
) -> None:
    """Add a patch centred at (y, x) to a canvas, as far as it lies inside; with `cover`, over what is there."""
    h, w = patch.shape[0] // 2, patch.shape[1] // 2
    top, left = max(0, y - h), max(0, x - w)
    bottom, right = min(canvas.shape[0], y + h + 1), min(canvas.shape[1], x + w + 1)
    if top >= bottom or left >= right:
        return
    there = np.s_[top:bottom, left:right]
    here = np.s_[top - y + h : bottom - y + h, left - x + w : right - x + w]
    if cover is not None:
        canvas[there] *= 1 - cover[here][..., None]
    canvas[there] += patch[here]


def draw_smear(
    rng: np.random.Generator,
    textures: Textures,
    height: int,
    width: int,
    who: Person,
    white: Sequence[tuple[Morphology, int, int]],
    red_radius: float,
    red_cover: float = 0.55,
) -> np.ndarray:
    """A field of a blood smear, uint8, shape (height, width, 3).

    Args:
        white: Leukocytes with the position (y, x) of each.
        red_cover: Share of the field that red cells would cover without overlap.
    """
    # Positions first: red cells keep away from leukocytes, most of them also from each other.
    red = np.zeros((height, width), np.float32)
    sprites = [red_cell(rng, red_radius * float(np.exp(rng.normal(0, 0.06)))) for _ in range(8)]
    wanted = int(red_cover * height * width / (np.pi * red_radius**2))
    far = 1.15 * red_radius
    taken = np.array([[y, x] for _, y, x in white], np.float32).reshape(-1, 2)
    reach = np.array([m.radius * who.size * 0.95 + red_radius for m, _, _ in white], np.float32)
    placed = np.empty((wanted, 2), np.float32)
    count = 0
    extent = np.array((height, width)) + 2 * red_radius
    for y, x in rng.random((wanted * 4, 2)) * extent - red_radius:
        if count == wanted:
            break
        if len(taken) and (np.hypot(*(taken - (y, x)).T) < reach).any():
            continue
        near = np.hypot(*(placed[:count] - (y, x)).T)
        if (near < 0.6 * far).any() or ((near < 1.7 * far).any() and rng.random() < 0.75):
            continue
        placed[count] = y, x
        count += 1
        sprite = sprites[int(rng.integers(len(sprites)))]
        add_at(
            red,
            sprite[:: int(rng.choice((-1, 1)))].T if rng.random() < 0.5 else sprite,
            int(y),
            int(x),
        )
    np.minimum(red, 1.3, out=red)
    density = red[..., None] * (np.array(RED, np.float32) * np.array(who.stain, np.float32) ** 1.5)
    for look, y, x in white:
        cell = draw_cell(rng, textures, look, who)
        add_at(density, cell.density, y, x, cover=soft(cell.distance, who.focus))
    light = _illumination(rng, textures, height, width)
    result = np.empty((height, width, 3), np.uint8)
    grain = textures.tiles[_GRAIN]
    noise = np.tile(grain, (-(-height // TILE), -(-width // TILE)))[:height, :width] * 1.2
    for c in range(3):
        level = np.exp(-(density[..., c] + np.float32(who.background[c]))) * light * 255
        level += np.roll(noise, int(rng.integers(TILE)), axis=c % 2)
        result[..., c] = np.clip(level, 0, 255)
    return result


def _illumination(
    rng: np.random.Generator, textures: Textures, height: int, width: int
) -> np.ndarray:
    """Uneven light, about 1, shape (height, width)."""
    small = np.asarray(textures.cut(rng, _WAVES, 96, 96)[::8, ::8])
    smooth = Image.fromarray(np.ascontiguousarray(small)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    return 0.985 + 0.01 * np.asarray(smooth, np.float32)


def draw_on_black(
    rng: np.random.Generator,
    textures: Textures,
    size: int,
    look: Morphology,
    who: Person,
    deviation: float = 0.10,
) -> np.ndarray:
    """A C-NMC cell: cut out of its smear, on black, uint8, shape (size, size, 3)."""
    cell = draw_cell(rng, textures, look, who, CNMC_NUCLEUS, deviation)
    distance, n = cell.distance, len(cell.distance)
    half = n // 2
    if rng.random() < 0.25:  # cut straight where a neighbour touched it
        z = plane(n, n, half, half) * np.complex64(np.exp(2j * np.pi * rng.random()))
        distance = np.minimum(distance, np.float32(half * rng.uniform(0.55, 0.75)) - z.real)
    edge = 1 - 0.35 * np.exp(
        np.maximum(distance, 0) * np.float32(-1 / (1.2 * who.focus))
    )  # scattered light
    grain = 1.5 * textures.cut(rng, _GRAIN, n, n)
    # The segmentation's own, ragged outline, inside the blurred one.
    cut = distance > 0.8 * who.focus + np.abs(textures.cut(rng, _CHROMATIN, n, n))
    colours = np.empty((n, n, 3), np.uint8)
    for c in range(3):
        level = np.exp(cell.density[..., c] * -edge)
        level *= 255
        level += grain
        colours[..., c] = np.clip(level, 1, 255, out=level) * cut
    image = np.zeros((size, size, 3), np.uint8)
    y, x = (size // 2 + int(rng.integers(-12, 13)) for _ in range(2))
    if rng.random() < 0.08:  # a piece of a red cell left on
        m = int(0.35 * half)
        piece = blob(rng, plane(2 * m + 1, 2 * m + 1, m, m), 0.7 * m, 0.15) > 0
        tint = np.exp(-np.array((0.80, 1.10, 0.95)) * who.stain) * 255
        turn = 2 * np.pi * rng.random()
        add_at(
            image,
            (piece[..., None] * tint).astype(np.uint8),
            y + int(0.85 * half * np.sin(turn)),
            x + int(0.85 * half * np.cos(turn)),
        )
        image[_inside(image, y, x, half)][cut[_patch(image, y, x, half)]] = 0
    add_at(image, colours, y, x)
    return image


def _inside(image: np.ndarray, y: int, x: int, half: int) -> tuple[slice, slice]:
    h, w = image.shape[:2]
    return slice(max(0, y - half), min(h, y + half + 1)), slice(
        max(0, x - half), min(w, x + half + 1)
    )


def _patch(image: np.ndarray, y: int, x: int, half: int) -> tuple[slice, slice]:
    rows, columns = _inside(image, y, x, half)
    return slice(rows.start - y + half, rows.stop - y + half), slice(
        columns.start - x + half, columns.stop - x + half
    )


# Data sets ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Planned:
    """One C-NMC file to be drawn: place below the root, original name, person, class folder, side in pixels."""

    path: str
    name: str
    person: str
    kind: str
    size: int = 450


def simulate_cnmc(
    out: Path,
    samples: int | None = None,
    subjects: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """C-NMC 2019 in Kaggle's folders (`C-NMC_Leukemia/training_data/fold_k/{all,hem}` and so on) below `out`.

    Args:
        samples: Training images; preliminary and final ones come in the official proportion on top. None: the official
            file list, name by name (15,114 images, 9.8 GB).
        subjects: Training subjects, at least 6 (one a class and fold) and at most `samples`; by default in the official
            proportion. Folds share none, preliminary and final images are of others.

    Returns:
        `out`.
    """
    if samples is None and subjects is None:
        plan = _official_cnmc()
    else:
        plan = _plan_cnmc(samples or 10_661, subjects, np.random.default_rng([seed, 1]))
    root = _prepare(out, "C-NMC_Leukemia", "simulate_cnmc", samples, subjects, seed)
    for folder in {str(Path(p.path).parent) for p in plan}:
        (root / folder).mkdir(parents=True, exist_ok=True)
    people = {p.person: person(seed, f"cnmc {p.person}") for p in plan}
    textures = Textures(seed)

    def write(i: int) -> None:
        p = plan[i]
        rng = np.random.default_rng([seed, 2, i])
        image = draw_on_black(rng, textures, p.size, CNMC_CELLS[p.kind], people[p.person])
        Image.fromarray(image).save(root / p.path, "BMP")

    _run(write, len(plan), progress)
    lines = ["Patient_ID,new_names,labels"]
    lines += [
        f"{p.name},{Path(p.path).name},{int(p.kind == 'all')}" for p in plan if "prelim" in p.path
    ]
    csv = root / "validation_data" / "C-NMC_test_prelim_phase_data_labels.csv"
    csv.write_bytes("".join(line + "\r\n" for line in lines).encode())
    return Path(out)


_PRELIMINARY = "validation_data/C-NMC_test_prelim_phase_data"
_FINAL = "testing_data/C-NMC_test_final_phase_data"


def _official_cnmc() -> list[_Planned]:
    from leukobench.data.cnmc import NAME, official_files

    plan = []
    hidden = 0
    for part, file, name, _ in official_files().itertuples(index=False):
        if part == "final":
            kind = "all" if hidden % 17 < 9 else "hem"  # 9 and 8 subjects, unnamed
            plan.append(_Planned(f"{_FINAL}/{file}", "", f"final {hidden % 17}", kind, 600))
            hidden += 1
            continue
        match = NAME.match(name)
        assert match is not None
        folder = _PRELIMINARY if part == "preliminary" else f"training_data/{part}/{match[4]}"
        plan.append(_Planned(f"{folder}/{file}", name, match[1], match[4]))
    return plan


def _plan_cnmc(samples: int, subjects: int | None, rng: np.random.Generator) -> list[_Planned]:
    if subjects is None:
        subjects = min(73, max(6, round(samples * 73 / 10_661)))
    if samples < 6 or not 6 <= subjects <= samples:
        raise LeukoBenchError(
            f"simulated cnmc: {samples} training images of {subjects} subjects asked for; at least 6 subjects are needed "
            "(two classes in three subject-disjoint folds), and as many images as subjects"
        )
    plan: list[_Planned] = []
    ids = {"all": 0, "hem": 0}

    def people(kind: str, n_images: int, n_people: int) -> list[tuple[str, int, int]]:
        """Person, image and cell number of each of n_images cells of n_people new people of unequal size."""
        counts = _shares(n_images, rng.lognormal(0, 0.8, n_people))
        cells = []
        for count in counts:
            ids[kind] += 1
            who = f"H{ids[kind]}" if kind == "hem" else str(ids[kind])
            image = cell = 0
            for _ in range(count):
                if cell == 0 or rng.random() < 0.25:
                    image, cell = image + 1, 0
                cell += 1
                cells.append((who, image, cell))
        return cells

    n_all = min(max(3, round(subjects * 47 / 73)), subjects - 3)
    people_of = {"all": n_all, "hem": subjects - n_all}
    images_of = _at_least(samples, {"all": 7272, "hem": 3389}, people_of)
    for kind in ("all", "hem"):
        by_fold = _shares(people_of[kind], np.ones(3))
        images = _at_least(
            images_of[kind],
            {str(k): float(n) for k, n in enumerate(by_fold)},
            {str(k): n for k, n in enumerate(by_fold)},
        )
        for k, n_people in enumerate(by_fold):
            for who, image, cell in people(kind, images[str(k)], n_people):
                name = f"UID_{who}_{image}_{cell}_{kind}.bmp"
                plan.append(_Planned(f"training_data/fold_{k}/{kind}/{name}", name, who, kind))

    n_preliminary = max(4, round(samples * 1867 / 10_661))
    preliminary = []
    for kind, share in (("all", 13 / 28), ("hem", 15 / 28)):
        n = max(2, round(n_preliminary * (1219 if kind == "all" else 648) / 1867))
        for who, image, cell in people(kind, n, min(n, max(1, round(subjects * 28 / 73 * share)))):
            preliminary.append((f"UID_{who}_{image}_{cell}_{kind}.bmp", who, kind))
    for number, i in enumerate(rng.permutation(len(preliminary)), start=1):
        name, who, kind = preliminary[i]
        plan.append(_Planned(f"{_PRELIMINARY}/{number}.bmp", name, who, kind))

    for number in range(1, max(2, round(samples * 2586 / 10_661)) + 1):
        hidden = int(rng.integers(17))
        plan.append(
            _Planned(
                f"{_FINAL}/{number}.bmp", "", f"final {hidden}", "all" if hidden < 9 else "hem", 600
            )
        )
    return plan


def simulate_all_idb1(
    out: Path,
    samples: int | None = None,
    subjects: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """ALL-IDB1: `im/ImNNN_Y.jpg` of 2592 x 1944 pixels and `xyc/ImNNN_Y.xyc` below `out`.

    Args:
        samples: Fields, 2 to 999, 108 by default; 49 in 108 show blasts.
        subjects: People behind the fields, whom the names do not tell; by default one for two fields.

    Returns:
        `out`.
    """
    labels, people = _idb_plan(samples or 108, subjects, seed, 49 / 108)
    root = _prepare(out, "", "simulate_all_idb1", samples, subjects, seed)
    for folder in ("im", "xyc"):
        (root / folder).mkdir(exist_ok=True)
    textures = Textures(seed)
    height, width = 1944, 2592

    def write(i: int) -> None:
        rng = np.random.default_rng([seed, 3, i])
        blasts = int(rng.integers(2, 25)) if labels[i] == "1" else 0
        others = int(rng.integers(1, 4)) if labels[i] == "0" else int(rng.integers(0, 2))
        places = _apart(rng, blasts + others, height, width, 190)
        white = [(IDB_CELLS["1"], y, x) for y, x in places[:blasts]]
        white += [(IDB_HEALTHY[int(rng.integers(3))], y, x) for y, x in places[blasts:]]
        image = draw_smear(
            rng, textures, height, width, people[i], white, red_radius=46, red_cover=0.4
        )
        name = f"Im{i + 1:03d}_{labels[i]}"
        Image.fromarray(image).save(root / "im" / f"{name}.jpg", quality=92)
        lines = "".join(f"{x}\t{y}\n" for y, x in places[:blasts])
        (root / "xyc" / f"{name}.xyc").write_text(lines)

    _run(write, len(labels), progress)
    return root


def simulate_all_idb2(
    out: Path,
    samples: int | None = None,
    subjects: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """ALL-IDB2: `img/ImNNN_Y.tif`, single cells of 257 x 257 pixels, below `out`.

    Args:
        samples: Cells, 2 to 999, 260 by default; half are blasts.
        subjects: People behind the cells, whom the names do not tell; by default one for six cells.

    Returns:
        `out`.
    """
    n = samples or 260
    labels, people = _idb_plan(n, subjects or max(2, n // 6), seed, 0.5)
    root = _prepare(out, "", "simulate_all_idb2", samples, subjects, seed)
    (root / "img").mkdir(exist_ok=True)
    textures = Textures(seed)

    def write(i: int) -> None:
        rng = np.random.default_rng([seed, 4, i])
        look = IDB_CELLS["1"] if labels[i] == "1" else IDB_HEALTHY[int(rng.integers(3))]
        y, x = (128 + int(rng.integers(-10, 11)) for _ in range(2))
        image = draw_smear(
            rng, textures, 257, 257, people[i], [(look, y, x)], red_radius=46, red_cover=0.5
        )
        Image.fromarray(image).save(root / "img" / f"Im{i + 1:03d}_{labels[i]}.tif")

    _run(write, n, progress)
    return root


def _idb_plan(
    samples: int, subjects: int | None, seed: int, share: float
) -> tuple[list[str], list[Person]]:
    """Label and person of each image; a person is either ill or healthy."""
    if not 2 <= samples <= 999:
        raise LeukoBenchError(
            f"simulated all_idb: {samples} images asked for; names ImNNN allow 2 to 999"
        )
    subjects = min(samples, subjects or max(2, samples // 2))
    if subjects < 2:
        raise LeukoBenchError(
            "simulated all_idb: at least 2 subjects are needed, one ill and one healthy"
        )
    ill = min(max(1, round(samples * share)), samples - 1)
    ill_people = min(max(1, round(subjects * share)), subjects - 1)
    rng = np.random.default_rng([seed, 5])
    labels = ["1"] * ill + ["0"] * (samples - ill)
    people = [
        person(
            seed,
            f"idb {label} {rng.integers(ill_people if label == '1' else subjects - ill_people)}",
        )
        for label in labels
    ]
    return labels, people


def simulate_aml(
    out: Path,
    samples: int | None = None,
    subjects: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """AML-Cytomorphology_LMU: `AML-Cytomorphology_LMU/CLS/CLS_NNNN.tiff` and `annotations.dat` below `out`.

    Args:
        samples: Cells, at least 15; classes in the official proportion with at least one cell each. None: the official
            counts (18,365 cells, 11.8 GB).
        subjects: People behind the cells, whom the names do not tell; 200 by default, at most one for four cells.

    Returns:
        `out`.
    """
    from leukobench.data.aml import COUNTS, UNCLASSIFIABLE

    total = samples or sum(COUNTS.values())
    if total < len(COUNTS):
        raise LeukoBenchError(
            f"simulated aml: {total} cells asked for; at least {len(COUNTS)}, one a class, are needed"
        )
    counts = _at_least(total, COUNTS, dict.fromkeys(COUNTS, 1))
    n_people = subjects or max(1, min(200, total // 4))
    root = _prepare(out, "AML-Cytomorphology_LMU", "simulate_aml", samples, subjects, seed)
    plan = [(code, number) for code in sorted(counts) for number in range(1, counts[code] + 1)]
    for code in counts:
        (root / code).mkdir(exist_ok=True)
    textures = Textures(seed)

    def write(i: int) -> None:
        code, number = plan[i]
        rng = np.random.default_rng([seed, 6, i])
        who = person(seed, f"aml {rng.integers(n_people)}")
        y, x = (200 + int(rng.integers(-25, 26)) for _ in range(2))
        look = AML_CELLS[code]
        if code == "KSC":  # smudge cells have lost their outline
            who = replace(who, focus=12.0)
        image = draw_smear(
            rng, textures, 400, 400, who, [(look, y, x)], red_radius=52, red_cover=0.6
        )
        opaque = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
        Image.fromarray(opaque).save(root / code / f"{code}_{number:04d}.tiff")

    _run(write, len(plan), progress)
    # About a tenth is annotated twice more; the shares of agreement are those of the official file.
    rng = np.random.default_rng([seed, 8])
    others = [*COUNTS, UNCLASSIFIABLE]
    lines = []
    for code, number in plan:
        again = ["nan", "nan"]
        if rng.random() < 1905 / 18365:
            again = [
                code if rng.random() < agree else str(rng.choice(others)) for agree in (0.85, 0.80)
            ]
        lines.append(f"{code}/{code}_{number:04d}.tiff {code} {again[0]} {again[1]}\n")
    (root / "annotations.dat").write_text("".join(lines))
    return Path(out)


# Helpers --------------------------------------------------------------------------------------------------------------


def _prepare(
    out: Path, folder: str, function: str, samples: int | None, subjects: int | None, seed: int
) -> Path:
    """The folder to write into, marked before its first image, so that half a simulation is marked as well.

    Raises:
        LeukoBenchError: Something else lies there: simulated and other images never mix.
    """
    root = Path(out) / folder if folder else Path(out)
    text = (
        "Simulated images: drawn by a program, of no person. Not for any statement about leukemia.\n"
        f"{function}(samples={samples}, subjects={subjects}, seed={seed}), version {VERSION}\n"
    )
    mark = root / MARK
    same = mark.is_file() and mark.read_text() == text
    if root.is_dir() and any(root.iterdir()) and not same:
        raise LeukoBenchError(
            f"{root} is not empty and does not hold this very simulation; simulated images are not mixed with others. "
            "Choose another folder, or remove that one"
        )
    mark_simulated(root, text)
    if root != Path(out):
        mark_simulated(Path(out), text)
    return root


def _run(write: Callable[[int], None], n: int, progress: Progress | None) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for i, _ in enumerate(pool.map(write, range(n)), start=1):
            if progress is not None:
                progress("simulate", i, n)


def _shares(total: int, weights: np.ndarray) -> list[int]:
    """Whole numbers of at least 1 that sum to `total`, about proportional to the weights."""
    weights = np.asarray(weights, float)
    exact = (total - len(weights)) * weights / weights.sum()
    whole = np.floor(exact).astype(int)
    for i in np.argsort(whole - exact, kind="stable")[: total - len(weights) - whole.sum()]:
        whole[i] += 1
    return [int(n) + 1 for n in whole]


def _at_least(total: int, weights: Mapping[str, float], least: Mapping[str, int]) -> dict[str, int]:
    """Whole numbers that sum to `total`, about proportional to the weights, none below its least."""
    target = {k: total * w / sum(weights.values()) for k, w in weights.items()}
    result = {k: max(least[k], round(t)) for k, t in target.items()}
    while sum(result.values()) < total:
        result[min(result, key=lambda k: result[k] / target[k])] += 1
    while sum(result.values()) > total:
        result[
            max((k for k in result if result[k] > least[k]), key=lambda k: result[k] / target[k])
        ] -= 1
    return result


def _apart(
    rng: np.random.Generator, n: int, height: int, width: int, distance: float
) -> list[tuple[int, int]]:
    """Up to n random places, each at least `distance` from the others and 100 pixels from the border."""
    places: list[tuple[int, int]] = []
    for y, x in zip(
        rng.integers(100, height - 100, 40 * n), rng.integers(100, width - 100, 40 * n)
    ):
        if len(places) < n and all(np.hypot(y - a, x - b) >= distance for a, b in places):
            places.append((int(y), int(x)))
    return places
