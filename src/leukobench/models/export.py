"""A model as one file for other programs: ONNX or `torch.export`, checked against the model it came from.

What is exported is the whole model: raw expression values (n, genes) or pixels (n, H, W, 3) in,
probabilities out. The number of samples stays free.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from leukobench.errors import ConfigError, LeukoBenchError

Form = Literal["onnx", "torch"]
SUFFIXES: dict[Form, str] = {"onnx": ".onnx", "torch": ".pt2"}
TOLERANCE = 1e-4
"""Largest difference of a probability that is accepted between an exported model and the original."""


def export(
    model: nn.Module, example: np.ndarray, path: Path, form: Form, facts: Mapping[str, Any]
) -> float:
    """Write a model and compare the file's outputs with the model's.

    Args:
        model: Raw input to probabilities, in evaluation mode.
        example: Two or more raw inputs, on which the outputs are compared.
        path: File to write; its suffix is set by the form.
        form: `onnx`, or `torch` for `torch.export`.
        facts: Kept in the file: classes, genes and so on.

    Returns:
        The largest difference between the probabilities of the file and of the model.

    Raises:
        ConfigError: Packages for ONNX are not installed.
        LeukoBenchError: The network cannot be exported, or the file answers otherwise than the
            model.
    """
    if len(example) < 2:
        raise LeukoBenchError("an export is checked on two inputs or more")
    x = torch.from_numpy(np.ascontiguousarray(example))
    model.eval()
    try:
        with quiet():
            answers = (
                _onnx(model, x, path, facts) if form == "onnx" else _torch(model, x, path, facts)
            )
    except (ConfigError, OSError):
        raise
    except Exception as e:
        first = " ".join(str(e).split())[:300]
        raise LeukoBenchError(
            f"this network cannot be exported as {form}: {type(e).__name__}: {first}"
        ) from e
    with torch.inference_mode():
        expected = torch.cat([model(x), model(x[:1])]).numpy()
    difference = float(np.abs(answers - expected).max())
    if not difference <= TOLERANCE:
        path.unlink(missing_ok=True)
        raise LeukoBenchError(
            f"the exported model answers otherwise: probabilities differ by up to {difference:.2g}; no file was kept"
        )
    return difference


def _onnx(model: nn.Module, x: Tensor, path: Path, facts: Mapping[str, Any]) -> np.ndarray:
    try:
        import onnx
        import onnxruntime
    except ImportError:
        raise ConfigError(
            "exporting to ONNX needs onnx, onnxscript and onnxruntime: install leukobench[export]"
        ) from None
    program = torch.onnx.export(
        model,
        (x,),
        input_names=["input"],
        output_names=["probabilities"],
        dynamic_shapes={"x": {0: torch.export.Dim("samples", min=1)}},
        dynamo=True,
    )
    assert program is not None
    proto = program.model_proto
    for key, value in facts.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = f"leukobench.{key}", json.dumps(value)
    onnx.save(proto, str(path))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"input": part.numpy()})[0] for part in (x, x[:1])])


def _torch(model: nn.Module, x: Tensor, path: Path, facts: Mapping[str, Any]) -> np.ndarray:
    dimension = torch.export.Dim("samples", min=1)
    program = torch.export.export(model, (x,), dynamic_shapes={"x": {0: dimension}})
    torch.export.save(program, str(path), extra_files={"leukobench.json": json.dumps(dict(facts))})
    loaded = torch.export.load(str(path)).module()
    with torch.inference_mode():
        return torch.cat([loaded(x), loaded(x[:1])]).numpy()


@contextlib.contextmanager
def quiet() -> Any:
    """The exporter reports its progress on standard output and warns about its own internals."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
