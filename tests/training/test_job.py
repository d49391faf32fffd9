"""A job and what it loads: once a process, and said by name where it cannot be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from leukobench.errors import ConfigError
from leukobench.training.job import Job, forget_data, load_dataset, prepare


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
