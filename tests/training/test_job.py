"""Building what configs name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from leukobench.data.preprocess import ExpressionPreprocess
from leukobench.errors import ConfigError
from leukobench.training.job import Job, build, forget_data, load_dataset, prepare

STANDARD = "leukobench.data.preprocess.ExpressionPreprocess"


def test_a_node_is_built_from_its_keys_and_from_what_is_handed_over() -> None:
    made = build(
        {"_target_": STANDARD, "version": 3, "family": "expression", "genes": 7}, scale="minmax"
    )
    assert made == ExpressionPreprocess(genes=7, scale="minmax")
    linear = build({"_target_": "torch.nn.Linear", "bias": False}, 3, 2)
    assert isinstance(linear, torch.nn.Linear)
    assert linear.bias is None


def test_a_node_within_a_node_is_built_first() -> None:
    made = build(
        {"_target_": STANDARD, "encoder": {"_target_": "fractions.Fraction", "numerator": 1}}
    )
    assert made.encoder == 1


def test_what_is_built_does_not_share_containers_with_its_config() -> None:
    node: dict[str, Any] = {
        "_target_": "types.SimpleNamespace",
        "values": [1, [2]],
        "table": {"a": [3]},
    }
    made = build(node)
    made.values[1].append(9)
    made.table["a"].append(9)
    assert node == {"_target_": "types.SimpleNamespace", "values": [1, [2]], "table": {"a": [3]}}


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({"lr": 1}, "without _target_"),
        ({"_target_": "no.such.module"}, r"_target_: no\.such\.module does not exist"),
        ({"_target_": "torch.no_such_thing"}, "does not exist"),
        ({"_target_": STANDARD, "no_such_key": 1}, f"cannot build {STANDARD}.*no_such_key"),
        ({"_target_": STANDARD, "scale": "other"}, "scale knows zscore"),
        ({"_target_": STANDARD, "_partial_": True}, "_partial_.*not used"),
    ],
)
def test_what_cannot_be_built_is_said(node: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build(node)


def test_data_and_splits_are_loaded_once_a_process(make_job: Callable[..., Job]) -> None:
    assert load_dataset(make_job("seed=1")) is load_dataset(make_job("epochs=9"))
    assert prepare(make_job("seed=1")) is prepare(make_job("seed=1", "model=gene_mlp"))
    assert prepare(make_job("seed=1")) is not prepare(make_job("seed=2"))
    before = load_dataset(make_job())
    forget_data()
    assert load_dataset(make_job()) is not before


def test_an_unknown_switch_of_a_protocol_is_refused_by_name(make_job: Callable[..., Job]) -> None:
    with pytest.raises(ConfigError, match=r"protocol=leak_free.*no_such"):
        make_job("+protocol.no_such=1").protocol  # noqa: B018
    with pytest.raises(ConfigError, match="fit_on knows"):
        make_job("protocol.fit_on=some").protocol  # noqa: B018
