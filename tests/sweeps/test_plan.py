"""Planning: nothing twice, nothing that is done, trainings shared where that changes no number."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from leukobench.data.families.expression import ExpressionDataset
from leukobench.errors import ConfigError, FaultyDataError, MissingDataError, SplitError
from leukobench.sweeps.plan import (
    Plan,
    expand,
    fewer_splits_than_seeds,
    make_plan,
    plan_entry,
    run_name,
)
from leukobench.tracking.entries import Entry
from leukobench.tracking.pace import FinishedWork
from leukobench.training.job import Job
from tiny import Tiny

MakeJob = Callable[..., Job]


def plan(*jobs: Job, **options: object) -> Plan:
    return make_plan(expand(jobs), {}, **options)  # type: ignore[arg-type]


def entry(status: str, seconds: float | None = None) -> Entry:
    return Entry("run", status, "name", seconds)


# --- expanding --------------------------------------------------------------------------------------------------------


def test_all_folds_become_a_job_each(make_job: MakeJob) -> None:
    jobs = expand([make_job("split=kfold", "split.k=4", "fold=all")])
    assert [j.config["fold"] for j in jobs] == [0, 1, 2, 3]
    assert len({p.identity for p in plan(make_job("split=kfold", "fold=all")).jobs}) == 5


def test_checkpoint_epochs_are_the_same_results_as_separate_epoch_counts(make_job: MakeJob) -> None:
    together = plan(make_job("evaluate_at=[4,2]"))
    apart = plan(make_job("epochs=2"), make_job("epochs=4"))
    assert [p.identity for p in together.jobs] == [p.identity for p in apart.jobs]
    assert together.trainings[0].identities == apart.trainings[0].identities
    assert together.trainings[0].id == apart.trainings[0].id


@pytest.mark.parametrize("bad", ["fold=first", "fold=1.5", "evaluate_at=[0]", "evaluate_at=[a]"])
def test_what_is_no_fold_or_epoch_is_refused(make_job: MakeJob, bad: str) -> None:
    with pytest.raises(ConfigError, match=bad.partition("=")[0]):
        expand([make_job(bad)])


def test_an_image_model_on_genes_is_left_out_of_a_sweep_with_the_reason(make_job: MakeJob) -> None:
    left_out: list[tuple[str, str]] = []
    jobs = expand([make_job("model=plain_cnn"), make_job("model=logistic")], left_out)
    assert [j.choices["model"] for j in jobs] == ["logistic"]
    ((overrides, reason),) = left_out
    assert "model=plain_cnn" in overrides
    assert "model=plain_cnn reads image data, but data=tiny holds expression data" in reason


def test_an_image_model_on_genes_is_refused_as_a_single_run(make_job: MakeJob) -> None:
    with pytest.raises(
        ConfigError, match="reads image data, but data=tiny holds expression data; choose another"
    ):
        plan(make_job("model=plain_cnn"))
    with pytest.raises(
        ConfigError, match=r"preprocess=image is for image data.*use preprocess=auto"
    ):
        plan(make_job("preprocess=image"))


def test_data_that_are_not_there_are_left_out_unless_none_are(make_job: MakeJob) -> None:
    gone = make_job("data.root=/no/such/folder")
    left_out: list[tuple[str, str]] = []
    assert len(expand([gone, make_job()], left_out)) == 1
    assert "no folder /no/such/folder" in left_out[0][1]
    with pytest.raises(MissingDataError, match="no folder /no/such/folder"):
        expand([gone], [])


def test_a_job_that_cannot_be_run_is_named(make_job: MakeJob) -> None:
    with pytest.raises(SplitError, match=r"folds 0 to 4, not 9\n  \(job: .*fold=9"):
        plan(make_job("split=kfold", "fold=9"))


def test_a_split_that_one_data_set_does_not_allow_leaves_that_one_out(make_job: MakeJob) -> None:
    rare = "data.rare=0.025"  # a single sample of a class
    left_out: list[tuple[str, str]] = []
    jobs = expand(
        [make_job(d, f"seed={s}") for d in (rare, "data.rare=0.4") for s in (0, 1)], left_out
    )
    assert len(make_plan(jobs, {}, left_out=left_out).jobs) == 2
    assert [(rare in overrides, reason[:33]) for overrides, reason in left_out] == [
        (True, "a class has a single sample among")
    ] * 2
    with pytest.raises(SplitError, match="single sample"):
        make_plan(expand([make_job(rare)], []), {}, left_out=[])


def test_faulty_data_are_read_once_for_all_the_jobs_that_ask_for_them(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, read = Tiny.load, []

    def load(self: Tiny) -> ExpressionDataset:
        read.append(self.samples)
        if self.samples == 50:
            raise FaultyDataError("half of it is missing")
        return whole(self)

    monkeypatch.setattr(Tiny, "load", load)
    left_out: list[tuple[str, str]] = []
    jobs = expand(
        [make_job(f"data.samples={n}", f"seed={s}") for n in (50, 60) for s in range(5)], left_out
    )
    assert len(make_plan(jobs, {}, left_out=left_out).jobs) == 5
    assert [reason for _, reason in left_out] == ["half of it is missing"] * 5
    assert read.count(50) == 1


# --- dropping and merging ---------------------------------------------------------------------------------------------


def test_finished_jobs_are_dropped_and_named_and_others_are_not(make_job: MakeJob) -> None:
    jobs = expand([make_job(f"seed={s}") for s in range(4)])
    identities = [p.identity for p in make_plan(jobs, {}).jobs]
    states = ["FINISHED", "FAILED", "RUNNING"]
    entries = {i: entry(status) for i, status in zip(identities, states)}
    made = make_plan(jobs, entries)
    assert list(made.done) == identities[:1]
    assert made.done[identities[0]].run_id == "run"
    assert [t.identities[3] for t in made.trainings] == identities[1:]
    assert len(made.jobs) == 4


def test_force_runs_finished_jobs_again(make_job: MakeJob) -> None:
    jobs = expand([make_job()])
    (planned,) = make_plan(jobs, {}).jobs
    made = make_plan(jobs, {planned.identity: entry("FINISHED")}, force=True)
    assert (len(made.trainings), made.done) == (1, {})


def test_jobs_asked_for_twice_are_counted_and_run_once(make_job: MakeJob) -> None:
    made = plan(make_job(), make_job("trainer.inference_batch=9"), make_job("evaluate_at=[3,5]"))
    assert made.duplicates == 2
    assert len(made.jobs) == 2
    assert len(made.trainings) == 1


def test_epoch_counts_share_a_training(make_job: MakeJob) -> None:
    made = plan(*(make_job(f"epochs={e}", f"seed={s}") for e in (2, 4, 6) for s in (0, 1)))
    assert [t.epochs for t in made.trainings] == [(2, 4, 6), (2, 4, 6)]
    assert made.trainings[0].shared == "trajectory of 3 epoch counts"
    assert made.trainings[0].job.epochs == 6
    assert not made.not_merged


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ("schedule=cosine", "schedule=cosine depends on the total number of epochs"),
        ("patience=3", "early stopping keeps the weights of the best epoch"),
    ],
)
def test_epoch_counts_do_not_share_a_training_where_something_depends_on_the_total(
    make_job: MakeJob, choice: str, reason: str
) -> None:
    made = plan(*(make_job(choice, f"epochs={e}") for e in (2, 4)))
    assert [t.epochs for t in made.trainings] == [(2,), (4,)]
    assert made.not_merged == {reason: 2}


def test_nothing_is_said_of_merging_where_there_was_nothing_to_merge(make_job: MakeJob) -> None:
    assert not plan(
        make_job("schedule=cosine", "seed=0"), make_job("schedule=cosine", "seed=1")
    ).not_merged


def test_merging_can_be_switched_off(make_job: MakeJob) -> None:
    made = plan(*(make_job(f"epochs={e}") for e in (2, 4)), merge=False)
    assert [t.epochs for t in made.trainings] == [(2,), (4,)]
    assert len({t.id for t in made.trainings}) == 2


def test_only_the_epochs_that_are_missing_are_planned(make_job: MakeJob) -> None:
    jobs = expand([make_job("evaluate_at=[2,4,6]")])
    identities = [p.identity for p in make_plan(jobs, {}).jobs]
    made = make_plan(jobs, {identities[1]: entry("FINISHED")})
    assert [t.epochs for t in made.trainings] == [(2, 6)]


def test_results_arrive_early_across_the_grid(make_job: MakeJob) -> None:
    made = plan(
        *(make_job(f"model={m}", f"seed={s}") for m in ("logistic", "gene_mlp") for s in (0, 1))
    )
    order = [(t.job.config["seed"], t.job.choices["model"]) for t in made.trainings]
    assert order == [(0, "logistic"), (0, "gene_mlp"), (1, "logistic"), (1, "gene_mlp")]


def test_time_left_is_estimated_from_finished_trainings(make_job: MakeJob) -> None:
    made = plan(make_job("seed=0", "epochs=10"), make_job("seed=1", "epochs=20"))
    assert made.seconds({}) is None

    def finished(training: str, model: str, epochs: int, seconds: float) -> Entry:
        work = FinishedWork(("tiny", model), epochs, training, seconds)
        return Entry("run", "FINISHED", "", seconds, work=work)

    known = {
        "a5": finished("a", "logistic", 5, 10.0),
        "a10": finished("a", "logistic", 10, 10.0),
        "b": finished("b", "logistic", 1, 3.0),
    }
    assert made.seconds(known) == 60.0  # 1 s an epoch in one training, 3 s in the other
    assert made.seconds({"c": finished("c", "gene_mlp", 10, 9.0)}) is None, "of another model"


# --- records ----------------------------------------------------------------------------------------------------------


def test_a_record_names_identity_training_and_overrides(make_job: MakeJob) -> None:
    (planned,) = plan(make_job("seed=4")).jobs
    body = plan_entry(planned)
    assert body.identity == planned.identity
    assert "seed=4" in body.overrides


def test_a_run_s_name_holds_choices_and_no_places(make_job: MakeJob) -> None:
    name = run_name(make_job("model=gene_mlp", "seed=4", "optimizer.lr=0.1", "planner.force=true"))
    assert name.startswith("train · gene_mlp · adam · 3 epochs · seed 4")
    assert "lr 0.1" in name
    assert "/" not in name
    assert "force" not in name


def test_seeds_that_draw_the_same_split_are_counted_in_the_plan(make_job: MakeJob) -> None:
    same = [make_job(f"seed={s}", "split=leave_one_out") for s in range(3)]
    assert fewer_splits_than_seeds(same) == ["3 seeds draw 1 distinct splits"]
    assert fewer_splits_than_seeds([make_job(f"seed={s}") for s in range(3)]) == []
    fixed = [make_job(f"seed={s}", "split.seed=0") for s in (1, 2)]
    assert fewer_splits_than_seeds(fixed) == [], "the same split was asked for"


def test_early_stopping_on_a_sample_of_a_class_is_refused_but_where_it_is_allowed(
    make_job: MakeJob,
) -> None:
    few = ("patience=2", "data.samples=20", "data.rare=0.2", "split.validation=0.2")
    with pytest.raises(SplitError, match=r"1 of AML; 2 of each class are needed"):
        make_plan([make_job(*few)], {})
    assert make_plan([make_job(*few, "protocol.allow_thin_choice=true")], {}).trainings
    assert make_plan([make_job(*few[1:])], {}).trainings, "nothing is chosen"
