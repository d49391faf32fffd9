"""From override strings to composed jobs: grids, replaced values, the same config as Hydra's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from leukobench.errors import ConfigError
from leukobench.settings import conf_dir
from leukobench.sweeps.app import opened
from leukobench.sweeps.compose import grid
from leukobench.training.job import Job

PARSER = OverridesParser.create()


def values(params: dict[str, Any], *arguments: str) -> dict[str, list[str]]:
    return grid(params, arguments, PARSER)


def test_a_grid_lists_the_values_of_every_key() -> None:
    assert values({"model": "logistic,gene_mlp", "seed": "range(3)", "epochs": 5}) == {
        "model": ["model=logistic", "model=gene_mlp"],
        "seed": ["seed=0", "seed=1", "seed=2"],
        "epochs": ["epochs=5"],
    }


def test_an_argument_replaces_the_values_of_a_swept_key() -> None:
    assert values({"model": "a,b", "seed": "0,1"}, "seed=7", "optimizer.lr=0.1,0.2") == {
        "model": ["model=a", "model=b"],
        "seed": ["seed=7"],
        "optimizer.lr": ["optimizer.lr=0.1", "optimizer.lr=0.2"],
    }


def test_lists_and_nulls_are_single_values() -> None:
    assert values({"evaluate_at": "[1,2]", "batch_size": None}) == {
        "evaluate_at": ["evaluate_at=[1,2]"],
        "batch_size": ["batch_size=null"],
    }


def test_an_interval_is_no_grid() -> None:
    with pytest.raises(ConfigError, match="a grid needs a list of values"):
        values({}, "optimizer.lr=interval(0,1)")


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=gene_mlp", "epochs=7", "split=kfold", "seed=3"],
        [
            "protocol=paper",
            "split=holdout",
            "split.test=0.15",
            "optimizer=sgd",
            "optimizer.momentum=0.5",
        ],
        ["model=gene_mlp", "model.hidden=[8,4]", "evaluate_at=[1,2]", "batch_size=null"],
        ["+note=hello", "loss.class_weights=balanced"],
    ],
)
def test_a_job_is_what_hydra_composes(composer: Any, overrides: list[str]) -> None:
    job = composer.job(overrides)
    with opened(conf_dir()):
        config = OmegaConf.to_container(compose("train", overrides), resolve=True)
    assert isinstance(config, dict)
    composed = Job({str(k): v for k, v in config.items()}, job.choices)
    assert job.config == composed.config
    assert job.overrides == tuple(overrides)
    assert job.choices["model"] == ("gene_mlp" if "model=gene_mlp" in overrides else "logistic")


def test_interpolations_follow_overridden_values(composer: Any) -> None:
    job = composer.job(["seed=9", "protocol=paper"])
    assert job.config["split"]["seed"] == 9
    assert job.config["split"]["keep_together"] == []


def test_hydra_composes_once_for_each_combination_of_files(composer: Any) -> None:
    composer.job(["model=gene_mlp", "seed=0"])
    before = composer.compositions
    grid_of = {
        "model": ["model=gene_mlp"],
        "seed": [f"seed={i}" for i in range(20)],
        "epochs": ["epochs=1"],
    }
    assert len(list(composer.jobs(grid_of))) == 20
    assert composer.compositions == before


def test_jobs_share_no_containers(composer: Any) -> None:
    one, two = (composer.job(["model=gene_mlp", f"seed={s}"]) for s in (0, 1))
    one.config["model"]["hidden"].append(7)
    assert two.config["model"]["hidden"] == [128]


@pytest.mark.parametrize(
    "overrides", [["no_such_key=1"], ["model=no_such_model"], ["optimizer.no_such=1"]]
)
def test_a_mistaken_override_is_hydra_s_own_error(composer: Any, overrides: list[str]) -> None:
    with pytest.raises((HydraException, OmegaConfBaseException), match="no_such"):
        composer.job(overrides)


def test_a_job_with_other_values_has_overrides_that_make_it(make_job: Callable[..., Job]) -> None:
    job = make_job("fold=all", "split=kfold").with_values(fold=2)
    assert job.config["fold"] == 2
    assert "fold=2" in job.overrides
    assert "fold=all" not in job.overrides


def test_params_hold_choices_scalars_and_dotted_keys(make_job: Callable[..., Job]) -> None:
    params = make_job("model=gene_mlp", "batch_size=null").params()
    assert params["model"] == "gene_mlp"
    assert params["model.hidden"] == "[128]"
    assert params["batch_size"] == "null"
    assert params["balanced_sampling"] == "false"
    assert params["split.keep_together"] == "auto"
    assert not [
        key for key in params if "root" in key or key.startswith(("settings", "planner", "sweep"))
    ]
