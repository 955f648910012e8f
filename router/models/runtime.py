"""Every model version the snapshot names: loaded in the background, called under a deadline and a breaker."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress

from experiment.model import ModelVersion
from router.models.breaker import Breaker
from router.models.model import Cause, InputsRefused, LoadedModel, Loader, ModelFailure
from router.models.pool import CallPool, Outcome

_log = logging.getLogger(__name__)

RELOAD_SECONDS = 5.0
_NOT_ITS_FAULT = frozenset({Cause.BUSY, Cause.LOADING})


class _Slot:
    """One version: its model once loaded, the load under way, its breaker."""

    __slots__ = ("breaker", "failed_at", "failure", "loading", "model", "native", "version")

    def __init__(self, version: ModelVersion, *, native: bool) -> None:
        self.version, self.native = version, native
        self.breaker = Breaker()
        self.model: LoadedModel | None = None
        self.loading: Future[Outcome[LoadedModel]] | None = None
        self.failed_at = float("-inf")
        self.failure = ""  # why the last load failed


class Models:
    """The models of one serving process.

    `native` runs what computes, `loading` (a pool of its own, so that stuck calls cannot hold up a new model)
    what is loaded, `waiting` what waits for the network or for the other two. All methods are for the event
    loop's own thread.
    """

    def __init__(
        self, loaders: Mapping[str, Loader], *, native: CallPool, loading: CallPool, waiting: CallPool
    ) -> None:
        """`loaders` by the format of a version ("skops", "http")."""
        self._loaders = loaders
        self._native, self._loading, self._waiting = native, loading, waiting
        self._slots: dict[str, _Slot] = {}

    def warm(self, versions: Iterable[ModelVersion], *, seconds: float) -> None:
        """Load these versions, all at once, and wait at most `seconds` for all of them."""
        end = time.monotonic() + seconds
        for slot in self.load(versions):
            with suppress(ModelFailure):  # logged where the load ended, and said by `not_ready`
                self._loaded(slot, max(0.0, end - time.monotonic()))

    def load(self, versions: Iterable[ModelVersion]) -> list[_Slot]:
        """Begin to load what is not loaded yet, again where an earlier load failed; waits for nothing."""
        slots = []
        for version in versions:
            with suppress(ModelFailure):  # a format that nothing here loads
                slots.append(self._slot(version))
                self._begin(slots[-1])
        return slots

    def not_ready(self, versions: Iterable[ModelVersion]) -> list[str]:
        """Which of these versions cannot answer here, one sentence each; [] when all of them can.

        A version held back by its breaker is loaded: whoever runs behind it has failed, not this process.
        """
        self._settle_finished()
        sentences = []
        for version in versions:
            try:
                slot = self._slot(version)
            except ModelFailure as failure:
                sentences.append(failure.message)
                continue
            if slot.model is None:
                sentences.append(slot.failure or f"loading {_name(version)}")
        return sentences

    def keep(self, versions: Iterable[ModelVersion]) -> None:
        """Forget every version but these."""
        wanted = {version.digest for version in versions}
        for digest in [known for known in self._slots if known not in wanted]:
            del self._slots[digest]

    def call(self, version: ModelVersion, inputs: object, deadline: float) -> object:
        """The model's answer within `deadline` seconds.

        Raises:
            ModelFailure: with the cause; repeated failures open the version's breaker.
            InputsRefused: the caller's inputs do not fit; the breaker does not count it.
        """
        end, left = time.monotonic() + deadline, deadline
        slot = self._slot(version)
        if not slot.breaker.allow():
            raise ModelFailure(Cause.BREAKER, f"{_name(version)} failed repeatedly")
        try:
            model = self._loaded(slot, deadline)
            pool = self._native if slot.native else self._waiting
            left = max(0.0, end - time.monotonic())
            answer = pool.call(version.digest, lambda: model.predict(inputs, left), left)
        except InputsRefused:
            raise
        except ModelFailure as failure:
            if failure.cause is Cause.TIMEOUT and left < deadline / 2:
                late = f"{_name(version)} was being loaded for most of the deadline"
                raise ModelFailure(Cause.LOADING, late) from failure
            if failure.cause not in _NOT_ITS_FAULT:
                slot.breaker.failure()
            raise
        except Exception as error:
            slot.breaker.failure()
            raise ModelFailure(Cause.ERROR, f"{_name(version)} raised {error!r}") from error
        slot.breaker.success()
        return answer

    def facts(self) -> dict[str, list[str]]:
        """Versions by state, for /readyz: `loaded`, `not_loaded`, `held_back` (by their breaker)."""
        self._settle_finished()
        slots = list(self._slots.values())
        return {
            "loaded": sorted(_name(slot.version) for slot in slots if slot.model is not None),
            "not_loaded": sorted(_name(slot.version) for slot in slots if slot.model is None),
            "held_back": sorted(_name(slot.version) for slot in slots if slot.breaker.is_open),
        }

    def _settle_finished(self) -> None:
        """Take what finished loads left that no call has asked for yet."""
        for slot in self._slots.values():
            if slot.loading is not None and slot.loading.done():
                with suppress(ModelFailure):
                    self._settle(slot, slot.loading.result())

    def _slot(self, version: ModelVersion) -> _Slot:
        slot = self._slots.get(version.digest)
        if slot is None:
            loader = self._loaders.get(version.format)
            if loader is None:
                raise ModelFailure(
                    Cause.LOAD, f"{_name(version)} has format {version.format}, which nothing here loads"
                )
            slot = self._slots[version.digest] = _Slot(version, native=loader.native)
        return slot

    def _begin(self, slot: _Slot) -> None:
        recently = time.monotonic() - slot.failed_at < RELOAD_SECONDS
        if slot.model is None and slot.loading is None and not recently:
            loader = self._loaders[slot.version.format]
            version = slot.version
            slot.loading = self._waiting.start(lambda: self._loading.run(lambda: loader.load(version)))

    def _loaded(self, slot: _Slot, deadline: float) -> LoadedModel:
        if slot.model is not None:
            return slot.model
        self._begin(slot)
        if slot.loading is None:
            raise ModelFailure(Cause.LOAD, slot.failure)
        try:
            outcome = slot.loading.result(timeout=deadline)
        except FutureTimeout:
            raise ModelFailure(Cause.LOADING, f"{_name(slot.version)} is still being loaded") from None
        return self._settle(slot, outcome)

    def _settle(self, slot: _Slot, outcome: Outcome[LoadedModel]) -> LoadedModel:
        """What a finished load left; a failed one is tried again by a later call."""
        model, error = outcome
        slot.loading = None
        if model is None:
            slot.failed_at = time.monotonic()
            failure = error if isinstance(error, ModelFailure) else ModelFailure(Cause.LOAD, repr(error))
            name = _name(slot.version)
            said = f"{name} cannot be loaded: {failure.message.removeprefix(f'{name}: ')}"
            if said != slot.failure:  # once, not at every attempt
                _log.error("%s", said)
            slot.failure = said
            raise failure
        slot.model, slot.failure = model, ""
        return model


def _name(version: ModelVersion) -> str:
    return f"{version.name}@{version.version}"
