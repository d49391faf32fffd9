"""Delivering afterwards: what run folders hold and the store does not have yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leukobench.settings import Settings
from leukobench.tracking.description import describe
from leukobench.tracking.folder import RunFolder, read_json
from leukobench.tracking.store import Store, SweepRun


def sync(settings: Settings, name: str | None = None) -> int:
    """Deliver every run folder (of one sweep, or of all); what the store holds already stays as it is.

    Returns:
        How many folders are in the store now.

    Raises:
        StoreError
    """
    store = Store(settings)
    sweeps: dict[str, SweepRun] = {}
    delivered = 0
    for path in sorted((settings.output / "runs").glob("*/delivery.json")):
        order: Mapping[str, Any] = read_json(path)
        sweep = order["sweep"]
        if name not in (None, sweep):
            continue
        if sweep not in sweeps:
            sweeps[sweep] = store.open_sweep(sweep)
        with store.claims.holding(
            order["training"]
        ):  # another launch may be delivering the same results
            store.deliver(sweeps[sweep], RunFolder(path.parent), order)
        delivered += 1
    for sweep_run in sweeps.values():
        describe(store, sweep_run)
        store.close_sweep(sweep_run, {})
    return delivered
