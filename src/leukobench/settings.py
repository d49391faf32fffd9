"""Settings that cross commands: where data, outputs and the store are, and where configs are found.

One small YAML file (`conf/settings/default.yaml`) with environment variables: `LEUKOBENCH_DATA`, `LEUKOBENCH_OUTPUT`,
`MLFLOW_TRACKING_URI` and `LEUKOBENCH_CONF` (a user's own folder of configs, which extends every group).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from leukobench.credentials import real, shown
from leukobench.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Settings:
    """Attributes:
    data: Folder of data sets, one subfolder each.
    output: Folder of run folders, feature and image stores and, by default, the MLflow store.
    store: MLflow tracking URI, with its credentials: `shown_store` is for everyone to see.
    """

    data: Path
    output: Path
    store: str

    @property
    def shown_store(self) -> str:
        """The store's address without credentials."""
        return shown(self.store)

    @property
    def artifacts(self) -> Path:
        """Where a local store keeps artifacts."""
        return self.output / "artifacts"


def conf_dir() -> Path:
    """The project's own configs: inside an installed wheel, or beside `src` in a checkout."""
    return _first(_PACKAGE / "conf", _PACKAGE.parents[1] / "conf")


def sweeps_dir() -> Path:
    """The project's own sweeps."""
    return _first(_PACKAGE / "sweep_files", _PACKAGE.parents[1] / "sweeps")


def _first(*candidates: Path) -> Path:
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise ConfigError(
        f"the installation is incomplete: none of {[str(c) for c in candidates]} exists"
    )


def user_conf_dir() -> Path | None:
    """The user's own folder of configs (`LEUKOBENCH_CONF` or `--config-dir`), if set; absolute."""
    value = os.environ.get("LEUKOBENCH_CONF")
    if not value:
        return None
    folder = Path(value).expanduser().absolute()
    if not folder.is_dir():
        raise ConfigError(f"folder of your configs (LEUKOBENCH_CONF): there is no folder {value}")
    return folder


def use_own_modules() -> None:
    """Let `_target_` of the user's configs name modules that lie beside their folder, in worker processes too.

    What is installed comes first: a module of the user's replaces nothing.
    """
    own = user_conf_dir()
    if own is None or str(own.parent) in sys.path:
        return
    beside = str(own.parent)
    sys.path.append(beside)
    before = os.environ.get("PYTHONPATH", "")
    if beside not in before.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(p for p in (before, beside) if p)


def config_folders(group: str) -> list[Path]:
    """Folders that hold the files of a config group, the user's own first."""
    roots = [user_conf_dir(), conf_dir()]
    return [root / group for root in roots if root is not None and (root / group).is_dir()]


def find_sweep(name: str) -> Path:
    """The file of a sweep: a path, or a name looked up in ./sweeps, the user's folder and the project's own.

    Raises:
        ConfigError: No such sweep; the message lists those there are.
    """
    if name.endswith((".yaml", ".yml")) and Path(name).is_file():
        return Path(name).resolve()
    user = user_conf_dir()
    folders = [Path("sweeps").resolve(), *([user / "sweeps"] if user else []), sweeps_dir()]
    for folder in folders:
        path = folder / f"{name}.yaml"
        if path.is_file():
            return path
    known = sorted({p.stem for folder in folders if folder.is_dir() for p in folder.glob("*.yaml")})
    raise ConfigError(f"no sweep {name!r}; there are: {', '.join(known)}")


def resolve(
    data: str | None = None, output: str | None = None, store: str | None = None
) -> Settings:
    """Settings from explicit values, else the environment, else the defaults.

    Without a store address, it is an SQLite file in the output folder.
    """
    environment = os.environ
    out = Path(output or environment.get("LEUKOBENCH_OUTPUT") or "outputs").expanduser().absolute()
    folder = Path(data or environment.get("LEUKOBENCH_DATA") or "data").expanduser().absolute()
    address = store or environment.get("MLFLOW_TRACKING_URI") or f"sqlite:///{out / 'mlflow.db'}"
    if address.startswith("sqlite:///") and not address.startswith("sqlite:////"):
        address = f"sqlite:///{Path(address.removeprefix('sqlite:///')).absolute()}"
    return Settings(folder, out, real(address))
