"""What `_target_` means: public names, building, and what a stored config may name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from leukobench.data.preprocess import ExpressionPreprocess
from leukobench.data.sources.golub import Golub
from leukobench.errors import ConfigError
from leukobench.settings import conf_dir
from leukobench.targets import COMPOSED, PUBLIC, Provenance, build, check, locate

STANDARD = "leukobench.data.preprocess.ExpressionPreprocess"
STORED = Provenance("job.json of a stranger")
Node = dict[str, Any]


def named() -> set[str]:
    """Every name in the project's own configs but for Hydra's own."""
    names = set()
    for path in conf_dir().rglob("*.yaml"):
        left: list[Any] = [yaml.safe_load(path.read_text(encoding="utf-8"))]
        while left:
            value = left.pop()
            if isinstance(value, dict):
                names |= {value["_target_"]} if "_target_" in value else set()
                left += value.values()
            elif isinstance(value, list):
                left += value
    return {name for name in names if not name.startswith("hydra_plugins.")}


def test_every_name_in_the_projects_configs_is_public() -> None:
    assert named() - set(PUBLIC) == set()


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_the_code_behind_every_public_name_is_there(name: str) -> None:
    assert callable(locate(name, STORED))


def test_a_node_is_built_from_its_keys_and_from_what_is_handed_over() -> None:
    node = {"_target_": STANDARD, "version": 3, "family": "expression", "genes": 7}
    assert build(node, provenance=COMPOSED) == ExpressionPreprocess(genes=7)
    linear = build({"_target_": "torch.nn.Linear", "bias": False}, 3, 2, provenance=COMPOSED)
    assert isinstance(linear, torch.nn.Linear)
    assert linear.bias is None


def test_a_node_within_a_node_is_built_first() -> None:
    inner = {"_target_": "fractions.Fraction", "numerator": 1}
    assert build({"_target_": STANDARD, "encoder": inner}, provenance=COMPOSED).encoder == 1


def test_a_method_of_a_class_can_be_named() -> None:
    node = {"_target_": "fractions.Fraction.from_float", "f": 0.5}
    assert build(node, provenance=COMPOSED) == 0.5


def test_what_is_built_does_not_share_containers_with_its_config() -> None:
    node: Node = {"_target_": "types.SimpleNamespace", "values": [1, [2]], "table": {"a": [3]}}
    made = build(node, provenance=COMPOSED)
    made.values[1].append(9)
    made.table["a"].append(9)
    assert node == {"_target_": "types.SimpleNamespace", "values": [1, [2]], "table": {"a": [3]}}


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({"lr": 1}, "without _target_"),
        ({"_target_": "no.such.module"}, r"model\._target_: no\.such\.module does not exist"),
        ({"_target_": "torch.no_such_thing"}, "does not exist"),
        ({"_target_": "torch"}, "a dotted name is needed"),
        ({"_target_": "torch.pi"}, "neither class nor function"),
        ({"_target_": ["os.system"]}, "is no name"),
        ({"_target_": STANDARD, "no_such_key": 1}, f"cannot build {STANDARD}.*no_such_key"),
        ({"_target_": STANDARD, "scale": "other"}, "scale knows zscore"),
        ({"_target_": STANDARD, "_partial_": True}, "_partial_.*not used"),
    ],
)
def test_what_cannot_be_built_is_said(node: Node, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build(node, provenance=COMPOSED, key="model")


@pytest.fixture
def touch(tmp_path: Path) -> tuple[Node, Path]:
    """A node that writes a file when it is built, and the file."""
    path = tmp_path / "ran"
    return {"_target_": "os.system", "command": f"touch {path}"}, path


@pytest.mark.parametrize(
    ("around", "key"),
    [
        (lambda evil: evil, "model"),
        (lambda evil: {"_target_": STANDARD, "evil": evil}, r"model\.evil"),
        (lambda evil: {"_target_": STANDARD, "a": [1, [evil]]}, r"model\.a\[1\]\[0\]"),
        (lambda evil: {"_target_": STANDARD, "a": {"b": {"c": evil}}}, r"model\.a\.b\.c"),
        (
            lambda evil: {"_target_": STANDARD, "encoder": {"_target_": STANDARD, "x": evil}},
            r"model\.encoder\.x",
        ),
    ],
)
def test_nothing_of_a_stored_config_that_names_other_code_is_built(
    touch: tuple[Node, Path], around: Callable[[Node], Node], key: str
) -> None:
    evil, ran = touch
    said = rf"job\.json of a stranger: {key}\._target_ names os\.system.*--trust"
    with pytest.raises(ConfigError, match=said):
        build(around(evil), provenance=STORED, key="model")
    assert not ran.exists()


@pytest.mark.parametrize(
    "target",
    [
        "builtins.eval",
        "leukobench.cli.ui.serve_ui",
        "leukobench.data.golub.pd.read_pickle",
        "leukobench.models.weights.timm.models.load_checkpoint",
        "torch.load",
        "torch.hub.load",
        "torch.optim.lr_scheduler.LambdaLR",
        "torch.optim.adam.torch.load",
        "torchvision.datasets.utils.download_url",
        "torchvision.models.get_weight",
        "torchvision.models.os.system",
        "timm.create_model",
        "timm.models.create_model",
        "timm.models.load_checkpoint",
        "timm.models._helpers.load_state_dict",
        "sklearn.utils.os.system",
        "sklearn.datasets.fetch_openml",
        "sklearn.utils.Memory",
        "sklearn.externals.joblib.load",
        "joblib.load",
    ],
)
def test_a_stored_config_names_no_helper_of_an_allowed_library(target: str) -> None:
    with pytest.raises(ConfigError, match="is no factory of LeukoBench"):
        check({"_target_": target}, STORED)


@pytest.mark.parametrize(
    "target",
    [
        "leukobench.models.gene.mlp",
        "torch.optim.AdamW",
        "sklearn.linear_model.LogisticRegression",
        "torchvision.models.resnet18",
        "timm.models.resnet18",
        "timm.models.resnet.resnet18",
    ],
)
def test_a_stored_config_names_what_is_on_the_list(target: str) -> None:
    node = {"_target_": target}
    check(node, STORED)
    assert callable(locate(target, STORED))


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "sklearn.pipeline.Pipeline", "steps": [], "memory": "/tmp/pickles"},
        {"_target_": "timm.models.resnet18", "pretrained_cfg": {"url": "http://x"}},
        {"_target_": "timm.models.resnet18", "pretrained_cfg_overlay": {"file": "x.pth"}},
    ],
)
def test_a_stored_config_brings_no_files_of_its_own_to_a_library(node: Node) -> None:
    with pytest.raises(ConfigError, match=r"from elsewhere.*--trust"):
        check(node, STORED, "model")


@pytest.mark.parametrize("root", ["/etc", "data/../../etc", "~/other", "/etc/passwd"])
def test_a_stored_config_names_no_folder_outside_the_data(root: str, tmp_path: Path) -> None:
    inside = Provenance("job.json", data=tmp_path / "data")
    node = {"_target_": "leukobench.data.golub.Golub"}
    made = build(node | {"root": str(tmp_path / "data" / "golub")}, provenance=inside)
    assert isinstance(made, Golub)
    with pytest.raises(ConfigError, match=r"data\.root is .*--data-root.*--trust"):
        build(node | {"root": root}, provenance=inside, key="data")
