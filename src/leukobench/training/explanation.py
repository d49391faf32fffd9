"""Explaining a saved model on images or tables: overlays, mean maps, shares outside the cell, ranked genes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageDraw

from leukobench.data.base import Dataset, ExpressionDataset, ImageDataset
from leukobench.data.preprocess import signal_to_noise
from leukobench.errors import ConfigError, FaultyDataError, LeukoBenchError
from leukobench.models import explain
from leukobench.models.explain import METHODS, Method
from leukobench.models.inputs import ExpressionInput
from leukobench.training.job import Job, load_dataset
from leukobench.training.predict import ImageInputFile, image_files, read_expression, read_images
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
TOP = 50
"""How many genes at the head of two rankings are compared; as many as Golub 1999 voted with."""


# --- images -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ImageExplanation:
    """What explaining images left.

    Attributes:
        table: One row an image and method: `sample`, `label` (true class, empty where unknown), `predicted`,
            `probability`, `method`, `outside` (share of saliency on black background), `background` (share of black
            pixels; what evenly spread saliency would give); both NaN where the image has no black background.
        pictures: Files written.
        faults: Images that could not be read, with the reason.
    """

    table: pd.DataFrame
    pictures: tuple[Path, ...]
    faults: tuple[tuple[str, str], ...]

    def outside(self) -> pd.DataFrame:
        """Mean share of saliency outside the cell by method and predicted class, beside the background's area."""
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
    """Write one strip an image (the image and each method's overlay for the predicted class), mean maps and a table.

    Args:
        inputs: Images, folders or zips.
        out: Folder to write to.
        labels: True class of each input, where each input is one image.

    Raises:
        ConfigError: The model reads no images, or a method does not work on its network.
        FaultyDataError: None of the images can be read.
    """
    _check_family(model, "image")
    files, _ = image_files(inputs)
    if labels is not None and len(labels) != len(files):
        raise ConfigError(f"{len(labels)} labels are given for {len(files)} images")
    size = int(model.input.size or 0)
    module = model.input.module()
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
    """Images of the run's own data, the same number of each class, evenly spaced through a part; and their classes.

    Raises:
        MissingDataError: The data set is not where the run found it.
    """
    dataset = own_data(model)
    if not isinstance(dataset, ImageDataset):
        raise ConfigError(f"{model.name} was not trained on images")
    ids = set(_part(model, part))
    paths, labels = [], []
    for name in dataset.classes:
        mine = [
            i
            for i, s in enumerate(dataset.ids)
            if s in ids and dataset.samples["label"].iloc[i] == name
        ]
        chosen = np.linspace(0, max(len(mine) - 1, 0), min(per_class, len(mine))).astype(int)
        paths += [dataset.paths[mine[i]] for i in chosen]
        labels += [name] * len(chosen)
    return paths, labels


def activation_maxima(model: SavedModel, out: Path, steps: int = 120) -> dict[str, float]:
    """Write `activation.png`, an image that each class's logit is large for; its probabilities by class."""
    _check_family(model, "image")
    size = int(model.input.size or 0)
    module = model.input.module()
    found = {
        name: explain.activation_maximum(model.network, module, i, size, steps=steps)
        for i, name in enumerate(model.classes)
    }
    titles = [f"{name}, probability {p:.3f}" for name, (_, p) in found.items()]
    _strip([image for image, _ in found.values()], titles, out / "activation.png")
    return {name: p for name, (_, p) in found.items()}


def _file_names(files: Sequence[ImageInputFile]) -> list[str]:
    """A distinct file name for each image: its own, with its folder where two are called the same."""
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


# --- genes --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class GeneRanking:
    """Genes ranked by what the model made of them, beside their univariate ranking.

    Attributes:
        table: One row a gene, best first: `rank`, `gene`, `name`, `attribution` (mean absolute integrated gradient of
            the logit), `high_speaks_for`, and where the run's data are here `signal_to_noise` on its training rows with
            `signal_to_noise_rank`.
        samples: How many samples were explained.
        spearman: Rank correlation of both rankings over all genes, NaN without the data.
        overlap: How many of the first `TOP` genes both rankings share.
    """

    table: pd.DataFrame
    samples: int
    spearman: float
    overlap: int


def explain_genes(
    model: SavedModel, inputs: Sequence[Path] = (), part: str = "test"
) -> GeneRanking:
    """Rank the genes a model reads by integrated gradients from the training median.

    The logit is the positive class's, or the predicted class's where there is none. Genes are those before a learned
    encoder, which is differentiated through.

    Args:
        inputs: Tables; none for a part of the run's own data.

    Raises:
        ConfigError: The model reads images.
        MissingDataError: No tables are given and the run's data are not here.
    """
    _check_family(model, "expression")
    try:
        dataset: Dataset | None = own_data(model)
    except LeukoBenchError:
        if not inputs:
            raise
        dataset = None
    if inputs:
        values = np.concatenate([read_expression(path, model.genes)[1] for path in inputs])
        values = values[np.isfinite(values).all(axis=1)]
    else:
        values = _values(model, dataset, _part(model, part))[0]
    if not len(values):
        raise FaultyDataError("there is no sample to explain")
    module = model.input.module()
    assert isinstance(module, ExpressionInput)
    with torch.no_grad():
        x = module.scaled(torch.from_numpy(values))
        centre = module.scaled(torch.from_numpy(np.asarray(model.input.arrays["centre"]))[None])
    p = model.predict(values)
    positive = model.input.positive
    targets = (
        np.full(len(p), model.classes.index(positive)) if positive is not None else p.argmax(axis=1)
    )
    network = torch.nn.Sequential(module.encoder, model.network)
    signed = explain.gene_attributions(
        network, x, torch.from_numpy(targets.astype(np.int64)), centre
    )
    size = np.abs(signed).mean(axis=0)
    slope = (signed * (x - centre).double().numpy()).sum(axis=0)
    frame = pd.DataFrame(
        {
            "gene": model.genes,
            "name": model.input.gene_names or [""] * len(model.genes),
            "attribution": size,
            "high_speaks_for": np.where(slope > 0, positive or "predicted class", "others"),
        }
    )
    spearman, overlap = float("nan"), 0
    if dataset is not None:
        seen, y = _values(model, dataset, _part(model, "train"))
        with torch.no_grad():
            scaled = module.scaled(torch.from_numpy(seen)).numpy()
        frame["signal_to_noise"] = signal_to_noise(scaled, y)
        frame["signal_to_noise_rank"] = (
            frame["signal_to_noise"].rank(ascending=False, method="first").astype(int)
        )
        spearman = float(frame["attribution"].corr(frame["signal_to_noise"], method="spearman"))
    frame = frame.sort_values(["attribution", "gene"], ascending=[False, True], ignore_index=True)
    frame.insert(0, "rank", np.arange(1, len(frame) + 1))
    if dataset is not None:
        overlap = int((frame["signal_to_noise_rank"].head(TOP) <= TOP).sum())
    return GeneRanking(frame, len(values), spearman, overlap)


def _values(
    model: SavedModel, dataset: Dataset | None, ids: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Raw values of the model's genes and class indices of these samples; synthetic samples have none and are left out."""
    if not isinstance(dataset, ExpressionDataset):
        raise ConfigError(f"{model.name} was not trained on expression data")
    rows = dataset.ids.get_indexer(pd.Index(list(ids)))
    rows = rows[rows >= 0]
    column = {g: i for i, g in enumerate(dataset.genes)}
    return np.ascontiguousarray(
        dataset.values[rows][:, [column[g] for g in model.genes]]
    ), dataset.y[rows]


# --- both ---------------------------------------------------------------------------------------------------------


def own_data(model: SavedModel) -> Dataset:
    """The data set the run was trained on, from where the run found it."""
    return load_dataset(Job(dict(model.config), {}))


def _part(model: SavedModel, part: str) -> list[str]:
    split = model.files.json("split.json")
    if split is None:
        raise ConfigError(f"{model.name} carries no split; name images or tables to explain")
    return list(split["parts"][part])


def _check_family(model: SavedModel, family: str) -> None:
    if model.input.family != family:
        raise ConfigError(f"{model.name} reads {model.input.family} data, not {family} data")
