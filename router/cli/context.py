"""What a command works with: the data directory, and the stores opened when first asked for."""

from __future__ import annotations

import getpass
import json
import logging
import os
import time
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from switchpoint.experiment.errors import StoreReverted, StoreUnavailable, SwitchpointError

if TYPE_CHECKING:  # opened lazily: `--help` must not wait for Redis or Arrow libraries
    from switchpoint.experiment.registry.catalog import Catalog
    from switchpoint.experiment.store.artifacts import Artifacts
    from switchpoint.experiment.store.known import StoreMemory
    from switchpoint.experiment.store.redis.ledger import RedisLedger
    from switchpoint.experiment.store.redis.records import RedisRecords


class Context:
    """One per invocation. Stores open on first use and close with the command."""

    def __init__(self, data: Path, project: str, *, debug: bool, redis_url: str | None = None) -> None:
        """Use `create`; with `redis_url` of a server that somebody else keeps running."""
        self.data, self.project, self.debug, self._given_url = data, project, debug, redis_url
        self._stack = ExitStack()

    @classmethod
    def create(cls, *, data: Path | None, project: str, debug: bool) -> Context:
        """Find the data directory and set up logging."""
        from switchpoint.experiment.store.embedded.server import data_directory

        logging.basicConfig(
            level=logging.DEBUG if debug else logging.ERROR, format="%(levelname)s %(name)s: %(message)s"
        )
        return cls(data_directory(data), project, debug=debug)

    def close(self) -> None:
        """Export new records to the journal, then close what was opened, last first.

        Ends a server that was started for this command. A journal that cannot be written is reported and
        changes nothing: the records are the truth, the next command exports again.
        """
        try:
            if "records" in self.__dict__ and not self.__dict__.get("contradiction"):
                self._export()
        finally:
            self._stack.close()

    def _export(self) -> None:
        from switchpoint.experiment.store.journal import export, journal_path

        try:
            export(self.records, journal_path(self.data, self.project))
            if "contradiction" in self.__dict__:
                self.memory.remember(self.records)
        except StoreUnavailable:
            return  # the command itself has said so, and the next one exports
        except (SwitchpointError, OSError) as error:
            click.echo(f"warning: the journal was not written: {error}", err=True)

    @cached_property
    def redis_url(self) -> str:
        """The server: configured, running on the data directory, or started for this command."""
        from switchpoint.experiment.store.embedded.server import ensure

        if self._given_url:
            return self._given_url
        return self._stack.enter_context(ensure(self.data))

    @cached_property
    def records(self) -> RedisRecords:
        """The documents of the project."""
        from switchpoint.experiment.store.redis.records import RedisRecords

        return RedisRecords(self.client, self.project)

    @cached_property
    def memory(self) -> StoreMemory:
        """What the data directory knows of the store."""
        from switchpoint.experiment.store.known import StoreMemory

        return StoreMemory(self.data, self.project)

    @cached_property
    def contradiction(self) -> str | None:
        """Why the store cannot be the one that the data directory knows; None when it can."""
        return self.memory.contradiction(self.records)

    @cached_property
    def catalog(self) -> Catalog:
        """Experiments, models, champions and decisions of the project; refused for a store that went back."""
        from switchpoint.experiment.registry.catalog import Catalog

        if self.contradiction is not None:
            raise StoreReverted(self.contradiction)
        return Catalog(self.records)

    @cached_property
    def ledger(self) -> RedisLedger:
        """Events and moments of the project."""
        from switchpoint.experiment.store.redis.ledger import RedisLedger

        return RedisLedger(self.client, self.project)

    @cached_property
    def artifacts(self) -> Artifacts:
        """Model files by digest."""
        from switchpoint.experiment.store.artifacts import Artifacts

        return Artifacts(self.data / "models")

    @cached_property
    def client(self) -> Any:
        """A Redis client; long answers (a whole ledger) get a minute."""
        from switchpoint.experiment.store.redis.connection import connect

        return self._stack.enter_context(connect(self.redis_url, timeout=60.0))

    @property
    def actor(self) -> str:
        """Who is acting, for the audit log: SWITCHPOINT_ACTOR, else the login name."""
        named = os.environ.get("SWITCHPOINT_ACTOR")
        if named:
            return named
        try:
            return getpass.getuser()
        except (KeyError, OSError):  # a container whose uid has no name
            return f"uid {os.getuid()}"


def now_ms() -> int:
    """The wall clock in milliseconds UTC."""
    return time.time_ns() // 1_000_000


def print_json(document: object) -> None:
    """Write one JSON document to stdout, readable and stable."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, sort_keys=False, allow_nan=False))


pass_context = click.make_pass_decorator(Context)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
