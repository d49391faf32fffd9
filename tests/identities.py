"""The identities of the project's own configs: what `tests/fixtures/v1/identities.json` froze.

`python tests/identities.py` prints them as the code at hand makes them. Data are not needed: what
is hashed is the scientific part of each resolved config.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from leukobench.settings import conf_dir, sweeps_dir
from leukobench.sweeps.app import opened
from leukobench.sweeps.compose import Composer, grid
from leukobench.tracking.identity import NODES, hash_of

ASKED = {
    "data=cumida_file": "data.root=x",
    "data=expression_csv": "data.root=x",
    "model=timm": "model.name=resnet18",
    "split=file": "split.paths=x",
}
"""What a config file leaves to the user."""


def of_groups() -> dict[str, str]:
    """Hash of the default config with each file of each group, by its override."""
    choices = [
        f"{group}={path.stem}"
        for group in (*NODES, "trainer")
        for path in sorted((conf_dir() / group).glob("*.yaml"))
    ]
    with composer_of(conf_dir(), "train") as composer:
        return {c: hash_of(composer.job(_overrides(c)).science.body) for c in choices}


def of_sweeps() -> dict[str, str]:
    """Number of different configs of each sweep, and a hash of all their hashes."""
    out = {}
    for path in sorted(sweeps_dir().glob("*.yaml")):
        params = OmegaConf.load(path).hydra.sweeper.params
        with composer_of(sweeps_dir(), path.stem) as composer:
            if path.stem == "search":
                hashes = {hash_of(composer.job([]).science.body)}
            else:
                values = grid(params, [], composer.parser)
                hashes = {hash_of(job.science.body) for job in composer.jobs(values)}
        out[path.stem] = f"{len(hashes)} {hash_of(sorted(hashes))}"
    return out


def _overrides(choice: str) -> list[str]:
    return [choice, ASKED[choice]] if choice in ASKED else [choice]


@contextmanager
def composer_of(folder: Path, name: str) -> Iterator[Composer]:
    with opened(folder) as hydra:
        loader = hydra.config_loader
        yield Composer(
            lambda overrides: compose(name, overrides, return_hydra_config=True),
            lambda key: bool(loader.get_group_options(key)),
            OverridesParser.create(config_loader=loader),
        )


if __name__ == "__main__":
    json.dump({"groups": of_groups(), "sweeps": of_sweeps()}, sys.stdout, indent=1)
