"""Model cards say what a reader must know, and a run's pictures are drawn from what it kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from leukobench.errors import LeukoBenchError
from leukobench.report.model_card import card_html, model_card, worst_subjects
from leukobench.report.run_figures import write_run_figures
from leukobench.schema.records import RESULT, RUN, DataRecord, ResultRecord, RunRecord
from leukobench.targets import Provenance
from leukobench.tracking.folder import write

PARAMS = {
    "model": "gene_mlp",
    "model.hidden": "[8]",
    "optimizer": "adam",
    "optimizer.lr": "0.001",
    "preprocess": "auto",
    "protocol": "leak_free",
    "split": "holdout",
    "seed": "3",
    "batch_size": "8",
}


def predictions(seed: int = 0, with_subjects: bool = True) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for part, n in (("train", 60), ("validation", 40), ("test", 40)):
        for i in range(n):
            label = "ALL" if i % 2 else "AML"
            subject = f"{part[:2]}{i % 8}" if with_subjects else None
            p = np.clip(rng.normal(0.65 if label == "ALL" else 0.35, 0.2), 0.01, 0.99)
            row = {
                "sample": f"{part}{i}",
                "subject": subject,
                "part": part,
                "fold": 0,
                "epoch": 2,
                "label": label,
            }
            rows.append(row | {"p_ALL": np.float32(p), "p_AML": np.float32(1 - p)})
    return pd.DataFrame(rows)


def record() -> ResultRecord:
    return ResultRecord(
        identity="f" * 32,
        epoch=2,
        params=PARAMS,
        classes=("ALL", "AML"),
        positive="ALL",
        finished="2024-03-01T10:00:00",
    )


def run(**facts: Any) -> RunRecord:
    data = DataRecord(
        name="tiny",
        family="expression",
        fingerprint="0f",
        simulated=False,
        samples=140,
        classes=("ALL", "AML"),
        split="holdout",
        split_hash="1f",
        fold=0,
        folds=1,
        subjects=24,
        shared={"subject": 0, "content": 0},
    )
    return RunRecord(data=replace(data, **facts))


STORED = Provenance("job.json of a test")

CONFIG = {"data": {"_target_": "leukobench.data.golub.Golub"}, "protocol": {"fit_on": "train"}}


def test_a_card_holds_data_protocol_metrics_subjects_and_limits() -> None:
    card = model_card(
        "A model",
        record(),
        run(),
        config=CONFIG,
        frame=predictions(),
        provenance=STORED,
        reads="12 genes",
        chosen="hand",
    )
    for heading in (
        "Model",
        "Data",
        "Protocol",
        "Metrics",
        "Calibration and operating point",
        "Limits",
        "Origin",
    ):
        assert f"\n## {heading}\n" in card
    assert card.index("Not for clinical use") < card.index("## Model")
    assert "no switch of the protocol lets test rows into training" in card
    assert "95 % intervals over subjects" in card
    assert "| validation | 40 | 8 | 20 | 20 |" in card
    assert "Subjects with the most errors" in card
    assert "threshold for a specificity of 0.90" in card
    assert "Few test subjects: 8" in card
    rows = {line.split(" |")[0]: line for line in card.splitlines() if line.startswith("| ")}
    assert "[" in rows["| accuracy"]
    assert "over subjects" in rows["| AUROC"]  # four of each class: too few for an interval


@pytest.mark.parametrize(
    ("facts", "leaks", "expected"),
    [
        ({"simulated": True}, [], "**Simulated data.**"),
        (
            {"subset": "196 of 10661 samples, 22 subjects"},
            [],
            "**Subset.** Trained and measured on 196 of 10661",
        ),
        ({}, ["fit_on=all"], "**Leaks.** The protocol lets test data into training: fit_on=all"),
        ({"shared": {"subject": 3}}, [], "training and test share 3 subjects"),
        ({"shared": {"content": 0}}, [], "cannot be known from this source"),
    ],
)
def test_what_weakens_a_result_stands_on_its_card(
    facts: dict[str, Any], leaks: list[str], expected: str
) -> None:
    card = model_card(
        "A model",
        record(),
        replace(run(**facts), leaks=tuple(leaks)),
        config=CONFIG,
        frame=predictions(),
        provenance=STORED,
    )
    assert expected in card


def test_a_card_names_a_data_source_that_it_may_not_run() -> None:
    own = {**CONFIG, "data": {"_target_": "tiny.Tiny"}}
    card = model_card(
        "A model", record(), run(), config=own, frame=predictions(), provenance=STORED
    )
    assert "| source | tiny.Tiny, which was not run to read its title" in card
    trusted = replace(STORED, trusted=True)
    card = model_card(
        "A model", record(), run(), config=own, frame=predictions(), provenance=trusted
    )
    assert "| data set | Simulated data for tests |" in card


def test_a_card_without_validation_or_subjects_says_so() -> None:
    frame = predictions(with_subjects=False)
    card = model_card(
        "A model",
        record(),
        run(subjects=None),
        config=CONFIG,
        frame=frame[frame["part"] != "validation"],
        provenance=STORED,
    )
    assert "Not chosen" in card
    assert "No validation part" in card
    assert "Subjects are not known" in card


def test_html_is_one_page_in_which_text_stays_text() -> None:
    page = card_html(
        model_card(
            "A <b>model</b> | x",
            record(),
            run(),
            config=CONFIG,
            frame=predictions(),
            provenance=STORED,
        )
    )
    assert page.startswith("<!doctype html>")
    assert "<table>" in page
    assert "<b>model" not in page
    assert "<script" not in page


def test_worst_subjects_come_first() -> None:
    frame = predictions()
    worst = worst_subjects(frame)
    assert list(worst["share"]) == sorted(worst["share"])
    test = frame[frame["part"] == "test"]
    right = (test["p_ALL"] > 0.5) == (test["label"] == "ALL")
    first = worst.iloc[0]
    assert first["share"] == pytest.approx(right[test["subject"] == first["subject"]].mean())
    assert worst_subjects(predictions(with_subjects=False)).empty


@pytest.fixture
def result(tmp_path: Path) -> Callable[..., Path]:
    def make(frame: pd.DataFrame, **data: Any) -> Path:
        folder = tmp_path / "results" / "x"
        folder.mkdir(parents=True)
        frame.to_parquet(folder / "predictions.parquet")
        write(RESULT, record(), folder)
        write(RUN, run(**data), tmp_path)
        curves = [
            {"epoch": e, "train_loss": 1 / e, "train_accuracy": 0.5, "test_loss": 1.0}
            for e in (1, 2, 3)
        ]
        (tmp_path / "curves.json").write_text(json.dumps(curves))
        return folder

    return make


def test_a_runs_pictures_are_drawn(result: Callable[..., Path], tmp_path: Path) -> None:
    frame = predictions()
    Image.new("RGB", (20, 20), (200, 0, 0)).save(tmp_path / "cell.png")
    folder = result(frame, subset="140 of 200 samples")
    paths = {s: tmp_path / "cell.png" for s in frame["sample"]}
    names = {p.name for p in write_run_figures(folder, paths=paths)}
    assert names == {
        f"{n}.png"
        for n in (
            "confusion_matrix",
            "roc",
            "precision_recall",
            "calibration",
            "learning_curves",
            "worst_subjects",
            "mistakes",
        )
    }
    for name in names:
        assert np.asarray(Image.open(folder / "figures" / name).convert("L")).std() > 5


def test_pictures_show_what_was_chosen_on_validation_and_do_without_it(
    result: Callable[..., Path],
) -> None:
    frame = predictions()
    folder = result(frame)
    write_run_figures(folder)
    with_choice = {p.stem: p.read_bytes() for p in (folder / "figures").iterdir()}
    frame[frame["part"] != "validation"].to_parquet(folder / "predictions.parquet")
    write_run_figures(folder)
    without = {p.stem: p.read_bytes() for p in (folder / "figures").iterdir()}
    changed = {name for name in without if without[name] != with_choice[name]}
    assert changed == {"roc", "calibration"}


def test_many_classes_one_class_and_no_subjects_are_drawn_as_far_as_they_go(
    result: Callable[..., Path],
) -> None:
    frame = predictions(with_subjects=False)
    frame["p_c"] = np.float32(0)
    frame["label"] = "ALL"
    names = {p.stem for p in write_run_figures(result(frame))}
    assert names == {"confusion_matrix", "calibration", "learning_curves"}
    with pytest.raises(LeukoBenchError, match="no finished result"):
        write_run_figures(Path("nowhere/results/x"))
