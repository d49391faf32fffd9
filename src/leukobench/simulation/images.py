"""Simulated cells in the official layouts of the image data sets; every image is a function of seed
and place.

Whatever the number of threads, the same arguments write the same files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from leukobench.data.image_files import console_progress
from leukobench.data.simulated import MARK, mark_simulated
from leukobench.data.sources.aml import COUNTS, UNCLASSIFIABLE
from leukobench.data.sources.cnmc import NAME, official_files
from leukobench.errors import LeukoBenchError
from leukobench.progress import Progress
from leukobench.simulation.cells import Person, draw_on_black, draw_smear, looks, person
from leukobench.simulation.shares import share_out

VERSION = 2
"""Raised when the same arguments would draw other images; part of the mark."""

PRELIMINARY = "validation_data/C-NMC_test_prelim_phase_data"
FINAL = "testing_data/C-NMC_test_final_phase_data"
CNMC_TRAIN = {"images": 10_661, "ALL images": 7_272, "subjects": 73, "ALL subjects": 47}
"""Of the official training part."""
HIDDEN = 17
"""Subjects of the final part, unnamed, of whom 9 are ill."""


@dataclass(frozen=True)
class Planned:
    """One C-NMC file to be drawn: place below the root, original name, person, class folder, side
    in pixels.
    """

    path: str
    name: str
    person: str
    kind: str
    size: int = 450


def simulate_cnmc(
    out: Path,
    *,
    samples: int | None = None,
    subjects: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """C-NMC 2019 in Kaggle's folders (`C-NMC_Leukemia/training_data/fold_k/{all,hem}` and so on)
    below `out`.

    Args:
        samples: Training images; preliminary and final ones come in the official proportion on top.
            None: the official file list, name by name (15,114 images, 9.8 GB).
        subjects: Training subjects, at least 6 (one a class and fold) and at most `samples`; by
            default in the official proportion. Folds share none, preliminary and final images are
            of others.

    Returns:
        `out`.
    """
    if samples is None and subjects is None:
        plan = _official_cnmc()
    else:
        plan = _plan_cnmc(samples or CNMC_TRAIN["images"], subjects, np.random.default_rng(seed))
    root = _prepare(out, "C-NMC_Leukemia", f"cnmc, samples={samples}, subjects={subjects}, {seed=}")
    for folder in {str(Path(p.path).parent) for p in plan}:
        (root / folder).mkdir(parents=True, exist_ok=True)

    def write(i: int) -> None:
        p = plan[i]
        rng, who = np.random.default_rng([seed, 2, i]), person(seed, f"cnmc {p.person}")
        image = draw_on_black(rng, looks("cnmc")[p.kind], who, size=p.size, seed=seed)
        Image.fromarray(image).save(root / p.path, "BMP")

    _run(write, len(plan), progress)
    lines = ["Patient_ID,new_names,labels"]
    for p in plan:
        if p.path.startswith(PRELIMINARY):
            lines.append(f"{p.name},{Path(p.path).name},{int(p.kind == 'all')}")
    table = root / "validation_data" / "C-NMC_test_prelim_phase_data_labels.csv"
    table.write_bytes("".join(line + "\r\n" for line in lines).encode())
    return out


def _hidden(number: int, file: str) -> Planned:
    """An image of the final part."""
    who = number % HIDDEN
    kind = "all" if who < 9 else "hem"
    return Planned(f"{FINAL}/{file}", "", person=f"final {who}", kind=kind, size=600)


def _official_cnmc() -> list[Planned]:
    plan = []
    for number, row in enumerate(official_files().itertuples(index=False)):
        part, file, name, _ = row
        if part == "final":
            plan.append(_hidden(number, file))
            continue
        match = NAME.match(name)
        assert match is not None
        folder = PRELIMINARY if part == "preliminary" else f"training_data/{part}/{match[4]}"
        plan.append(Planned(f"{folder}/{file}", name, person=match[1], kind=match[4]))
    return plan


def _plan_cnmc(samples: int, subjects: int | None, rng: np.random.Generator) -> list[Planned]:
    official = CNMC_TRAIN
    if subjects is None:
        wanted = round(samples * official["subjects"] / official["images"])
        subjects = min(official["subjects"], max(6, wanted))
    if not 6 <= subjects <= samples:
        raise LeukoBenchError(
            f"simulated cnmc: {samples} training images of {subjects} subjects asked for; at least "
            f"6 subjects are needed "
            "(two classes in three subject-disjoint folds), and as many images as subjects"
        )
    n_ill = _between(subjects * official["ALL subjects"] / official["subjects"], 3, subjects - 3)
    share = official["ALL images"] / official["images"]
    n_all = _between(samples * share, n_ill, samples - (subjects - n_ill))
    plan = []
    for kind, people, images in (
        ("all", range(1, n_ill + 1), n_all),
        ("hem", range(1, subjects - n_ill + 1), samples - n_all),
    ):
        for number, name in _cells(kind, people, images, rng):
            path = f"training_data/fold_{number % 3}/{kind}/{name}"
            plan.append(Planned(path, name, person=f"{kind} {number}", kind=kind))
    others: list[tuple[int, str, str]] = []
    for kind, n in (("all", samples * 1219), ("hem", samples * 648)):
        images = max(2, round(n / official["images"]))
        people = range(1001, 1001 + max(1, min(images, subjects // 5)))
        others += [(number, name, kind) for number, name in _cells(kind, people, images, rng)]
    for file, i in enumerate(rng.permutation(len(others)), start=1):
        number, name, kind = others[i]
        path = f"{PRELIMINARY}/{file}.bmp"
        plan.append(Planned(path, name, person=f"{kind} {number}", kind=kind))
    for number in range(1, max(2, round(samples * 2586 / official["images"])) + 1):
        plan.append(_hidden(number, f"{number}.bmp"))
    return plan


def _between(x: float, low: int, high: int) -> int:
    return min(max(round(x), low), high)


def _cells(
    kind: str, people: Sequence[int], images: int, rng: np.random.Generator
) -> Iterator[tuple[int, str]]:
    """Person and official name of each of `images` cells of these people, who have unequally
    many.
    """
    weights = {str(number): float(rng.lognormal(0, 0.8)) for number in people}
    for number, count in share_out(images, weights).items():
        who = number if kind == "all" else f"H{number}"
        for i in range(count):
            yield int(number), f"UID_{who}_{i // 4 + 1}_{i % 4 + 1}_{kind}.bmp"


def simulate_all_idb1(
    out: Path,
    *,
    samples: int = 108,
    subjects: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """ALL-IDB1: `im/ImNNN_Y.jpg` of 2592 x 1944 pixels and `xyc/ImNNN_Y.xyc` below `out`.

    Args:
        samples: Fields, 2 to 999; 49 in 108 show blasts.
        subjects: People behind the fields, whom the names do not tell; by default one for two
            fields.

    Returns:
        `out`.
    """
    labels, people = _idb_plan(samples, subjects or max(2, samples // 2), seed, share=49 / 108)
    root = _prepare(out, "", f"all_idb1, samples={samples}, subjects={subjects}, {seed=}")
    for folder in ("im", "xyc"):
        (root / folder).mkdir(exist_ok=True)

    def write(i: int) -> None:
        rng = np.random.default_rng([seed, 3, i])
        ill = labels[i] == "1"
        # a grid of places, so that cells stand apart
        y, x = (a.ravel() for a in np.mgrid[200:1800:320, 200:2450:320])
        n = int(rng.integers(2, 13) if ill else rng.integers(1, 4))
        places = [(int(y[k]), int(x[k])) for k in rng.permutation(len(y))[:n]]
        cells = [(looks("all_idb")[labels[i]], *place) for place in places]
        image = draw_smear(rng, (1944, 2592), people[i], cells, seed=seed)
        name = f"Im{i + 1:03d}_{labels[i]}"
        Image.fromarray(image).save(root / "im" / f"{name}.jpg", quality=92)
        blasts = "".join(f"{x}\t{y}\n" for y, x in places) if ill else ""
        (root / "xyc" / f"{name}.xyc").write_text(blasts)

    _run(write, samples, progress)
    return root


def simulate_all_idb2(
    out: Path,
    *,
    samples: int = 260,
    subjects: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """ALL-IDB2: `img/ImNNN_Y.tif`, single cells of 257 x 257 pixels, below `out`.

    Args:
        samples: Cells, 2 to 999; half are blasts.
        subjects: People behind the cells, whom the names do not tell; by default one for six cells.

    Returns:
        `out`.
    """
    labels, people = _idb_plan(samples, subjects or max(2, samples // 6), seed, share=0.5)
    root = _prepare(out, "", f"all_idb2, samples={samples}, subjects={subjects}, {seed=}")
    (root / "img").mkdir(exist_ok=True)

    def write(i: int) -> None:
        rng = np.random.default_rng([seed, 4, i])
        y, x = (128 + int(d) for d in rng.integers(-10, 11, 2))
        cells = [(looks("all_idb")[labels[i]], y, x)]
        image = draw_smear(rng, (257, 257), people[i], cells, seed=seed)
        Image.fromarray(image).save(root / "img" / f"Im{i + 1:03d}_{labels[i]}.tif")

    _run(write, samples, progress)
    return root


def _idb_plan(
    samples: int, subjects: int, seed: int, *, share: float
) -> tuple[list[str], list[Person]]:
    """Label and person of each image; a person is either ill or healthy."""
    if not 2 <= samples <= 999:
        raise LeukoBenchError(
            f"simulated all_idb: {samples} images asked for; names ImNNN allow 2 to 999"
        )
    if subjects < 2:
        raise LeukoBenchError(
            "simulated all_idb: at least 2 subjects are needed, one ill and one healthy"
        )
    ill = _between(samples * share, 1, samples - 1)
    people = {"1": _between(subjects * share, 1, subjects - 1)}
    people["0"] = subjects - people["1"]
    labels = ["1"] * ill + ["0"] * (samples - ill)
    of = [person(seed, f"idb {label} {i % people[label]}") for i, label in enumerate(labels)]
    return labels, of


def simulate_aml(
    out: Path,
    *,
    samples: int | None = None,
    subjects: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """AML-Cytomorphology_LMU: `AML-Cytomorphology_LMU/CLS/CLS_NNNN.tiff` and `annotations.dat`
    below `out`.

    Args:
        samples: Cells, at least 15; classes in the official proportion with at least one cell each.
            None: the official counts (18,365 cells, 11.8 GB).
        subjects: People behind the cells, whom the names do not tell; 200 by default, at most one
            for four cells.

    Returns:
        `out`.
    """
    total = sum(COUNTS.values()) if samples is None else samples
    if total < len(COUNTS):
        raise LeukoBenchError(
            f"simulated aml: {total} cells asked for; at least {len(COUNTS)}, one a class, are "
            f"needed"
        )
    counts = dict(COUNTS) if samples is None else share_out(total, COUNTS)
    n_people = subjects or max(1, min(200, total // 4))
    root = _prepare(
        out, "AML-Cytomorphology_LMU", f"aml, samples={samples}, subjects={subjects}, {seed=}"
    )
    plan: list[tuple[str, str]] = []
    for code in sorted(counts):
        (root / code).mkdir(exist_ok=True)
        plan += [(code, f"{code}/{code}_{i:04d}.tiff") for i in range(1, counts[code] + 1)]

    def write(i: int) -> None:
        code, path = plan[i]
        rng = np.random.default_rng([seed, 6, i])
        who = person(seed, f"aml {rng.integers(n_people)}")
        if code == "KSC":  # smudge cells have lost their outline
            who = replace(who, focus=15.0)
        y, x = (200 + int(d) for d in rng.integers(-25, 26, 2))
        image = draw_smear(rng, (400, 400), who, [(looks("aml")[code], y, x)], seed=seed)
        opaque = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
        Image.fromarray(opaque).save(root / path)

    _run(write, len(plan), progress)
    # about a tenth is annotated twice more; the shares of agreement are those of the official file
    rng = np.random.default_rng([seed, 8])
    lines = []
    for code, path in plan:
        again = ["nan", "nan"]
        if rng.random() < 1905 / 18365:
            others = rng.choice([*COUNTS, UNCLASSIFIABLE], 2)
            again = [code if rng.random() < p else str(o) for p, o in zip((0.85, 0.80), others)]
        lines.append(f"{path} {code} {again[0]} {again[1]}\n")
    (root / "annotations.dat").write_text("".join(lines))
    return out


def _prepare(out: Path, folder: str, what: str) -> Path:
    """The folder to write into, marked before its first image, so that half a simulation is marked
    as well.

    Raises:
        LeukoBenchError: Something else lies there: simulated and other images never mix.
    """
    root = out / folder if folder else out
    text = (
        "Simulated images: drawn by a program, of no person. Not for any statement about "
        "leukemia.\n"
        f"{what}, version {VERSION}\n"
    )
    mark = root / MARK
    same = mark.is_file() and mark.read_text() == text
    if root.is_dir() and any(root.iterdir()) and not same:
        raise LeukoBenchError(
            f"{root} is not empty and does not hold this very simulation; simulated images are not "
            f"mixed with others. "
            "Choose another folder, or remove that one"
        )
    for marked in {root, out}:
        mark_simulated(marked, text)
    return root


def _run(write: Callable[[int], None], n: int, progress: Progress | None) -> None:
    with console_progress() as drawn, ThreadPoolExecutor(os.cpu_count()) as pool:
        report = progress or drawn
        for i, _ in enumerate(pool.map(write, range(n)), start=1):
            report("simulate", i, n)
