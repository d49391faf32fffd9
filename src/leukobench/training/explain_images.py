"""Explaining a saved model on images: overlays, mean maps, shares of saliency outside the cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageDraw

from leukobench.data.families.image import FAMILY
from leukobench.errors import ConfigError, FaultyDataError
from leukobench.models import explain
from leukobench.models.explain import METHODS, Method
from leukobench.training.explanation import own_data, part_of
from leukobench.training.image_inputs import ImageInputFile, image_files, read_images
from leukobench.training.saved import SavedModel

Progress = Callable[[str, int, int], None]
TITLES = {
    "grad_cam": "Grad-CAM",
    "integrated_gradients": "Integrated gradients",
    "occlusion": "Occlusion",
}
CAPTION = 18
PANEL = 224
"""Pixels that a panel is at least wide: smaller ones are enlarged, so that captions fit."""


@dataclass(frozen=True, eq=False)
class ImageExplanation:
    """What explaining images left.

    Attributes:
        table: One row an image and method: `sample`, `label` (true class, empty where unknown),
            `predicted`, `probability`, `method`, `outside` (share of saliency on black background),
            `background` (share of black pixels; what evenly spread saliency would give); both NaN
            where the image has no black background.
        pictures: Files written.
        faults: Images that could not be read, with the reason.
    """

    table: pd.DataFrame
    pictures: tuple[Path, ...]
    faults: tuple[tuple[str, str], ...]

    def outside(self) -> pd.DataFrame:
        """Mean share of saliency outside the cell by method and predicted class, beside the
        background's area.
        """
        known = self.table.dropna(subset=["outside"])
        by = known.groupby(["method", "predicted"], as_index=False)
        return by.agg(
            outside=("outside", "mean"),
            background=("background", "mean"),
            images=("sample", "count"),
        )


def explain_images(
    model: SavedModel,
    inputs: Sequence[Path],
    out: Path,
    *,
    labels: Sequence[str] | None = None,
    methods: Sequence[Method] = METHODS,
    progress: Progress | None = None,
) -> ImageExplanation:
    """Write one strip an image (the image and each method's overlay for the predicted class), mean
    maps and a table.

    Args:
        inputs: Images, folders or zips.
        out: Folder to write to.
        labels: True class of each input, where each input is one image.

    Raises:
        ConfigError: The model reads no images, or a method does not work on its network.
        FaultyDataError: None of the images can be read.
    """
    model.input.expect(FAMILY.name, model.name)
    files, _ = image_files(inputs)
    if labels is not None and len(labels) != len(files):
        raise ConfigError(f"{len(labels)} labels are given for {len(files)} images")
    size = int(model.input.size or 0)
    module = model.family.module(model.input)
    ends = (module(torch.zeros(1, 1, 1, 3)), module(torch.full((1, 1, 1, 3), 255.0)))
    rows: list[dict[str, object]] = []
    faults: list[tuple[str, str]] = []
    pictures: list[Path] = []
    kept: dict[Method, list[np.ndarray]] = {m: [] for m in methods}
    groups: list[int] = []
    names = _file_names(files)
    done = 0
    for chunk, decoded in read_images(files, size, 8):
        good = [(file, image) for file, image in zip(chunk, decoded) if not isinstance(image, str)]
        faults += [(f.sample, d) for f, d in zip(chunk, decoded) if isinstance(d, str)]
        offset, done = done, done + len(chunk)
        if not good:
            continue
        images = np.stack([image for _, image in good])
        p = model.predict(images)
        predicted = p.argmax(axis=1)
        x = module(torch.from_numpy(images))
        maps = {
            m: explain.saliency(model.network, x, torch.from_numpy(predicted), m, ends=ends)
            for m in methods
        }
        for i, (file, image) in enumerate(good):
            at = offset + list(chunk).index(file)
            label = labels[at] if labels is not None else ""
            called = f"{model.classes[predicted[i]]} {p[i, predicted[i]]:.2f}"
            titles, panels = [f"{called}, true {label}" if label else called], [image]
            for m in methods:
                share = explain.outside_cell(image, maps[m][i])
                rows.append(
                    {
                        "sample": file.sample,
                        "label": label,
                        "predicted": model.classes[predicted[i]],
                        "probability": float(p[i, predicted[i]]),
                        "method": m,
                        "outside": np.nan if share is None else share.saliency,
                        "background": np.nan if share is None else share.area,
                    }
                )
                drawn = (
                    explain.smoothed(maps[m][i], max(3, size // 28))
                    if m == "integrated_gradients"
                    else maps[m][i]
                )
                panels.append(explain.overlay(image, drawn))
                titles.append(
                    TITLES[m] + ("" if share is None else f", {share.saliency:.0%} outside")
                )
                kept[m].append(maps[m][i])
            groups.append(int(predicted[i]))
            pictures.append(_strip(panels, titles, out / f"{names[at]}.png"))
        if progress is not None:
            progress("images", done, len(files))
    if not groups:
        raise FaultyDataError(
            f"none of {len(files)} images can be read: "
            + "; ".join(f"{s}: {e}" for s, e in faults[:3])
        )
    for m in methods:
        means = explain.mean_maps(np.stack(kept[m]), np.array(groups))
        grey = np.full((size, size, 3), 40, np.uint8)
        counts = {g: groups.count(g) for g in means}
        pictures.append(
            _strip(
                [explain.overlay(grey, explain.smoothed(v, 3), 1.0) for v in means.values()],
                [f"called {model.classes[g]}, {counts[g]} images" for g in means],
                out / f"mean_{m}.png",
            )
        )
    table = pd.DataFrame(rows)
    table.to_csv(out / "saliency.csv", index=False)
    return ImageExplanation(table, tuple(pictures), tuple(faults))


def own_images(
    model: SavedModel, per_class: int, part: str = "test"
) -> tuple[list[Path], list[str]]:
    """Images of the run's own data, the same number of each class, evenly spaced through a part;
    and their classes.

    Raises:
        MissingDataError: The data set is not where the run found it.
    """
    dataset = own_data(model)
    model.input.expect(FAMILY.name, model.name)
    files = dataset.files()
    ids = set(part_of(model, part))
    paths, labels = [], []
    for name in dataset.classes:
        of_class = dataset.ids[dataset.samples["label"] == name]
        mine = [sample for sample in of_class if sample in ids]
        chosen = np.linspace(0, max(len(mine) - 1, 0), min(per_class, len(mine))).astype(int)
        paths += [files[mine[i]] for i in chosen]
        labels += [name] * len(chosen)
    return paths, labels


def activation_maxima(model: SavedModel, out: Path, steps: int = 120) -> dict[str, float]:
    """Write `activation.png`, an image that each class's logit is large for; its probabilities by
    class.
    """
    model.input.expect(FAMILY.name, model.name)
    size = int(model.input.size or 0)
    module = model.family.module(model.input)
    found = {
        name: explain.activation_maximum(model.network, module, i, size, steps=steps)
        for i, name in enumerate(model.classes)
    }
    titles = [f"{name}, probability {p:.3f}" for name, (_, p) in found.items()]
    _strip([image for image, _ in found.values()], titles, out / "activation.png")
    return {name: p for name, (_, p) in found.items()}


def _file_names(files: Sequence[ImageInputFile]) -> list[str]:
    """A distinct file name for each image: its own, with its folder where two are called the
    same.
    """
    stems = [Path(f.sample).stem for f in files]
    names = []
    for i, f in enumerate(files):
        name = (
            stems[i] if stems.count(stems[i]) == 1 else f"{Path(f.sample).parent.name}-{stems[i]}"
        )
        names.append(name if name not in names else f"{name}-{i}")
    return names


def _strip(panels: Sequence[np.ndarray], titles: Sequence[str], path: Path) -> Path:
    """Pictures side by side under captions."""
    times = -(-PANEL // panels[0].shape[1])
    panels = [np.kron(p, np.ones((times, times, 1), p.dtype)) for p in panels]
    height, width = panels[0].shape[:2]
    gap = 4
    canvas = Image.new("RGB", ((width + gap) * len(panels) - gap, height + CAPTION), "white")
    draw = ImageDraw.Draw(canvas)
    for i, (panel, title) in enumerate(zip(panels, titles)):
        canvas.paste(Image.fromarray(panel), (i * (width + gap), CAPTION))
        draw.text((i * (width + gap) + 2, 3), title, fill="black", font_size=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(path)
    return path
