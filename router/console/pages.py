"""The pages: where each is, who may see it, and what of the board and the records it shows.

A page computes nothing: what it says was made by the worker, or is on record as it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from werkzeug.datastructures import MultiDict

from switchpoint.analysis.report.page import Page as ReportPage
from switchpoint.analysis.report.page import page_of
from switchpoint.experiment.definition.state import Status
from switchpoint.experiment.errors import NotFound, PlatformError
from switchpoint.experiment.language.document import from_body
from switchpoint.experiment.language.experiment import to_document
from switchpoint.experiment.store.board import ALL, MODELS, PAGE, SUMMARY, Kept
from switchpoint.router.console.access import Role
from switchpoint.router.console.project import Project
from switchpoint.router.console.views import audit, confirm, design, events, files, unit, users, wizard
from switchpoint.router.console.views.experiments import compared, every_model

Content = dict[str, Any]
ROWS = 100
"""Experiments on one page of the home page."""

_SORTS = {"attention": "what needs attention", "key": "key", "status": "status", "model": "model"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page; `content` gets the project, what the path names, and the query; `menu` is its name there.

    `posts`: it takes forms that are too long for an address, too; they change nothing.
    """

    name: str
    path: str
    template: str
    role: Role = Role.VIEWER
    menu: str = ""
    posts: bool = False
    content: Callable[[Project, Mapping[str, str], MultiDict[str, str]], Content]


def home(project: Project, _path: Mapping[str, str], query: Mapping[str, str]) -> Content:
    """Every experiment with what to do now, and the model lines."""
    kept = project.board.all(SUMMARY)
    counts = {status.value: sum(_status(one) == status for one in kept) for status in Status}
    wanted, words = query.get("status", ""), query.get("q", "").split()
    sort = query.get("sort", "attention")
    sort = sort if sort in _SORTS else "attention"
    rows = [one for one in kept if (not wanted or _status(one) == wanted) and _matches(one, words)]
    rows.sort(key=lambda one: _order(one, sort))
    pages = max(1, -(-len(rows) // ROWS))
    number = min(max(1, _whole(query.get("page", "1"))), pages)
    return {
        "rows": rows[(number - 1) * ROWS : number * ROWS],
        "total": len(rows),
        "all": len(kept),
        "counts": counts,
        "number": number,
        "pages": pages,
        "sorts": _SORTS,
        "sort": sort,
        "wanted": wanted,
        "q": query.get("q", ""),
        "models": _models(project),
    }


def experiment(project: Project, path: Mapping[str, str], query: Mapping[str, str]) -> Content:
    """One experiment: the worker's report of it, what may be done, and what was done."""
    key = path["key"]
    kept, summary = project.board.get(PAGE, key), project.board.get(SUMMARY, key)
    content: Content = {
        "key": key,
        "report": None if kept is None else from_body(ReportPage, kept.body),
        "kept": kept,
        "summary": summary,
        "reports": project.board.reports(key),
        "done": None,
    }
    try:
        catalog = project.catalog
        state = catalog.experiment(key)
        decisions = catalog.decisions(key)
        champion = catalog.champion(state.definition.model) if state.definition.model else None
    except PlatformError as error:
        if summary is None:
            raise
        return {
            **content,
            "away": str(error),
            "state": None,
            "decisions": [],
            "champion": None,
            "actions": [],
        }
    return {
        **content,
        "away": None,
        "state": state,
        "decisions": decisions[::-1],
        "definition": to_document(state.definition),
        "champion": champion,
        "actions": confirm.offered(state, decisions[-1] if decisions else None, champion),
        "done": project.entry(query.get("done")),
    }


def compare(project: Project, path: Mapping[str, str], query: Mapping[str, str]) -> Content:
    """Any two variants compared, with the correction that belongs to it: a report that is made now."""
    key = path["key"]
    state = project.catalog.experiment(key)
    names = [variant.key for variant in state.definition.variants]
    first, second = query.get("a", ""), query.get("b", "")
    report = page_of(compared(project, key, [(first, second)])) if first or second else None
    return {"key": key, "names": names, "first": first, "second": second, "report": report}


def confirmation(project: Project, path: Mapping[str, str], _query: Mapping[str, str]) -> Content:
    """What an action will do, to whom, before it is done."""
    catalog = project.catalog
    state = catalog.experiment(path["key"])
    decisions = catalog.decisions(state.key)
    champion = catalog.champion(state.definition.model) if state.definition.model else None
    asked = confirm.confirmation(
        path["action"], state, champion=champion, latest=decisions[-1] if decisions else None
    )
    return {"asked": asked, "state": state, "back": f"/experiments/{state.key}"}


def rolling_back(project: Project, path: Mapping[str, str], _query: Mapping[str, str]) -> Content:
    """What a rollback of a model will do, before it is done."""
    asked = confirm.rollback(project.catalog.champion(path["name"]))
    return {"asked": asked, "state": None, "back": f"/models/{path['name']}"}


def models(project: Project, _path: Mapping[str, str], _query: Mapping[str, str]) -> Content:
    """Every model with its champion."""
    return {"models": _models(project)}


def model(project: Project, path: Mapping[str, str], query: Mapping[str, str]) -> Content:
    """One model: versions with lineage, champions over time, experiments."""
    name = path["name"]
    shown = next((one for one in _models(project) if one["name"] == name), None)
    if shown is None:
        raise NotFound("unknown model", field="model", value=name, fix="see /models")
    tried = [one for one in project.board.all(SUMMARY) if one.body["state"]["model"] == name]
    return {"model": shown, "experiments": tried, "done": project.entry(query.get("done"))}


def kept_report(project: Project, path: Mapping[str, str], _query: Mapping[str, str]) -> Content:
    """A report as it was shown then; its page is kept whole and shown in a frame of its own."""
    _, document = project.board.report(path["digest"])
    kept = {one.digest for one in project.board.reports(document["header"]["key"])}
    return {"digest": path["digest"], "document": document, "known": path["digest"] in kept}


def tv(project: Project, _path: Mapping[str, str], query: Mapping[str, str]) -> Content:
    """What runs, as tiles to be read from afar; those that do not fit take turns."""
    live = [one for one in project.board.all(SUMMARY) if _status(one) in {Status.RUNNING, Status.PAUSED}]
    live.sort(key=lambda one: _order(one, "attention"))
    pages = max(1, -(-len(live) // TILES))
    number = _whole(query.get("page", "1")) % pages or pages
    return {
        "tiles": live[(number - 1) * TILES : number * TILES],
        "number": number,
        "pages": pages,
        "models": _models(project),
    }


TILES = 8


def _models(project: Project) -> list[Content]:
    """As they are on record; while the store is away as the worker saw them last."""
    try:
        return every_model(project.catalog)
    except PlatformError:
        kept = project.board.get(MODELS, ALL)
        return [] if kept is None else list(kept.body)


def _status(kept: Kept) -> str:
    return str(kept.body["state"]["status"])


def _matches(kept: Kept, words: list[str]) -> bool:
    state = kept.body["state"]
    text = f"{kept.key} {state['owner']} {state['model'] or ''} {state['hypothesis']}".casefold()
    return all(word.casefold() in text for word in words)


def _order(kept: Kept, sort: str) -> tuple[object, ...]:
    if sort == "attention":
        summary = kept.body["summary"]
        return (0 if kept.body["problem"] else 1, summary["attention"] if summary else 9, kept.key)
    return (kept.body["state"].get(sort) or "", kept.key) if sort != "key" else (kept.key,)


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) <= 9 else 1


PAGES: tuple[Page, ...] = (
    Page(name="home", path="/", template="home.html.j2", menu="Experiments", content=home),
    Page(name="experiment", path="/experiments/{key}", template="experiment.html.j2", content=experiment),
    Page(name="compare", path="/experiments/{key}/compare", template="compare.html.j2", content=compare),
    Page(
        name="confirm",
        path="/experiments/{key}/do/{action}",
        template="confirm.html.j2",
        role=Role.ANALYST,
        content=confirmation,
    ),
    Page(name="models", path="/models", template="models.html.j2", menu="Models", content=models),
    Page(name="model", path="/models/{name}", template="model.html.j2", content=model),
    Page(
        name="roll_back",
        path="/models/{name}/do/rollback",
        template="confirm.html.j2",
        role=Role.OPERATOR,
        content=rolling_back,
    ),
    Page(name="design", path="/design", template="design.html.j2", menu="Design", content=design.page),
    Page(
        name="wizard",
        path="/design/new",
        template="wizard.html.j2",
        role=Role.ANALYST,
        posts=True,
        content=wizard.page,
    ),
    Page(
        name="files",
        path="/file",
        template="files.html.j2",
        role=Role.ANALYST,
        menu="Bring a file",
        content=files.pages_of_all,
    ),
    Page(
        name="file", path="/file/{id}", template="file.html.j2", role=Role.ANALYST, content=files.page_of_one
    ),
    Page(name="kept_report", path="/reports/{digest}", template="kept_report.html.j2", content=kept_report),
    Page(name="events", path="/events", template="events.html.j2", menu="Events", content=events.page),
    Page(name="explain", path="/explain", template="explain.html.j2", menu="Explain", content=unit.page),
    Page(name="audit", path="/audit", template="audit.html.j2", menu="Audit", content=audit.page),
    Page(
        name="audit_entry",
        path="/audit/{number}",
        template="audit_entry.html.j2",
        content=audit.entry_page,
    ),
    Page(
        name="users",
        path="/users",
        template="users.html.j2",
        role=Role.ADMIN,
        menu="Users",
        content=users.page,
    ),
    Page(name="tv", path="/tv", template="tv.html.j2", menu="TV", content=tv),
)
