"""Moving a sweep between stores: everything arrives, once, whatever was there; files that are not whole are refused."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from leukobench.errors import LeukoBenchError, StoreError
from leukobench.papers.results import Index
from leukobench.schema.delivery import DELIVERY, PlanEntry
from leukobench.settings import Settings
from leukobench.sweeps import launch
from leukobench.sweeps.launch import run_jobs
from leukobench.sweeps.outlet import delivery_order
from leukobench.sweeps.plan import expand
from leukobench.sweeps.states import status
from leukobench.tracking import delivery, imports
from leukobench.tracking.archive import ArchiveResults, comment_of
from leukobench.tracking.connection import Store, local_path
from leukobench.tracking.exports import export_sweep
from leukobench.tracking.imports import import_sweep
from leukobench.tracking.reading import Results
from leukobench.tracking.sweeps import SweepRun, add_to_plan, close_sweep, find_sweep, open_sweep
from leukobench.training.job import Job
from trained import Trained, train_job

NAME = "a sweep"
SINGLE = ("seed=1", "epochs=3")
SEVERAL = ("model=gene_mlp", "model.hidden=[8]", "evaluate_at=[1,2]")
OWN = ("leukobench.imported", "mlflow.parentRunId")


@pytest.fixture(autouse=True)
def _no_description(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep's plot takes longer than moving these sweeps; it has tests of its own."""
    monkeypatch.setattr(launch, "describe", lambda *args: None)
    monkeypatch.setattr(imports, "describe", lambda *args: None)


@pytest.fixture
def other(tmp_path: Path, database: Path) -> Settings:
    """Another machine: an output folder and an empty store of its own."""
    out = tmp_path / "other"
    out.mkdir()
    shutil.copy(database, out / "mlflow.db")
    return Settings(tmp_path / "other-data", out, f"sqlite:///{out / 'mlflow.db'}")


@dataclass
class Source:
    """A store with a delivered single run and a trajectory of two results, and where to export it to."""

    settings: Settings
    store: Store
    sweep: SweepRun
    make: Callable[..., Job]
    file: Path

    @classmethod
    def build(cls, folder: Path, database: Path, composer: Any) -> Source:
        out = folder / "out"
        out.mkdir(parents=True)
        shutil.copy(database, out / "mlflow.db")
        settings = Settings(folder / "data", out, f"sqlite:///{out / 'mlflow.db'}")
        own = ["data=tiny", f"settings.output={out}", f"settings.store={settings.store}"]

        def make(*overrides: str) -> Job:
            return composer.job([*own, *overrides])

        store = Store(settings)
        sweep = open_sweep(store, NAME, "a description")
        source = cls(settings, store, sweep, make, folder / "moved.zip")
        for overrides in (SINGLE, SEVERAL):
            source.deliver(source.train(*overrides))
        add_to_plan(
            store,
            sweep,
            [PlanEntry("0" * 32, "t", ("seed=9",), "not run")],
        )
        close_sweep(store, sweep, {"jobs": 4})
        return source

    def train(self, *overrides: str) -> Trained:
        return train_job(self.make(*overrides))

    def deliver(self, done: Trained) -> None:
        delivery.deliver(self.store, self.sweep, done.folder, delivery_order(done.training))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, database: Path, composer: Any) -> Source:
    """A source that no test changes, already exported."""
    source = Source.build(tmp_path_factory.mktemp("source"), database, composer)
    export_sweep(source.settings, NAME, source.file)
    return source


@pytest.fixture
def source(tmp_path: Path, database: Path, composer: Any) -> Source:
    """A source of the test's own."""
    return Source.build(tmp_path / "source", database, composer)


def everything(settings: Settings) -> dict[str, Any]:
    """All that the store holds of the sweep, by what a run is instead of by its id."""
    store = Store(settings)
    sweep = find_sweep(store, NAME)
    assert sweep is not None
    runs = {run.info.run_id: run for run in store.search(sweep.experiment_id, "")}

    def key(id: str | None) -> str:
        tags = runs[id].data.tags if id in runs else {}
        return f"{tags.get('leukobench.kind')} {tags.get('leukobench.identity') or tags.get('leukobench.training')}"

    out: dict[str, Any] = {}
    for id, run in runs.items():
        folder = local_path(run.info.artifact_uri)
        assert folder is not None
        assert key(id) not in out, "a run stands twice in the store"
        out[key(id)] = {
            "name": run.info.run_name,
            "times": (run.info.status, run.info.start_time, run.info.end_time),
            "parent": key(run.data.tags.get("mlflow.parentRunId")),
            "tags": {k: v for k, v in run.data.tags.items() if k not in OWN},
            "params": run.data.params,
            "metrics": {
                k: [(m.step, m.value, m.timestamp) for m in store.client.get_metric_history(id, k)]
                for k in run.data.metrics
            },
            "inputs": [
                (dict(i.dataset), [(t.key, t.value) for t in i.tags])
                for i in run.inputs.dataset_inputs
            ],
            "files": {
                str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()
            },
        }
    return out


def results(settings: Settings) -> list[Any]:
    store = Store(settings)
    sweep = find_sweep(store, NAME)
    return (
        []
        if sweep is None
        else list(store.search(sweep.experiment_id, "tags.`leukobench.kind` = 'result'"))
    )


# --- what arrives -----------------------------------------------------------------------------------------------------


def test_runs_arrive_with_all_that_was_logged_of_them(
    exported: Source, other: Settings, tmp_path: Path
) -> None:
    done = export_sweep(exported.settings, NAME, tmp_path / "moved.zip")
    assert (done.results, done.trajectories, done.undelivered) == (3, 1, 0)
    assert done.size == (tmp_path / "moved.zip").stat().st_size
    moved = import_sweep(other, tmp_path / "moved.zip")
    assert (moved.sweep, moved.new, moved.there) == (NAME, 3, 0)
    arrived = everything(other)
    assert len(arrived) == 5
    assert arrived == everything(exported.settings)
    assert sum(len(run["metrics"]) > 5 for run in arrived.values()) >= 3
    assert all(run["inputs"] for name, run in arrived.items() if name.startswith("result"))


def test_importing_twice_adds_nothing(exported: Source, other: Settings) -> None:
    import_sweep(other, exported.file)
    before = everything(other)
    moved = import_sweep(other, exported.file)
    assert (moved.new, moved.there) == (0, 3)
    assert everything(other) == before


def test_importing_where_it_came_from_adds_nothing(exported: Source) -> None:
    before = everything(exported.settings)
    assert import_sweep(exported.settings, exported.file).new == 0
    assert everything(exported.settings) == before


def test_only_what_is_missing_is_brought(exported: Source, other: Settings) -> None:
    here = Store(other)
    sweep = open_sweep(here, NAME)
    own = train_job(exported.make(*SINGLE), output=other.output)
    delivery.deliver(here, sweep, own.folder, delivery_order(own.training))
    add_to_plan(
        here,
        sweep,
        [PlanEntry(own.training.identities[3], "t", name="own")],
    )
    (before,) = results(other)
    moved = import_sweep(other, exported.file)
    assert (moved.new, moved.there) == (2, 1)
    after = {run.info.run_id: run for run in results(other)}
    assert len(after) == 3
    assert after[before.info.run_id].data.tags == before.data.tags, "what was there stays as it was"
    assert {job["name"]: job["state"] for job in status(other, NAME)} == {
        "own": "done",
        "not run": "not started",
    }


def test_a_later_export_brings_what_was_finished_since(source: Source, other: Settings) -> None:
    export_sweep(source.settings, NAME, source.file)
    import_sweep(other, source.file)
    source.deliver(source.train("seed=2"))
    export_sweep(source.settings, NAME, source.file)
    assert (lambda moved: (moved.new, moved.there))(import_sweep(other, source.file)) == (1, 3)
    assert everything(other).keys() == everything(source.settings).keys()


def test_only_finished_results_are_moved(source: Source, other: Settings) -> None:
    client = source.store.client
    trajectory = next(
        run
        for run in source.store.search(
            source.sweep.experiment_id, "tags.`leukobench.kind` = 'trajectory'"
        )
    )
    children = [
        run
        for run in results(source.settings)
        if run.data.tags["mlflow.parentRunId"] == trajectory.info.run_id
    ]
    client.update_run(children[0].info.run_id, status="FAILED")
    client.update_run(trajectory.info.run_id, status="RUNNING")
    assert export_sweep(source.settings, NAME, source.file).results == 2
    import_sweep(other, source.file)
    arrived = everything(other)
    assert {run["times"][0] for name, run in arrived.items() if name.startswith("result")} == {
        "FINISHED"
    }
    (moved,) = (run for name, run in arrived.items() if name.startswith("trajectory"))
    assert moved["times"][0] == "KILLED", "nobody goes on with it here, so it does not run"


def test_what_was_read_before_is_read_anew_after_an_import(
    exported: Source, other: Settings
) -> None:
    here = Store(other)
    sweep = open_sweep(here, NAME)
    later = train_job(exported.make("seed=5"), output=other.output)
    delivery.deliver(here, sweep, later.folder, delivery_order(later.training))
    (own,) = results(other)
    # the runs that come ended long before the latest that was read here
    here.client.set_terminated(own.info.run_id, "FINISHED", own.info.end_time + 10_000_000)
    assert len(Results(other, [NAME]).results) == 1
    import_sweep(other, exported.file)
    assert len(Results(other, [NAME]).results) == 4


# --- use on the other machine -----------------------------------------------------------------------------------------


def test_the_planner_skips_what_was_imported(
    exported: Source, other: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    import_sweep(other, exported.file)
    where = (
        f"settings.output={other.output}",
        f"settings.store={other.store}",
        f"sweep='{NAME}'",
    )
    capsys.readouterr()
    jobs = [exported.make(*overrides, *where) for overrides in (SINGLE, SEVERAL, ("seed=3",))]
    assert len(run_jobs(expand(jobs), [], None)) == 1
    assert "4 jobs asked, 3 done, 1 to do" in capsys.readouterr().err


def test_predictions_and_the_model_are_those_of_the_source(
    exported: Source, other: Settings
) -> None:
    from leukobench.training.saved import load_result

    import_sweep(other, exported.file)
    theirs, ours = Results(exported.settings, [NAME]), Results(other, [NAME])
    assert {r.identity for r in theirs.results} == {r.identity for r in ours.results}
    for ours_run in ours.results:
        (theirs_run,) = (r for r in theirs.results if r.identity == ours_run.identity)
        assert ours.predictions(ours_run).equals(theirs.predictions(theirs_run))
        assert ours.artifact(ours_run, "curves") == theirs.artifact(theirs_run, "curves")
        model = load_result(ours_run.run_id, other)
        weights = load_result(theirs_run.run_id, exported.settings).whole.state_dict()
        assert all(value.equal(weights[key]) for key, value in model.whole.state_dict().items())


def test_an_archive_is_read_like_a_store(exported: Source) -> None:
    stored, moved = Results(exported.settings, [NAME]), ArchiveResults(exported.file)
    (a,) = Index(stored.results).select(["seed=1"])
    (b,) = Index(moved.results).select(["seed=1"])
    assert dict(a.params) == dict(b.params)
    assert moved.predictions(b).equals(stored.predictions(a))
    moved.close()


# --- killed -----------------------------------------------------------------------------------------------------------


def test_an_import_that_is_killed_again_and_again_ends_as_if_it_never_was(
    exported: Source, other: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    theirs, calls, attempt = everything(exported.settings), 0, 0

    def killed(step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > attempt:
                raise KeyboardInterrupt
            return step(*args, **keywords)

        return call

    for name in (
        "create_run",
        "log_batch",
        "log_inputs",
        "log_artifacts",
        "set_terminated",
        "set_experiment_tag",
    ):
        monkeypatch.setattr(mlflow.MlflowClient, name, killed(getattr(mlflow.MlflowClient, name)))
    while True:
        attempt, calls = attempt + 1, 0
        try:
            import_sweep(other, exported.file)
            break
        except KeyboardInterrupt:
            for run in results(other):
                complete = theirs[f"result {run.data.tags['leukobench.identity']}"]
                if run.info.status == "FINISHED":
                    assert run.data.params == complete["params"]
                    assert run.data.metrics.keys() == complete["metrics"].keys()
    assert attempt > 5
    assert everything(other) == theirs


# --- refused ----------------------------------------------------------------------------------------------------------


def rewritten(
    exported: Source, change: Callable[[dict[str, bytes]], None], sign: bool = False
) -> Path:
    """The archive with other members; signed as an export of its own where wanted."""
    with zipfile.ZipFile(exported.file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
        comment = archive.comment
    change(members)
    path = exported.file.with_name("changed.zip")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.comment = comment_of(members["manifest.json"]) if sign else comment
    return path


def refused(settings: Settings, path: Path, *said: str) -> None:
    with pytest.raises(LeukoBenchError) as caught:
        import_sweep(settings, path)
    for text in (str(path), *said):
        assert text in str(caught.value)
    assert find_sweep(Store(settings), NAME) is None, "nothing is written"


def manifest(members: dict[str, bytes], **changes: Any) -> None:
    members["manifest.json"] = json.dumps(
        {**json.loads(members["manifest.json"]), **changes}
    ).encode()


def test_files_that_are_no_export_are_refused(
    exported: Source, other: Settings, tmp_path: Path
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("nothing of the kind")
    refused(other, text, "no export of LeukoBench")
    foreign = tmp_path / "foreign.zip"
    with zipfile.ZipFile(foreign, "w") as archive:
        archive.writestr("data.csv", "1,2,3")
    refused(other, foreign, "no export of LeukoBench")
    refused(other, tmp_path / "absent.zip", "No such file")


def test_a_truncated_export_is_refused(exported: Source, other: Settings, tmp_path: Path) -> None:
    whole = exported.file.read_bytes()
    cut = tmp_path / "cut.zip"
    for share in (0.2, 0.9, 0.999):
        cut.write_bytes(whole[: int(len(whole) * share)])
        refused(other, cut, "cut off")


def test_a_damaged_byte_is_found_before_anything_is_written(
    exported: Source, other: Settings, tmp_path: Path
) -> None:
    with zipfile.ZipFile(exported.file) as archive:
        weights = next(i for i in archive.infolist() if i.filename.endswith("model.safetensors"))
    content = bytearray(exported.file.read_bytes())
    content[weights.header_offset + 200] ^= 1
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(content)
    refused(other, damaged, "damaged")


def test_a_tampered_export_is_refused(exported: Source, other: Settings) -> None:

    def better(members: dict[str, bytes]) -> None:
        name = next(
            n for n in members if n.endswith("/run.json") and b"test_accuracy" in members[n]
        )
        members[name] = members[name].replace(b"test_accuracy", b"test_accurate")

    refused(other, rewritten(exported, better), "changed", "run.json")
    refused(
        other,
        rewritten(exported, lambda m: m.pop(next(n for n in m if n.endswith(".parquet")))),
        "changed",
    )
    refused(
        other, rewritten(exported, lambda m: m.update({"runs/more": b""})), "changed", "runs/more"
    )
    refused(
        other, rewritten(exported, lambda m: manifest(m, sweep="another")), "changed", "manifest"
    )


def test_a_later_format_is_refused_with_the_way_out(exported: Source, other: Settings) -> None:
    path = rewritten(exported, lambda m: manifest(m, format=99, leukobench="9.1"), sign=True)
    refused(other, path, "LeukoBench 9.1", "format 99", "update")


@pytest.mark.parametrize(
    "name", ["../../evil", "/evil", "artifacts/../../../../evil", "artifacts/a\\..\\evil"]
)
def test_no_file_is_written_outside(
    exported: Source, other: Settings, name: str, tmp_path: Path
) -> None:

    def slip(members: dict[str, bytes]) -> None:
        body = json.loads(members["manifest.json"])
        member = f"runs/{body['runs'][1]}/{name}"
        import hashlib

        members[member] = b"evil"
        manifest(members, files={**body["files"], member: [4, hashlib.sha256(b"evil").hexdigest()]})

    refused(other, rewritten(exported, slip, sign=True), "evil", "not imported")
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("name", ["../../escape", "/abs/path", ".hidden", "a\0b", ""])
def test_a_sweep_whose_name_leads_elsewhere_is_not_imported(
    exported: Source, other: Settings, name: str
) -> None:
    refused(other, rewritten(exported, lambda m: manifest(m, sweep=name), sign=True), "sweep")


@pytest.mark.parametrize(
    "changes",
    [
        {"runs": 5},
        {"runs": ["0" * 32]},
        {"runs": []},
        {"files": {"a": "b"}},
        {"files": [1]},
        {"format": "one"},
        {"format": None},
        {"leukobench": None},
        {"sweep": {"a": 1}},
    ],
    ids=str,
)
def test_a_malformed_manifest_is_told_in_a_sentence(
    exported: Source, other: Settings, changes: dict[str, Any]
) -> None:
    refused(other, rewritten(exported, lambda m: manifest(m, **changes), sign=True))


def test_a_malformed_run_record_is_told_in_a_sentence(exported: Source, other: Settings) -> None:
    import hashlib

    def spoil(members: dict[str, bytes]) -> None:
        body = json.loads(members["manifest.json"])
        member = f"runs/{body['runs'][1]}/run.json"
        members[member] = b'{"id": 5}'
        digest = hashlib.sha256(members[member]).hexdigest()
        manifest(members, files={**body["files"], member: [9, digest]})

    refused(other, rewritten(exported, spoil, sign=True), "run.json", "field id is 5")


def test_an_archive_that_unpacks_to_far_more_than_it_holds_is_refused(
    other: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "bomb.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("manifest.json", "w") as member,
    ):
        for _ in range(300):
            member.write(bytes(1 << 20))
    refused(other, path, "unpacks to 0.3 GB")


def test_an_export_shows_no_credentials_that_an_earlier_version_logged(source: Source) -> None:
    files = list((source.settings.output / "artifacts").rglob("job.json"))
    assert files
    for file in files:
        file.write_text(file.read_text().replace("sqlite:///", "http://anna:s3cret@lab/"))
    export_sweep(source.settings, NAME, source.file)
    with zipfile.ZipFile(source.file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert any(b"http://***@lab/" in content for content in members.values())
    assert not any(b"s3cret" in content for content in members.values())


def test_an_export_replaces_an_earlier_one_and_nothing_else(
    exported: Source, tmp_path: Path
) -> None:
    export_sweep(exported.settings, NAME, exported.file)
    mine = tmp_path / "thesis.zip"
    mine.write_text("dear to someone")
    with pytest.raises(LeukoBenchError, match="left as it is"):
        export_sweep(exported.settings, NAME, mine)
    assert mine.read_text() == "dear to someone"


def test_an_export_says_what_there_is_to_export(
    exported: Source, other: Settings, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="no sweep 'another'"):
        export_sweep(exported.settings, "another", tmp_path / "new.zip")
    open_sweep(Store(other), NAME)
    with pytest.raises(StoreError, match="no finished result"):
        export_sweep(other, NAME, tmp_path / "new.zip")
    assert not (tmp_path / "new.zip").exists()


def test_results_that_were_never_delivered_are_counted(source: Source) -> None:

    late = source.train("seed=7")
    late.folder.write(DELIVERY, replace(delivery_order(late.training), sweep=NAME))
    assert export_sweep(source.settings, NAME, source.file).undelivered == 1
