"""model register | list | show: the registry."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from switchpoint.experiment.errors import BadInput
from switchpoint.router.cli.context import Context, json_option, now_ms, pass_context, print_json

if TYPE_CHECKING:
    from switchpoint.experiment.definition.types import ModelRef
    from switchpoint.experiment.registry.champion import Champion
    from switchpoint.experiment.registry.model import Content, Lineage, ModelVersion
    from switchpoint.router.models.model import ModelFailure


@click.group()
def model() -> None:
    """Register, list and show model versions."""


@model.command()
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--url", help="An HTTP upstream instead of a file.")
@click.option("--identity", help="What the upstream declares itself to be (image digest, build number).")
@click.option("--parent", metavar="NAME@VERSION", help="The version it was made from.")
@click.option("--relation", type=click.Choice(["retrain", "finetune", "recalibrate", "import"]))
@click.option(
    "--param", "parameters", multiple=True, metavar="NAME=VALUE", help="A training parameter; repeatable."
)
@click.option("--notes", help="Anything worth remembering.")
@json_option
@pass_context
def register(  # noqa: PLR0913, PLR0917 - one parameter per option
    context: Context,
    name: str,
    file: Path | None,
    url: str | None,
    identity: str | None,
    parent: str | None,
    relation: str | None,
    parameters: tuple[str, ...],
    notes: str | None,
    *,
    as_json: bool,
) -> None:
    """Register FILE (a .skops model) or an HTTP upstream as the next version of NAME.

    FILE is first loaded and asked for predictions in a process of its own, as serving will, and refused if
    that fails, crashes or does not end (SWITCHPOINT_MODEL_PROFILES names the allowed types). The same content
    again answers the version it already is.

    \b
    Examples:
      switchpoint model register ranker ranker.skops --parent ranker@1 --relation retrain
      switchpoint model register ranker --url https://models.example.com/rank --identity build-77
    """
    content = _content(context, name, file, url, identity)
    version = context.catalog.register_model(
        name, content, lineage=_lineage(parent, relation, parameters, notes), at=now_ms(), actor=context.actor
    )
    if as_json:
        print_json(_document(version))
        return
    click.echo(f"{version.ref}: {version.format.value}, {version.digest}")


@model.command("list")
@click.argument("name", required=False)
@json_option
@pass_context
def list_(context: Context, name: str | None, *, as_json: bool) -> None:
    """List registered versions, of NAME or of all models, with the champion of each.

    \b
    Example:
      switchpoint model list ranker
    """
    versions = context.catalog.models(name)
    champions = {c.model: c for c in context.catalog.champions()}
    crowned = {v.ref: _crowned(v, champions.get(v.name)) for v in versions}
    if as_json:
        print_json([{**_document(v), "champion_of": crowned[v.ref]} for v in versions])
        return
    from switchpoint.router.cli.render import show_table

    if not versions:
        click.echo("no models yet; `switchpoint model register NAME FILE` adds one")
        return
    show_table(
        ("model", "format", "state", "champion of", "registered", "digest"),
        [
            (
                str(v.ref), v.format.value, v.state.value, ", ".join(crowned[v.ref]) or "–",
                _when(v.created_at), v.digest[:19],
            )
            for v in versions
        ],
        labels=6,
    )  # fmt: skip


@model.command()
@click.argument("ref", metavar="NAME@VERSION")
@json_option
@pass_context
def show(context: Context, ref: str, *, as_json: bool) -> None:
    """Show one version with its lineage, and the champion history of its model.

    \b
    Example:
      switchpoint model show ranker@2
    """
    from switchpoint.experiment.language.document import parse_ref, to_body

    version = context.catalog.model(parse_ref(ref))
    champion = context.catalog.champion(version.name)
    document = {**_document(version), "champion": to_body(champion)}
    if as_json:
        print_json(document)
        return
    from switchpoint.router.cli.render import show_table

    shown = {**_document(version), "created_at": _iso(version.created_at)}
    show_table(("field", "value"), _flat(shown), labels=2)
    for change in champion.history:
        place = ", ".join(change.segments) or "everywhere"
        why = change.grounds.override or change.grounds.reason
        click.echo(
            f"{_when(change.grounds.at)}  {change.move.value} in {place} by {change.grounds.actor}: {why}"
        )


def _content(
    context: Context, name: str, file: Path | None, url: str | None, identity: str | None
) -> Content:
    from switchpoint.experiment.registry.model import Content, Format
    from switchpoint.experiment.store.artifacts import read_regular

    if (file is None) == (url is None):
        raise click.UsageError("give a FILE or --url, not both")
    if file is None:
        return Content(format=Format.HTTP, upstream=_upstream(str(url)), identity=identity)
    if file.suffix != ".skops":
        raise BadInput(
            f"{file} is not a skops file",
            field="FILE",
            value=str(file),
            fix="save the model with skops.io.dump(model, path)",
        )
    try:
        content = read_regular(file)
    except OSError as error:
        raise BadInput(
            f"{file} cannot be read: {error.strerror}",
            field="FILE",
            value=str(file),
            fix="give a .skops file",
        ) from error
    _check_loads(content, name, file)
    return Content(format=Format.SKOPS, artifact={file.name: context.artifacts.put_bytes(content)})


def _check_loads(content: bytes, name: str, file: Path) -> None:
    """Load the model and let it predict, as serving will, in a process of its own; raises BadInput."""
    from tempfile import TemporaryDirectory

    from switchpoint.experiment.registry.model import Format, ModelVersion
    from switchpoint.experiment.store.artifacts import Artifacts
    from switchpoint.router.models.fork_server import ForkServer
    from switchpoint.router.models.isolated import IsolatedLoader
    from switchpoint.router.models.model import ModelFailure
    from switchpoint.router.models.trust import DEFAULT_PROFILES

    named = os.environ.get("SWITCHPOINT_MODEL_PROFILES")
    profiles = DEFAULT_PROFILES if named is None else tuple(filter(None, named.split(",")))
    with closing(ForkServer()) as fork_server, TemporaryDirectory(prefix="switchpoint-model-") as folder:
        try:
            loader = IsolatedLoader(Path(folder), profiles, fork_server=fork_server)
        except KeyError as error:
            raise BadInput(
                str(error.args[0]), field="SWITCHPOINT_MODEL_PROFILES", value=named, fix="use known ones"
            ) from error
        version = ModelVersion(
            name=name, version=0, digest="", format=Format.SKOPS, created_at=0, created_by="",
            artifact={file.name: Artifacts(Path(folder)).put_bytes(content)},
        )  # fmt: skip
        try:
            loader.load(version)
        except ModelFailure as error:
            raise _not_loadable(error, version.ref, file) from error


def _not_loadable(error: ModelFailure, ref: ModelRef, file: Path) -> BadInput:
    said, _, fix = error.message.replace(str(ref), "it").partition(" Fix: ")
    return BadInput(
        f"{file} cannot be loaded: {said}",
        field="FILE",
        value=str(file),
        fix=fix or "save the model with skops.io.dump(model, path)",
    )


def _upstream(url: str) -> str:
    """An address that an upstream can have; the registry checks the rest."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise BadInput(
            f"{url!r} is not an HTTP address", field="--url", value=url, fix="give https://host/path"
        )
    return url


def _lineage(
    parent: str | None, relation: str | None, parameters: tuple[str, ...], notes: str | None
) -> Lineage:
    from switchpoint.experiment.language.document import parse_ref
    from switchpoint.experiment.registry.model import Lineage, Relation

    pairs = [text.partition("=") for text in parameters]
    return Lineage(
        parent=parse_ref(parent) if parent else None,
        relation=Relation(relation) if relation else None,
        parameters={name: value for name, _, value in pairs},
        notes=notes,
    )


def _document(version: ModelVersion) -> dict[str, object]:
    from switchpoint.experiment.language.document import to_body

    return {"ref": str(version.ref), **to_body(version)}


def _crowned(version: ModelVersion, champion: Champion | None) -> list[str]:
    """Where this version is champion: segments, and `default` for everybody else."""
    if champion is None:
        return []
    places = [rule.segment for rule in champion.assignments if rule.version == version.version]
    return [*places, *(["default"] if champion.default == version.version else [])]


def _flat(document: object) -> list[tuple[str, str]]:
    from switchpoint.experiment.registry.diff import flatten

    return [(path, text) for path, text in flatten(document).items() if text not in ("", "None", "{}", "[]")]


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")


def _when(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M")
