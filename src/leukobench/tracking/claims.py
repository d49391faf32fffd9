"""Claims: of several launches on one store, also from different machines, one alone is at a
training.

A claim is the name of a registered model: what a store lets only one create, and what leaves
nothing when it is deleted. Its holder renews it; one that is no longer renewed, or whose process on
this machine has ended, is taken over. Claims save work that would be done twice and decide nothing:
a result is counted once by its identity.
"""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psutil

from leukobench.errors import StoreError

if TYPE_CHECKING:
    from leukobench.tracking.connection import Store

NAME = "leukobench-claim-"
EXISTS = "RESOURCE_ALREADY_EXISTS"


class Claims:
    """What this process holds of a store.

    Args:
        beat: Seconds after which what is held is renewed.
        stale: Seconds after which a claim of another machine that was not renewed is given up for
            dead.
        pid: The process that holds them; its end ends them.

    Raises:
        StoreError: From every method: the store cannot be reached.
    """

    def __init__(
        self, store: Store, beat: float = 20.0, stale: float = 90.0, pid: int | None = None
    ) -> None:
        from mlflow import MlflowClient

        self.store, self.beat, self.stale = store, beat, stale
        self._client = MlflowClient(tracking_uri=store.uri, registry_uri=store.uri)
        me = psutil.Process(pid)
        self._mark = {
            "host": socket.gethostname(),
            "pid": str(me.pid),
            "began": str(me.create_time()),
        }
        self._held: set[str] = set()
        self._seen: dict[str, tuple[dict[str, str], float]] = {}
        self._heart: threading.Thread | None = None
        self._lock = threading.Lock()

    def take(self, key: str) -> bool:
        """Claim `key`; False where another process holds it."""
        if key in self._held:
            return True
        with self.store.errors("write"):
            if not self._create(key):
                if not self._abandoned(key):
                    return False
                self._delete(key)
                if not self._create(key):
                    return False
        with self._lock:
            self._held.add(key)
            if self._heart is None:
                self._heart = threading.Thread(target=self._renew, daemon=True)
                self._heart.start()
        return True

    def release(self, key: str) -> None:
        """Give a claim up; one that the store keeps is given up with this process."""
        if key in self._held:
            with suppress(StoreError), self.store.errors("write"):
                self._delete(key)
            with self._lock:
                self._held.discard(key)

    @contextmanager
    def holding(self, key: str, patience: float = 20.0) -> Iterator[None]:
        """Do something that others do not do at the same time; after `patience` seconds of waiting,
        all the same.
        """
        until = time.monotonic() + patience
        while not (taken := self.take(key)) and time.monotonic() < until:
            time.sleep(0.1)
        try:
            yield
        finally:
            if taken:
                self.release(key)

    def tidy(self) -> None:
        """Delete what processes of this machine left behind when they were killed."""
        with self.store.errors("write"):
            for model in self._client.search_registered_models(
                f"name LIKE '{NAME}%'", max_results=200
            ):
                if self._of_the_dead(model.tags):
                    with suppress(Exception):
                        self._client.delete_registered_model(model.name)

    def _create(self, key: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(
                _name(key),
                tags=self._mark,
                description=f"LeukoBench is at {key} on {self._mark['host']}",
            )
        except MlflowException as e:
            if e.error_code == EXISTS:
                return False
            raise
        return True

    def _delete(self, key: str) -> None:
        from mlflow.exceptions import MlflowException

        with suppress(MlflowException):  # another may have been first
            self._client.delete_registered_model(_name(key))

    def _abandoned(self, key: str) -> bool:
        """Whether the holder of a claim is gone: its process, or its beat for as long as this one
        has watched.
        """
        from mlflow.exceptions import MlflowException

        try:
            tags = dict(self._client.get_registered_model(_name(key)).tags)
        except MlflowException:
            return False  # just given up; the next attempt gets it
        if self._of_the_dead(tags):
            return True
        if tags.get("host") == self._mark["host"]:
            return False
        now = time.monotonic()
        # two clocks are never compared: a beat is a change of tags, seen from here
        known, since = self._seen.setdefault(key, (tags, now))
        if known != tags:
            self._seen[key] = (tags, now)
            return False
        return now - since > self.stale

    def _of_the_dead(self, tags: Any) -> bool:
        if tags.get("host") != self._mark["host"]:
            return False
        try:
            return str(psutil.Process(int(tags["pid"])).create_time()) != tags["began"]
        except (psutil.NoSuchProcess, KeyError, ValueError):
            return True

    def _renew(self) -> None:
        beats = 0
        while True:
            time.sleep(self.beat)
            with self._lock:
                held = sorted(self._held)
                if not held:
                    self._heart = None
                    return
            beats += 1
            for key in held:
                with suppress(Exception):  # a store out of reach now may be back at the next beat
                    self._client.set_registered_model_tag(_name(key), "beat", str(beats))


def _name(key: str) -> str:
    return NAME + hashlib.sha256(key.encode()).hexdigest()[:24]
