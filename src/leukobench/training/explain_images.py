"""Explaining a saved model on images: overlays, mean maps, shares of saliency outside the cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from leukobench.progress import Progress
from leukobench.training.explanation import own_data, part_of
from leukobench.training.image_inputs import ImageInputFile, image_files, read_images
from leukobench.training.saved import SavedModel

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
    explainer = _Explainer(model, methods)
    names = _file_names(files)
    faults: list[tuple[str, str]] = []
    pictures: list[Path] = []
    done = 0
    for chunk, decoded in read_images(files, explainer.size, 8):
        places, images = [], []
        for at, (file, image) in enumerate(zip(chunk, decoded), start=done):
            if isinstance(image, str):
                faults.append((file.sample, image))
            else:
                places.append(at)
                images.append(image)
        done += len(chunk)
        if images:
            found = explainer.explained(np.stack(images))
            for i, at in enumerate(places):
                label = labels[at] if labels is not None else ""
                panels, titles = explainer.drawn(found, i, files[at].sample, label=label)
                pictures.append(_strip(panels, titles, out / f"{names[at]}.png"))
        if progress is not None:
            progress("images", done, len(files))
    if not explainer.groups:
        some = "; ".join(f"{sample}: {reason}" for sample, reason in faults[:3])
        raise FaultyDataError(f"none of {len(files)} images can be read: {some}")
    pictures += [explainer.mean_picture(method, out) for method in methods]
    table = pd.DataFrame(explainer.rows)
    table.to_csv(out / "saliency.csv", index=False)
    return ImageExplanation(table, tuple(pictures), tuple(faults))


@dataclass(frozen=True, eq=False)
class _Batch:
    """Images of a batch, their probabilities, and each method's saliency for the predicted class."""

    images: np.ndarray
    probabilities: np.ndarray
    maps: Mapping[Method, np.ndarray]


class _Explainer:
    """Explains images batch by batch, keeping what the table and the mean maps are made of."""

    def __init__(self, model: SavedModel, methods: Sequence[Method]) -> None:
        self.model, self.methods = model, methods
        self.size = int(model.input.size or 0)
        self.module = model.family.module(model.input)
        black, white = torch.zeros(1, 1, 1, 3), torch.full((1, 1, 1, 3), 255.0)
        self.ends = self.module(black), self.module(white)
        self.rows: list[dict[str, object]] = []
        self.maps: dict[Method, list[np.ndarray]] = {m: [] for m in methods}
        self.groups: list[int] = []

    def explained(self, images: np.ndarray) -> _Batch:
        p = self.model.predict(images)
        x, target = self.module(torch.from_numpy(images)), torch.from_numpy(p.argmax(axis=1))
        maps = {}
        for m in self.methods:
            maps[m] = explain.saliency(self.model.network, x, target, m, ends=self.ends)
        return _Batch(images, p, maps)

    def drawn(
        self, batch: _Batch, i: int, sample: str, *, label: str
    ) -> tuple[list[np.ndarray], list[str]]:
        """Panels and titles of one image's strip; its rows and maps are kept."""
        image, p = batch.images[i], batch.probabilities[i]
        predicted = int(p.argmax())
        self.groups.append(predicted)
        name = self.model.classes[predicted]
        title = f"{name} {p[predicted]:.2f}"
        panels, titles = [image], [f"{title}, true {label}" if label else title]
        for m in self.methods:
            saliency = batch.maps[m][i]
            self.maps[m].append(saliency)
            share = explain.outside_cell(image, saliency)
            said = "" if share is None else f", {share.saliency:.0%} outside"
            if m == "integrated_gradients":
                saliency = explain.smoothed(saliency, max(3, self.size // 28))
            panels.append(explain.overlay(image, saliency))
            titles.append(TITLES[m] + said)
            self.rows.append(
                {
                    "sample": sample,
                    "label": label,
                    "predicted": name,
                    "probability": float(p[predicted]),
                    "method": m,
                    "outside": np.nan if share is None else share.saliency,
                    "background": np.nan if share is None else share.area,
                }
            )
        return panels, titles

    def mean_picture(self, method: Method, out: Path) -> Path:
        """The mean map of each predicted class, on grey."""
        means = explain.mean_maps(np.stack(self.maps[method]), np.array(self.groups))
        grey = np.full((self.size, self.size, 3), 40, np.uint8)
        panels, titles = [], []
        for group, mean in means.items():
            panels.append(explain.overlay(grey, explain.smoothed(mean, 3), 1.0))
            count = self.groups.count(group)
            titles.append(f"called {self.model.classes[group]}, {count} images")
        return _strip(panels, titles, out / f"mean_{method}.png")


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
