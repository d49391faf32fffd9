"""Frozen backbones: features computed once give the numbers of computing them at every step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from damages import DAMAGES
from leukobench.integrity import verify
from leukobench.sweeps.session import Session, run_here
from leukobench.training.ahead import features_ahead
from leukobench.training.features import HEADER
from leukobench.training.interruption import Interruption
from leukobench.training.job import Job
from tiny import coloured
from trained import Trained

WAYS = ("alone", "together")
Train = Callable[..., Trained]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return coloured(tmp_path_factory.mktemp("images"))


@pytest.fixture
def overrides(images: Path) -> tuple[str, ...]:
    """The head of a randomly initialised ResNet-18, with dropout."""
    return (
        "data=image_folder",
        f"data.root={images}",
        "preprocess=image",
        "preprocess.size=32",
        "model=resnet18",
        "model.pretrained=false",
        "model.hidden=8",
        "model.dropout=0.5",
        "batch_size=8",
        "epochs=2",
    )


@pytest.fixture
def head(train: Train, overrides: tuple[str, ...]) -> Train:
    return lambda *more, **options: train(*overrides, *more, **options)


@pytest.fixture
def head_jobs(make_job: Callable[..., Job], overrides: tuple[str, ...]) -> Callable[..., list[Job]]:
    """Jobs that have not run, one for each group of further overrides."""
    return lambda output, *groups: [
        make_job(*overrides, *more, f"settings.output={output}") for more in groups
    ]


def test_stored_features_give_the_numbers_of_computing_them_at_every_step(
    head: Train, tmp_path: Path
) -> None:
    shared = head(output=tmp_path / "one")
    cached = head("epochs=3", output=tmp_path / "one")
    direct = head("planner.features=false", output=tmp_path / "direct")
    assert [s.state for s in (shared, cached, direct)] == ["finished"] * 3
    assert cached.curves[:2] == shared.curves, (
        "whether the features were stored already changes nothing"
    )
    assert shared.training.identities == direct.training.identities
    pd.testing.assert_frame_equal(shared.predictions(), direct.predictions(), rtol=1e-4, atol=1e-5)
    for one, other in zip(shared.curves, direct.curves):
        assert one == pytest.approx(other, rel=1e-3)


def test_dropout_of_the_head_is_on_while_it_is_trained(head: Train, tmp_path: Path) -> None:
    with_dropout = head(output=tmp_path / "a")
    without = head("model.dropout=0.0", output=tmp_path / "b")
    assert with_dropout.curves[0]["train_loss"] != without.curves[0]["train_loss"]


def test_a_result_keeps_the_same_weights_with_and_without_stored_features(
    head: Train, tmp_path: Path
) -> None:
    names = []
    for i, more in enumerate(([], ["planner.features=false"])):
        done = head(*more, output=tmp_path / str(i))
        names.append(
            set(load_file(done.folder.result(done.training.identities[2]) / "model.safetensors"))
        )
    assert names[0] == names[1]
    assert names[0]


def test_backbones_of_one_pass_over_the_images_give_what_each_gives_alone(
    head: Train, head_jobs: Callable[..., list[Job]], tmp_path: Path
) -> None:
    other = ("model=timm", "model.name=resnet10t", "model.pretrained=false", "model.hidden=8")
    alone = [head(*more, output=tmp_path / "alone") for more in ((), other)]
    jobs = head_jobs(tmp_path / "together", (), other)
    said: list[tuple[int, int]] = []
    assert features_ahead(jobs, lambda _, done, n: said.append((done, n))) == 2
    assert said[-1] == (20, 20)
    assert features_ahead(jobs) == 0, "nothing is left to compute"
    stores = [
        sorted(p.relative_to(tmp_path / d) for p in (tmp_path / d).rglob("features.npy"))
        for d in WAYS
    ]
    assert len(stores[0]) == 2
    assert stores[0] == stores[1]
    for name in stores[0]:
        one, two = (np.load(tmp_path / way / name) for way in WAYS)
        np.testing.assert_array_equal(one, two)
    together = [head(*more, output=tmp_path / "together") for more in ((), other)]
    assert [t.curves for t in together] == [a.curves for a in alone]


@pytest.mark.parametrize("name", ["features.npy", HEADER])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_features_are_told_and_give_the_numbers_of_sound_ones(
    head: Train,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    damage: Callable[[Path], None],
) -> None:
    sound = head("epochs=1", output=tmp_path)
    [stored] = (tmp_path / "features").glob(f"*/{name}")
    damage(stored)
    assert [str(d).startswith(str(stored)) for d in verify(stored.with_name(HEADER))] == [True]
    again = head("epochs=1", "model.dropout=0.1", output=tmp_path / "other")
    damaged = head("epochs=1", "model.dropout=0.1", output=tmp_path)
    assert damaged.curves == again.curves
    pd.testing.assert_frame_equal(damaged.predictions(), again.predictions())
    assert damaged.folder.run().stores == sound.folder.run().stores
    [message] = caplog.messages
    assert str(stored) in message
    assert message.endswith("the features are computed again")


def test_two_exchanged_feature_stores_are_both_computed_again(head: Train, tmp_path: Path) -> None:
    other = ("model=timm", "model.name=resnet10t", "model.pretrained=false", "model.hidden=8")
    networks: tuple[tuple[str, ...], ...] = ((), other)
    sound = [head(*network, "epochs=1", output=tmp_path) for network in networks]
    first, second = (header.parent for header in (tmp_path / "features").glob(f"*/{HEADER}"))
    first.rename(tmp_path / "aside")
    second.rename(first)
    (tmp_path / "aside").rename(second)
    again = [
        head(*network, "epochs=1", "model.dropout=0.1", output=tmp_path) for network in networks
    ]
    for before, after in zip(sound, again):
        assert after.folder.run().stores == before.folder.run().stores


def test_the_run_names_the_stores_that_it_read_with_their_digests(
    head: Train, tmp_path: Path
) -> None:
    stores = head("epochs=1", output=tmp_path).folder.run().stores
    assert {name.partition("/")[0] for name in stores} == {"images", "features"}
    assert all((tmp_path / name).is_dir() for name in stores)
    direct = head("epochs=1", "planner.features=false", output=tmp_path / "direct")
    assert direct.folder.run().stores.items() < stores.items(), "only the images"


def test_one_backbone_is_left_to_the_training_that_asks_for_it(
    head_jobs: Callable[..., list[Job]], tmp_path: Path
) -> None:
    jobs = head_jobs(tmp_path, ("model.hidden=4",), ("model.dropout=0.1",))
    assert features_ahead(jobs) == 0
    assert not (tmp_path / "features").exists()


def test_a_backbone_that_cannot_be_built_is_left_to_its_own_training(
    head_jobs: Callable[..., list[Job]], tmp_path: Path
) -> None:
    weights = f"model.weights={tmp_path / 'absent.safetensors'}"
    good = [
        ("model=timm", f"model.name={n}", "model.pretrained=false")
        for n in ("resnet10t", "resnet14t")
    ]
    bad = ("model=timm", "model.name=resnet26", "model.pretrained=true", weights)
    assert features_ahead(head_jobs(tmp_path, *good, bad)) == 2


def test_ctrl_c_while_features_are_computed_starts_no_training(
    head_jobs: Callable[..., list[Job]], tmp_path: Path
) -> None:
    jobs = head_jobs(tmp_path, (), ("model=timm", "model.name=resnet10t", "model.pretrained=false"))
    begun: list[None] = []
    queue: Any = SimpleNamespace(
        waiting=[SimpleNamespace(job=job) for job in jobs],
        take=lambda: begun.append(None) or queue.waiting.clear(),
    )
    interruption = Interruption()
    interruption.requested = True
    live: Any = SimpleNamespace(on_stage=lambda *stage: None)
    outlet: Any = None
    run_here(Session(queue=queue, outlet=outlet, live=live, interruption=interruption))
    assert begun == []
    assert not list((tmp_path / "features").rglob("*features.npy*"))
