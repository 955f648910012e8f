"""Every model version the snapshot names: loaded in the background, called under a deadline and a breaker.

A version whose process ends again and again (it crashes, or computes for ever) is quarantined: not loaded and
not asked for a while. Its callers fall back at once, everybody else notices nothing.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress

import orjson

from switchpoint.experiment.registry.model import ModelVersion
from switchpoint.router.models.breaker import Breaker
from switchpoint.router.models.model import Cause, InputsRefused, LoadedModel, Loader, ModelFailure
from switchpoint.router.models.pool import CallPool, Outcome

_log = logging.getLogger(__name__)

RELOAD_SECONDS = 5.0
CRASHES = 3
CRASHES_WITHIN_SECONDS = 600.0
QUARANTINE_SECONDS = 300.0
_NOT_ITS_FAULT = frozenset({Cause.BUSY, Cause.LOADING, Cause.QUARANTINED})


class _Slot:
    """One version: its model once loaded, the load under way, its breaker, when it crashed."""

    __slots__ = ("answered", "breaker", "crashes", "failed_at", "failure", "loading", "model", "version")

    def __init__(self, version: ModelVersion) -> None:
        self.version, self.breaker = version, Breaker()
        self.crashes: deque[float] = deque(maxlen=CRASHES)
        self.model: LoadedModel | None = None
        self.answered: object = None  # the first inputs that it answered
        self.loading: Future[Outcome[LoadedModel]] | None = None
        self.failed_at = float("-inf")
        self.failure = ""  # why the last load failed

    @property
    def quarantined(self) -> bool:
        if len(self.crashes) < CRASHES or self.crashes[-1] - self.crashes[0] > CRASHES_WITHIN_SECONDS:
            return False
        return time.monotonic() - self.crashes[-1] < QUARANTINE_SECONDS


class Models:
    """The models of one serving process. All methods are for the event loop's own thread."""

    def __init__(
        self,
        loaders: Mapping[str, Loader],
        *,
        calls: CallPool,
        crashed: Callable[[ModelVersion], None] = lambda _: None,
    ) -> None:
        """`loaders` by the format of a version ("skops", "http"); `calls` runs what may outlast its deadline.

        `crashed` hears of every process that a version ended.
        """
        self._loaders, self._calls, self._crashed = loaders, calls, crashed
        self._slots: dict[str, _Slot] = {}

    def warm(self, versions: Iterable[ModelVersion], *, seconds: float) -> None:
        """Load these versions, all at once; wait at most `seconds`, once, for those whose load begins now."""
        end = time.monotonic() + seconds
        for slot in self.load(versions):
            with suppress(ModelFailure):  # logged where the load ended, and said by `not_ready`
                self._loaded(slot, max(0.0, end - time.monotonic()))

    def load(self, versions: Iterable[ModelVersion]) -> list[_Slot]:
        """Begin to load what is not loaded yet, again where a load failed or a process ended; never waits.

        Returns those whose load begins now.
        """
        begun = []
        for version in versions:
            with suppress(ModelFailure):  # a format that nothing here loads
                slot = self._slot(version)
                if self._begin(slot):
                    begun.append(slot)
        return begun

    def not_ready(self, versions: Iterable[ModelVersion]) -> list[str]:
        """Which of these versions cannot answer here, one sentence each; [] when all of them can.

        A version held back by its breaker is loaded: whoever runs behind it has failed, not this process. A
        quarantined one would be no better on another machine: its callers fall back, `facts` names it.
        """
        self._settle_finished()
        sentences = []
        for version in versions:
            try:
                slot = self._slot(version)
            except ModelFailure as failure:
                sentences.append(failure.message)
                continue
            if slot.model is None and not slot.quarantined:
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
            ModelFailure: with the cause; repeated failures open the version's breaker, unless it still
                answers what it answered before: then it was what the callers sent.
            InputsRefused: the caller's inputs do not fit; the breaker does not count it.
        """
        slot = self._slot(version)
        if not slot.breaker.allow():
            raise ModelFailure(Cause.BREAKER, f"{_name(version)} failed repeatedly")
        if slot.breaker.is_open and slot.answered is not None:
            self._probe(slot, deadline)
        end, left = time.monotonic() + deadline, deadline
        try:
            model = self._loaded(slot, deadline)
            left = max(0.0, end - time.monotonic())
            answer = self._ask(slot, model, inputs, left)
        except InputsRefused:
            raise
        except ModelFailure as failure:
            if failure.cause is Cause.TIMEOUT and left < deadline / 2:
                late = f"{_name(version)} was being loaded for most of the deadline"
                raise ModelFailure(Cause.LOADING, late) from failure
            if failure.cause not in _NOT_ITS_FAULT:
                self._count_failure(slot, deadline)
            raise
        except Exception as error:
            self._count_failure(slot, deadline)
            raise ModelFailure(Cause.ERROR, f"{_name(version)} raised {error!r}") from error
        slot.breaker.success()
        slot.answered = inputs if slot.answered is None else slot.answered
        return answer

    def _ask(self, slot: _Slot, model: LoadedModel, inputs: object, deadline: float) -> object:
        try:
            if self._loaders[slot.version.format].keeps_deadlines:
                answer = model.predict(inputs, deadline)
            else:
                digest = slot.version.digest
                answer = self._calls.call(digest, lambda: model.predict(inputs, deadline), deadline)
        except ModelFailure as failure:
            if failure.cause is Cause.CRASHED:
                self._count_crash(slot, model)
                self._begin(slot)
            raise
        try:
            orjson.dumps(answer)
        except orjson.JSONEncodeError as error:
            raise ModelFailure(Cause.ANSWER, f"its answer cannot be written as JSON: {error}") from None
        return answer

    def _count_crash(self, slot: _Slot, model: LoadedModel | None) -> None:
        """The process of `model` is gone (None: it ended while loading); several callers may notice."""
        if slot.model is not model:
            return
        slot.model = None
        slot.crashes.append(time.monotonic())
        self._crashed(slot.version)
        name = _name(slot.version)
        if slot.quarantined:
            _log.error("%s ended its process again: it is not asked for %g s", name, QUARANTINE_SECONDS)
        else:
            _log.error("%s ended the process it computes in", name)

    def _count_failure(self, slot: _Slot, deadline: float) -> None:
        slot.breaker.failure()
        if slot.breaker.is_open and slot.answered is not None:
            with suppress(ModelFailure):
                self._probe(slot, deadline)

    def _probe(self, slot: _Slot, deadline: float) -> None:
        """Close the breaker if the model answers what it answered before. Raises ModelFailure(BREAKER)."""
        try:
            self._ask(slot, self._loaded(slot, deadline), slot.answered, deadline)
        except Exception as error:
            slot.breaker.failure()
            raise ModelFailure(Cause.BREAKER, f"{_name(slot.version)} failed repeatedly") from error
        slot.breaker.success()

    def facts(self) -> dict[str, list[str]]:
        """Versions by state, for /readyz; `held_back` are those whose breaker is open."""
        self._settle_finished()
        slots = list(self._slots.values())
        return {
            "loaded": sorted(_name(slot.version) for slot in slots if slot.model is not None),
            "not_loaded": sorted(_name(slot.version) for slot in slots if slot.model is None),
            "quarantined": sorted(_name(slot.version) for slot in slots if slot.quarantined),
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
            if version.format not in self._loaders:
                raise ModelFailure(
                    Cause.LOAD, f"{_name(version)} has format {version.format}, which nothing here loads"
                )
            slot = self._slots[version.digest] = _Slot(version)
        return slot

    def _begin(self, slot: _Slot) -> bool:
        """Begin to load what is not loaded, or has ended meanwhile."""
        if slot.model is not None and slot.model.ended():
            self._count_crash(slot, slot.model)
        wait = slot.quarantined or time.monotonic() - slot.failed_at < RELOAD_SECONDS
        if slot.model is not None or slot.loading is not None or wait:
            return False
        loader, version = self._loaders[slot.version.format], slot.version
        slot.loading = self._calls.start(lambda: loader.load(version))
        return True

    def _loaded(self, slot: _Slot, deadline: float) -> LoadedModel:
        self._begin(slot)
        if slot.model is not None:
            return slot.model
        if slot.quarantined:
            raise ModelFailure(Cause.QUARANTINED, f"{_name(slot.version)} ended its process repeatedly")
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
            if failure.cause is Cause.CRASHED:
                self._count_crash(slot, None)
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
