"""Exported models answer as the originals, for any number of samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from leukobench.errors import LeukoBenchError
from leukobench.models import gene, image, kandi
from leukobench.models.export import SUFFIXES, Form, export
from leukobench.models.inputs import ExpressionInput, ImageInput, WholeModel

RNG = np.random.default_rng(0)
STATE = {
    "offset": RNG.normal(3, 0.2, 6),
    "factor": RNG.uniform(1, 3, 6),
    "log_limits": np.array([20.0, 16000.0]),
}


def expression() -> tuple[WholeModel, np.ndarray]:
    torch.manual_seed(0)
    encoded = {
        **STATE,
        "encoder.weight": RNG.normal(size=(4, 6)),
        "encoder.bias": RNG.normal(size=4),
    }
    return WholeModel(ExpressionInput(encoded), gene.logistic((4,), 2)), RNG.uniform(
        -50, 20000, (3, 6)
    ).astype("f4")


def pixels() -> tuple[WholeModel, np.ndarray]:
    torch.manual_seed(0)
    return WholeModel(ImageInput("imagenet"), image.lenet5((3, 32, 32), 3)), RNG.integers(
        0, 256, (2, 32, 32, 3), "u1"
    )


@pytest.mark.parametrize("form", ["onnx", "torch"])
@pytest.mark.parametrize("make", [expression, pixels])
def test_a_file_answers_as_the_model_for_raw_inputs(form: Form, make, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model, example = make()
    path = tmp_path / f"model{SUFFIXES[form]}"
    assert export(model, example, path, form, {"classes": ["ALL", "AML"]}) < 1e-5
    more = np.concatenate([example] * 3)
    expected = model(torch.from_numpy(more)).detach().numpy()
    if form == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (answer,) = session.run(["probabilities"], {"input": more})
        assert json.loads(session.get_modelmeta().custom_metadata_map["leukobench.classes"]) == [
            "ALL",
            "AML",
        ]
    else:
        files = {"leukobench.json": ""}
        answer = (
            torch.export.load(str(path), extra_files=files)
            .module()(torch.from_numpy(more))
            .detach()
            .numpy()
        )
        assert json.loads(files["leukobench.json"])["classes"] == ["ALL", "AML"]
    assert answer == pytest.approx(expected, abs=1e-5)
    assert answer.sum(axis=1) == pytest.approx(np.ones(len(more)), abs=1e-5)


def test_recurrent_networks_can_be_exported(tmp_path: Path) -> None:
    model = WholeModel(nn.Identity(), kandi.hybrid((256,), 4))
    example = RNG.normal(size=(2, 256)).astype(np.float32)
    assert export(model, example, tmp_path / "model.pt2", "torch", {}) < 1e-5


def test_a_file_that_answers_otherwise_is_not_kept(tmp_path: Path) -> None:
    class Counting(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            Counting.calls += 1
            return x * Counting.calls

    with pytest.raises(LeukoBenchError, match="answers otherwise"):
        export(Counting(), np.ones((2, 3), np.float32), tmp_path / "model.pt2", "torch", {})
    assert not (tmp_path / "model.pt2").exists()


def test_a_network_that_cannot_be_exported_says_so(tmp_path: Path) -> None:
    class Undecided(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(LeukoBenchError, match="cannot be exported as torch"):
        export(Undecided(), np.ones((2, 3), np.float32), tmp_path / "model.pt2", "torch", {})
