"""Augmentation and normalisation in batches, against torchvision image by image."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as reference

from leukobench.errors import ConfigError
from leukobench.models.augment import ANGLE, FLIP, NORMALISATIONS, ZOOM, Augment, Normalise

CONF = Path(__file__).resolve().parents[2] / "conf" / "augment"
RAI = Augment(rotation=20, zoom=(0.8, 1.2), flip=True)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth_images(n: int, height: int, width: int) -> Tensor:
    """Random uint8 images without pixel noise, (n, height, width, 3)."""
    coarse = torch.rand(n, 3, height // 8, width // 8, generator=generator(5)) * 255
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 255)
    return fine.permute(0, 2, 3, 1).to(torch.uint8).contiguous()


def one_by_one(images: Tensor, table: Tensor) -> Tensor:
    rows = []
    for image, row in zip(images, table):
        pixels = reference.affine(
            image.permute(2, 0, 1).float(),
            angle=float(row[ANGLE]),
            translate=[0, 0],
            scale=float(row[ZOOM]),
            shear=[0.0, 0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        rows.append(reference.hflip(pixels) if row[FLIP] < 0 else pixels)
    return torch.stack(rows)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 80)])
def test_a_batch_equals_torchvision_image_by_image(height: int, width: int) -> None:
    images = smooth_images(8, height, width)
    table = RAI.draw(8, generator())
    torch.testing.assert_close(RAI(images, table), one_by_one(images, table), atol=0.02, rtol=0)


def test_each_image_is_sampled_by_its_own_parameters() -> None:
    images = smooth_images(6, 32, 32)
    table = RAI.draw(6, generator())
    together = RAI(images, table)
    for i in range(6):
        torch.testing.assert_close(
            together[i : i + 1], RAI(images[i : i + 1], table[i : i + 1]), atol=1e-4, rtol=0
        )


def test_parameters_stay_in_their_ranges_and_fill_them() -> None:
    table = RAI.draw(4000, generator())
    assert table.shape == (4000, 3)
    for column, low, high in ((ANGLE, -20, 20), (ZOOM, 0.8, 1.2)):
        assert low <= table[:, column].min() < low + 0.02 * (high - low)
        assert high >= table[:, column].max() > high - 0.02 * (high - low)
        assert abs(table[:, column].mean() - (low + high) / 2) < 0.03 * (high - low)
    assert set(table[:, FLIP].tolist()) == {-1.0, 1.0}
    assert abs(table[:, FLIP].mean()) < 0.05


def test_parameters_are_a_function_of_the_generator_and_the_position() -> None:
    torch.testing.assert_close(
        RAI.draw(50, generator(3)), RAI.draw(50, generator(3)), atol=0, rtol=0
    )
    torch.testing.assert_close(
        RAI.draw(50, generator(3)), RAI.draw(1001, generator(3))[:50], atol=0, rtol=0
    )
    assert not torch.equal(RAI.draw(50, generator(3)), RAI.draw(50, generator(4)))


def test_switching_one_part_off_leaves_the_draws_of_the_others() -> None:
    upright = Augment(rotation=0, zoom=(0.8, 1.2), flip=True).draw(20, generator())
    torch.testing.assert_close(upright[:, 1:], RAI.draw(20, generator())[:, 1:], atol=0, rtol=0)


def test_all_off_is_the_identity() -> None:
    images = smooth_images(3, 24, 32)
    off = Augment()
    assert off.is_identity
    assert not RAI.is_identity
    expected = images.permute(0, 3, 1, 2).float()
    torch.testing.assert_close(off(images, off.draw(3, generator())), expected, atol=0, rtol=0)
    torch.testing.assert_close(RAI(images, None), expected, atol=0, rtol=0)
    still = torch.tensor([[0.0, 1.0, 1.0]]).repeat(3, 1)
    torch.testing.assert_close(RAI(images, still), expected, atol=1e-2, rtol=0)


def test_a_flip_alone_mirrors_left_and_right() -> None:
    images = smooth_images(2, 24, 32)
    table = torch.tensor([[0.0, 1.0, -1.0]]).repeat(2, 1)
    expected = images.permute(0, 3, 1, 2).float().flip(3)
    torch.testing.assert_close(RAI(images, table), expected, atol=1e-2, rtol=0)


def test_a_zoom_above_one_magnifies() -> None:
    images = torch.zeros(1, 40, 40, 3, dtype=torch.uint8)
    images[:, 15:25, 15:25] = 200
    areas = [
        float((RAI(images, torch.tensor([[0.0, z, 1.0]]))[0, 0] > 100).sum())
        for z in (0.8, 1.0, 1.2)
    ]
    assert areas == [64.0, 100.0, 144.0]


def test_outside_the_image_is_black_or_its_edge() -> None:
    images = torch.full((1, 20, 20, 3), 200, dtype=torch.uint8)
    table = torch.tensor([[0.0, 0.5, 1.0]])
    black = Augment(zoom=(0.5, 1), outside="black")(images, table)
    edge = Augment(zoom=(0.5, 1), outside="edge")(images, table)
    assert black[0, :, 0, 0].tolist() == [0, 0, 0]
    assert edge[0, :, 0, 0].tolist() == [200, 200, 200]


def test_both_layouts_give_the_same() -> None:
    images = smooth_images(4, 24, 32)
    table = RAI.draw(4, generator())
    torch.testing.assert_close(
        RAI(images.permute(0, 3, 1, 2), table), RAI(images, table), atol=0, rtol=0
    )
    torch.testing.assert_close(RAI(images.float(), table), RAI(images, table), atol=1e-3, rtol=0)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", sorted(NORMALISATIONS))
def test_normalisation_equals_torchvision(name: str, channels_last: bool) -> None:
    images = smooth_images(3, 16, 24)
    mean, std = NORMALISATIONS[name]
    expected = reference.normalize(images.permute(0, 3, 1, 2).float() / 255, list(mean), list(std))
    normalise = Normalise(name, channels_last=channels_last)
    for given in (images, images.permute(0, 3, 1, 2), images.permute(0, 3, 1, 2).float()):
        before = given.clone()
        result = normalise(given)
        torch.testing.assert_close(result, expected, atol=1e-6, rtol=1e-5)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        assert result.is_contiguous(memory_format=layout)
        assert torch.equal(given, before)


def test_black_outside_stays_black_in_every_normalisation() -> None:
    images = torch.full((1, 20, 20, 3), 200, dtype=torch.uint8)
    corner = Normalise("imagenet")(Augment(zoom=(0.5, 1))(images, torch.tensor([[0.0, 0.5, 1.0]])))[
        0, :, 0, 0
    ]
    black = Normalise("imagenet")(torch.zeros(1, 2, 2, 3, dtype=torch.uint8))[0, :, 0, 0]
    torch.testing.assert_close(corner, black)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_and_cpu_agree() -> None:
    images = smooth_images(8, 64, 64)
    table = RAI.draw(8, generator())
    normalise = Normalise("imagenet", channels_last=True)
    cpu = normalise(RAI(images, table))
    gpu = normalise(RAI(images.cuda(), table))
    torch.testing.assert_close(gpu.cpu(), cpu, atol=2e-3, rtol=0)


def test_the_configs_hold_what_their_names_say() -> None:
    made = {}
    for file in CONF.glob("*.yaml"):
        node = yaml.safe_load(file.read_text())
        assert node.pop("_target_") == "leukobench.models.augment.Augment"
        assert node.pop("version") == 1
        made[file.stem] = Augment(**node)
    assert made["none"].is_identity
    assert (made["rai"].rotation, list(made["rai"].zoom), made["rai"].flip) == (
        20,
        [0.8, 1.2],
        True,
    )


@pytest.mark.parametrize(
    "wrong", [{"rotation": -5}, {"zoom": (1.2, 0.8)}, {"zoom": (0, 1)}, {"outside": "mirror"}]
)
def test_impossible_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="augment"):
        Augment(**wrong)  # type: ignore[arg-type]


def test_an_unknown_normalisation_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="imagenet"):
        Normalise("image-net")
    with pytest.raises(ConfigError, match="three means"):
        Normalise((0.5,), (0.5,))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(n, H, W, 3\)"):
        RAI(torch.zeros(4, 8, 8, 4), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="4 images"):
        RAI(torch.zeros(4, 8, 8, 3), torch.zeros(3, 3))
