"""Identity: what makes two runs the same run, and what does not."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leukobench.targets import COMPOSED, PUBLIC, locate
from leukobench.tracking import identity as identities
from leukobench.training.job import Job, identity_of, prepare, training_id_of

MakeJob = Callable[..., Job]


def with_node(job: Job, name: str, **values: Any) -> Job:
    """The job with keys of one node set, as if its config file had them."""
    config = deepcopy(job.config)
    config[name] |= values
    return replace(job, config=config)


def test_the_same_config_has_the_same_identity(make_job: MakeJob) -> None:
    assert identity_of(make_job()) == identity_of(make_job())
    assert len(identity_of(make_job())) == 32


@pytest.mark.parametrize(
    "change",
    [
        "seed=1",
        "split=kfold",
        "epochs=4",
        "model=gene_mlp",
        "optimizer=rmsprop",
        "optimizer.lr=0.01",
        "schedule=exponential",
        "batch_size=16",
        "batch_size=null",
        "l2=0.1",
        "gradient_clip=1.0",
        "balanced_sampling=true",
        "patience=3",
        "preprocess=standard",
        "protocol.fit_on=all",
        "loss.class_weights=balanced",
        "resample=smote",
        "split.test=0.3",
        "data.genes=11",
        "data.samples=39",
        "trainer.precision=bf16-mixed",
        "trainer.compile=true",
        "trainer.tf32=true",
    ],
)
def test_whatever_decides_numbers_changes_the_identity(make_job: MakeJob, change: str) -> None:
    assert identity_of(make_job(change)) != identity_of(make_job())


def test_another_fold_is_another_run(make_job: MakeJob) -> None:
    folds = {identity_of(make_job("split=kfold", f"fold={k}")) for k in range(5)}
    assert len(folds) == 5


@pytest.mark.parametrize(
    "change",
    [
        "trainer.threads=2",
        "trainer.accelerator=cpu",
        "trainer.inference_batch=7",
        "trainer.checkpoint_every=1",
        "trainer.profiler=simple",
        "curves_on=[]",
        "save_model=false",
        "sweep=another",
        "planner.merge=false",
        "planner.features=false",
        "data.allow_faulty=true",
        "settings.data=/elsewhere",
    ],
)
def test_where_and_how_it_runs_does_not(make_job: MakeJob, change: str) -> None:
    change = "+" + change if change.startswith("data.allow") else change
    assert identity_of(make_job(change)) == identity_of(make_job())


def test_the_folder_of_the_data_does_not_count_and_its_content_does(
    make_job: MakeJob, tmp_path: Path
) -> None:
    moved = make_job(f"data.root={tmp_path}")
    assert identity_of(moved) == identity_of(make_job())
    p = prepare(moved)
    one = identities.identity(moved.science, 3, p.fingerprint, p.split.hash)
    assert one == identity_of(moved)
    assert identities.identity(moved.science, 3, "another fingerprint", p.split.hash) != one
    assert identities.identity(moved.science, 3, p.fingerprint, "another split") != one


def test_a_raised_version_makes_new_runs(make_job: MakeJob) -> None:
    job = make_job()
    for node in ("data", "model", "optimizer", "split", "protocol"):
        assert identity_of(with_node(job, node, version=2)) != identity_of(job)


def test_a_key_at_its_default_does_not_count(make_job: MakeJob) -> None:
    job = make_job()
    assert identity_of(with_node(job, "data", rare=0.4)) == identity_of(job)
    without = deepcopy(job.config)
    del without["data"]["rare"], without["l2"], without["patience"]
    assert identity_of(replace(job, config=without)) == identity_of(job)


@pytest.mark.parametrize(
    ("node", "key", "default"),
    [
        ("data", "bad", False),
        ("optimizer", "amsgrad", False),
        ("optimizer", "eps", 1e-8),
        ("loss", "label_smoothing", 0.0),
        ("split", "test", 0.2),
        ("preprocess", "floor", 20.0),
        ("schedule", "rate", 0.95),
        ("protocol", "stratify", True),
        ("protocol", "choose_on", "validation"),
    ],
)
def test_a_new_key_with_a_default_leaves_old_identities_as_they_are(
    make_job: MakeJob, node: str, key: str, default: Any
) -> None:
    job = make_job("preprocess=standard", "schedule=exponential")
    config = deepcopy(job.config)
    config[node].pop(key, None)
    old = replace(job, config=config)
    assert identity_of(with_node(job, node, **{key: default})) == identity_of(old)


def test_whole_floats_and_integers_are_the_same_value(make_job: MakeJob) -> None:
    assert identity_of(make_job("optimizer.lr=1")) == identity_of(make_job("optimizer.lr=1.0"))


def test_the_name_of_a_choice_counts(make_job: MakeJob) -> None:
    job = make_job()
    renamed = replace(job, choices={**job.choices, "model": "my_logistic"})
    assert identity_of(renamed) != identity_of(job)


def test_the_content_of_a_weights_file_counts_and_not_its_place(tmp_path: Path) -> None:
    for name, content in (("a.pt", b"one"), ("b.pt", b"one"), ("c.pt", b"two")):
        (tmp_path / name).write_bytes(content)
    node = lambda name: identities.scientific_node({"weights": str(tmp_path / name)})  # noqa: E731
    assert node("a.pt") == node("b.pt") != node("c.pt")


def test_trainings_that_differ_in_epochs_alone_are_one_unless_something_depends_on_the_total(
    make_job: MakeJob,
) -> None:
    assert training_id_of(make_job("epochs=3")) == training_id_of(make_job("epochs=5"))
    for choice in ("schedule=cosine", "patience=2"):
        assert training_id_of(make_job(choice, "epochs=3")) != training_id_of(
            make_job(choice, "epochs=5")
        )
    assert training_id_of(make_job("seed=1")) != training_id_of(make_job())


def test_a_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert identities.hash_of({"a": 1, "b": [1, 2]}) == identities.hash_of({"b": [1, 2], "a": 1})
    assert identities.hash_of({"a": [1, 2]}) != identities.hash_of({"a": [2, 1]})


def test_an_identity_is_the_same_in_another_process(make_job: MakeJob) -> None:
    science = make_job().science
    code = (
        "import json, sys; from leukobench.tracking import identity as i; "
        "print(i.identity(i.Science(json.load(sys.stdin)), 3, 'data', 'split'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(science.body),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == identities.identity(science, 3, "data", "split")


def test_the_usual_preprocessing_is_identified_by_what_the_data_s_family_reads_of_it(
    make_job: Callable[..., Job],
) -> None:
    usual = make_job().science
    assert usual.body["preprocess"] == {"version": 1, "family": "any"}
    assert make_job("preprocess.size=64", "preprocess.genes=null").science == usual
    assert make_job("preprocess.genes=7").science != usual


def test_identities_are_made_without_torch_and_without_the_classes_they_name(
    make_job: MakeJob,
) -> None:
    job = make_job("data=golub38", "preprocess=kandi", "model=kandi_mlp", "optimizer=adam")
    code = (
        "import json, sys; from leukobench.tracking.identity import hash_of, scientific; "
        "print(hash_of(scientific(*json.load(sys.stdin)).body)); "
        "heavy = {'torch', 'hydra', 'sklearn', 'leukobench.data', 'leukobench.training'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([job.config, job.choices]),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == [identities.hash_of(job.science.body), "[]"]


@pytest.mark.parametrize("name", sorted(n for n in PUBLIC if ".evaluation." not in n))
def test_frozen_defaults_are_those_of_the_code(name: str) -> None:
    """A default that changed needs another version in `defaults.json` and in the config files that name it."""
    frozen = identities.frozen_defaults(name, 10**9)
    assert frozen is not None, f"{name} is a public name without frozen defaults"
    found = locate(name, COMPOSED)
    stated: dict[str, Any] = {}
    for cls in reversed(inspect.getmro(found)[:-1]) if inspect.isclass(found) else [found]:
        stated |= {k: p.default for k, p in inspect.signature(cls).parameters.items()}
    differing = {
        key: (frozen[key], stated[key])
        for key in frozen.keys() & stated.keys()
        if json.loads(json.dumps(stated[key])) != frozen[key]
    }
    assert differing == {}


def test_a_new_option_of_a_factory_has_a_frozen_default() -> None:
    names = [n for n in PUBLIC if n.startswith("leukobench.") and ".evaluation." not in n]
    without = []
    for name in names:
        frozen = identities.frozen_defaults(name, 10**9) or {}
        parameters = inspect.signature(locate(name, COMPOSED)).parameters.values()
        named = [p for p in parameters if p.kind is not p.VAR_KEYWORD and p.default is not p.empty]
        without += [f"{name}.{p.name}" for p in named if p.name not in frozen]
    assert without == [], "write them into defaults.json with what computes the same as before"
