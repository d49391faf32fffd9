"""Networks of timm and torchvision as classifiers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from leukobench.errors import ConfigError
from leukobench.models import transfer

CONFIGS = Path(__file__).resolve().parents[2] / "conf" / "model"
SHAPE = (3, 64, 64)


def resnet(num_classes: int = 2, **options) -> transfer.TransferModel:
    return transfer.timm_network(SHAPE, num_classes, name="resnet18", pretrained=False, **options)


def trained_parameters(module: nn.Module) -> set[str]:
    return {name for name, p in module.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("finetune", ["head", "last_block", "all"])
@pytest.mark.parametrize("pooling", ["avg", "flatten", "native"])
def test_logits_are_the_head_of_the_features(finetune, pooling):
    model = resnet(3, finetune=finetune, pooling=pooling).eval()
    x = torch.randn(2, *SHAPE)
    assert model(x).shape == (2, 3)
    torch.testing.assert_close(model(x), model.head(model.frozen_features(x)))


def test_a_frozen_backbone_does_not_change_in_training():
    model = resnet(finetune="head", pooling="avg")
    x = torch.randn(4, *SHAPE)
    before = model.frozen_features(x)
    state = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    nn.functional.cross_entropy(model(x), torch.tensor([0, 1, 0, 1])).backward()
    optimizer.step()
    assert model.frozen
    assert trained_parameters(model) == {"head.0.weight", "head.0.bias"}
    assert all(torch.equal(state[k], v) for k, v in model.backbone.state_dict().items())
    assert torch.equal(model.frozen_features(x), before)


def test_the_last_block_alone_is_trained_and_alone_leaves_evaluation_mode():
    model = resnet(finetune="last_block").train()
    names = trained_parameters(model)
    assert {n.split(".")[1] for n in names if n.startswith("backbone")} == {"layer4"}
    assert not model.frozen
    assert not model.backbone.layer3[0].bn1.training
    assert model.backbone.layer4[0].bn1.training


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("vgg11", "features.16.weight"),
        ("efficientnet_lite0", "blocks.5.0.conv_pw.weight"),
        ("convnext_atto", "stages.3.downsample.0.weight"),
    ],
)
def test_the_last_block_is_the_last_stage_of_each_architecture(name, first):
    model = transfer.timm_network(
        SHAPE, 2, name=name, pretrained=False, finetune="last_block", pooling="avg"
    )
    assert next(n for n, p in model.backbone.named_parameters() if p.requires_grad) == first


def test_alexnets_last_block_is_its_last_three_convolutions():
    model = transfer.alexnet(SHAPE, 2, pretrained=False, finetune="last_block", pooling="avg")
    trained = {n for n, p in model.backbone.named_parameters() if p.requires_grad and p.ndim == 4}
    assert trained == {"features.6.weight", "features.8.weight", "features.10.weight"}


def test_all_trains_everything():
    model = resnet(finetune="all").train()
    assert trained_parameters(model) == {n for n, _ in model.named_parameters()}
    assert all(m.training for m in model.modules())


def test_vgg_features_are_feature_maps_and_not_its_dense_layers():
    shape = (3, 224, 224)
    inputs = {
        pooling: transfer.timm_network(shape, 2, name="vgg11", pretrained=False, pooling=pooling)
        .head[0]
        .in_features
        for pooling in ("avg", "flatten")
    }
    assert inputs == {"avg": 512, "flatten": 25_088}


def test_the_dense_layer_of_fata():
    head = resnet(hidden=512, dropout=0.3, pooling="avg").head
    assert [type(m).__name__ for m in head] == ["Linear", "ReLU", "Dropout", "Linear"]
    assert head[0].out_features == 512


def test_a_transformer_works_with_native_pooling_and_refuses_others():
    name = "vit_tiny_patch16_224"
    model = transfer.timm_network((3, 224, 224), 4, name=name, pretrained=False)
    assert model(torch.zeros(1, 3, 224, 224)).shape == (1, 4)
    with pytest.raises(ConfigError, match="pooling=native"):
        transfer.timm_network((3, 224, 224), 4, name=name, pretrained=False, pooling="avg")


def test_alexnet_native_is_torchvisions_classifier_with_other_classes():
    model = transfer.alexnet(SHAPE, 2, pretrained=False, finetune="all")
    assert model.head[0].in_features == 4096
    assert sum(isinstance(m, nn.Dropout) for m in model.modules()) == 2
    assert model(torch.zeros(2, *SHAPE)).shape == (2, 2)


def test_a_random_start_prescribes_no_normalisation():
    assert resnet().required_normalisation is None


def test_the_same_seed_gives_the_same_start():
    starts = []
    for _ in range(2):
        torch.manual_seed(5)
        starts.append(
            torch.cat([p.detach().flatten() for p in resnet(finetune="all").parameters()])
        )
    assert torch.equal(*starts)


def test_an_unknown_network_is_answered_with_names_near_it():
    with pytest.raises(ConfigError, match="resnet18"):
        transfer.timm_network(SHAPE, 2, name="resnet81", pretrained=False)


@pytest.mark.parametrize(("key", "value"), [("finetune", "tail"), ("pooling", "max")])
def test_unknown_options_are_refused(key, value):
    with pytest.raises(ConfigError, match=f"model.{key}={value}"):
        resnet(**{key: value})


def test_gene_vectors_are_refused_with_a_way_out():
    with pytest.raises(ConfigError, match="choose an expression model"):
        transfer.timm_network((7129,), 2, name="resnet18", pretrained=False)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_model_config_builds_a_module_that_gives_logits(path):
    from hydra.utils import get_method

    options = yaml.safe_load(path.read_text())
    factory = get_method(options.pop("_target_"))
    assert options.pop("version") >= 1
    family = options.pop("family")
    if "pretrained" in options:
        options["pretrained"] = False
    if options.get("name") == "???":
        options["name"] = "resnet18"
    shape = SHAPE if family == "image" else (256,)
    assert factory(shape, 3, **options).eval()(torch.randn(2, *shape)).shape == (2, 3)
