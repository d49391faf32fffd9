"""Simulated images: official layouts that the loaders read, the same again for the same seed, and a leak that pays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_score

from leukobench.data.families.image import ImageDataset
from leukobench.data.simulated import is_simulated
from leukobench.data.sources.all_idb import AllIdb1, AllIdb2
from leukobench.data.sources.aml import AML, COUNTS
from leukobench.data.sources.cnmc import CNMC
from leukobench.errors import LeukoBenchError
from leukobench.simulation.images import (
    simulate_all_idb1,
    simulate_all_idb2,
    simulate_aml,
    simulate_cnmc,
)


@pytest.fixture(scope="module")
def cnmc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate_cnmc(tmp_path_factory.mktemp("cnmc"), samples=240, subjects=16, seed=1)


def errors(source: CNMC | AllIdb1 | AllIdb2 | AML) -> list[str]:
    return [f.message for f in source.check().findings if f.severity == "error"]


def test_cnmc_loads_by_the_official_names_with_class_balance_and_subjects(cnmc: Path) -> None:
    dataset = CNMC(cnmc).load()
    assert len(dataset) == 240
    assert dataset.simulated
    assert (dataset.samples["label"] == "ALL").mean() == pytest.approx(7272 / 10661, abs=0.02)
    assert dataset.samples["subject"].nunique() == 16
    assert dataset.samples["content"].is_unique


def test_cnmc_folds_share_no_subject_and_hold_both_classes(cnmc: Path) -> None:
    samples = CNMC(cnmc, parts=("train", "preliminary")).load().samples
    assert (samples.groupby("subject")["official"].nunique() == 1).all()
    assert (samples.groupby("official")["label"].nunique() == 2).all()
    assert set(samples["official"]) == {"fold_0", "fold_1", "fold_2", "preliminary"}


def test_cnmc_passes_its_own_check_and_final_images_are_large_and_unnamed(cnmc: Path) -> None:
    assert errors(CNMC(cnmc)) == []
    final = sorted((cnmc / "C-NMC_Leukemia/testing_data/C-NMC_test_final_phase_data").iterdir())
    assert final[0].name == "1.bmp"
    assert Image.open(final[0]).size == (600, 600)


def test_cnmc_cells_are_dark_violet_on_black(cnmc: Path) -> None:
    dataset = CNMC(cnmc).load()
    for path in dataset.paths[::20]:
        image = Image.open(path)
        assert (image.format, image.mode, image.size) == ("BMP", "RGB", (450, 450))
        pixels = np.asarray(image, np.float32)
        cell = pixels.sum(2) > 0
        assert 0.05 < cell.mean() < 0.4
        assert not cell[0].any()
        red, green, blue = pixels[cell].mean(0)
        assert green < red < blue


def features(dataset: ImageDataset) -> np.ndarray:
    """Colour, texture and area of each cell, shape (n, 7)."""
    rows = []
    for path in dataset.paths:
        pixels = np.asarray(Image.open(path).reduce(3), np.float32)
        cell = pixels.sum(2) > 0
        rows.append([cell.mean(), *pixels[cell].mean(0), *pixels[cell].std(0)])
    return np.array(rows)


def test_a_split_that_shares_subjects_gives_better_figures(cnmc: Path) -> None:
    dataset = CNMC(cnmc).load()
    x, y = features(dataset), dataset.y
    subjects = dataset.samples["subject"].to_numpy()
    forest = RandomForestClassifier(40, random_state=0)
    shared = cross_val_score(
        forest,
        x,
        y,
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
        scoring="balanced_accuracy",
    ).mean()
    apart = cross_val_score(
        forest,
        x,
        y,
        groups=subjects,
        cv=StratifiedGroupKFold(5, shuffle=True, random_state=0),
        scoring="balanced_accuracy",
    ).mean()
    assert apart > 0.55, "the class itself can be seen"
    assert shared > apart + 0.06, f"by subject {apart:.2f}, at random {shared:.2f}"


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()
    }


def test_the_same_seed_draws_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = (
        contents(simulate_cnmc(tmp_path / name, samples=8, seed=seed))
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert first == again
    images = [name for name in first if name.endswith("bmp")]
    assert all(first[name] != other.get(name) for name in images)


def test_a_repeated_simulation_is_accepted_and_foreign_files_are_not_mixed_in(
    tmp_path: Path,
) -> None:
    simulate_cnmc(tmp_path / "a", samples=6, seed=3)
    simulate_cnmc(tmp_path / "a", samples=6, seed=3)
    with pytest.raises(LeukoBenchError, match="not mixed"):
        simulate_cnmc(tmp_path / "a", samples=7, seed=3)
    (tmp_path / "b" / "im").mkdir(parents=True)
    (tmp_path / "b" / "im" / "Im001_1.jpg").write_bytes(b"real")
    with pytest.raises(LeukoBenchError, match="not mixed"):
        simulate_all_idb1(tmp_path / "b", samples=2)


def test_progress_counts_every_image(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    simulate_all_idb2(tmp_path, samples=5, progress=lambda *a: seen.append(a))
    assert [s[1] for s in seen] == [1, 2, 3, 4, 5]
    assert seen[-1][2] == 5


def test_all_idb1_has_fields_and_the_centroids_of_their_blasts(tmp_path: Path) -> None:
    root = simulate_all_idb1(tmp_path, samples=2, seed=2)
    source = AllIdb1(root)
    dataset = source.load()
    assert is_simulated(root)
    assert dataset.simulated
    assert sorted(dataset.samples["label"]) == ["ALL", "normal"]
    assert errors(source) == []
    for sample, path in zip(dataset.ids, dataset.paths):
        image = np.asarray(Image.open(path), np.float32)
        assert image.shape == (1944, 2592, 3)
        centroids = source.centroids(sample)
        assert (len(centroids) > 0) == (dataset.samples.loc[sample, "label"] == "ALL")
        for x, y in centroids:
            assert image[int(y), int(x), 1] < 0.6 * np.median(image[..., 1]), (
                "a nucleus is dark in green"
            )


def test_all_idb2_has_crops_of_both_classes(tmp_path: Path) -> None:
    root = simulate_all_idb2(tmp_path, samples=10, seed=2)
    dataset = AllIdb2(root).load()
    assert dataset.simulated
    assert sorted(dataset.samples["label"]) == ["ALL"] * 5 + ["normal"] * 5
    assert Image.open(dataset.paths[0]).size == (257, 257)
    assert errors(AllIdb2(root)) == []


def test_aml_has_every_class_and_its_annotations(tmp_path: Path) -> None:
    root = simulate_aml(tmp_path, samples=40, seed=2)
    source = AML(root)
    dataset = source.load()
    assert dataset.simulated
    assert len(dataset) == 40
    assert set(dataset.samples["label"]) == set(COUNTS)
    assert dataset.samples["label"].value_counts().idxmax() == "NGS"
    image = Image.open(dataset.paths[0])
    assert (image.format, image.mode, image.size) == ("TIFF", "RGBA", (400, 400))
    assert errors(source) == []


def test_sizes_that_cannot_be_drawn_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LeukoBenchError, match="at least 6 subjects"):
        simulate_cnmc(tmp_path / "a", samples=20, subjects=5)
    with pytest.raises(LeukoBenchError, match="at least 6 subjects"):
        simulate_cnmc(tmp_path / "a", samples=20, subjects=21)
    with pytest.raises(LeukoBenchError, match="ImNNN"):
        simulate_all_idb2(tmp_path / "b", samples=1000)
    with pytest.raises(LeukoBenchError, match="at least 15"):
        simulate_aml(tmp_path / "c", samples=14)
    assert list(tmp_path.iterdir()) == []
