"""The console's Flask application: routes from the tables of operations and pages, errors in both forms."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson
from flask import Flask, Request, Response, g, redirect, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from switchpoint.experiment.errors import BadInput, SwitchpointError
from switchpoint.router.console import api
from switchpoint.router.console.access import Gate, Role, actor, needs
from switchpoint.router.console.live import changes, freshness
from switchpoint.router.console.operation import FORMS, Call, Operation, given
from switchpoint.router.console.pages import PAGES, Page
from switchpoint.router.console.project import Project
from switchpoint.router.console.site import assets, page, templates
from switchpoint.router.console.views.events import arrivals
from switchpoint.router.console.views.files import MAX_FILE_BYTES, files_folder, request_class
from switchpoint.router.http import problem

MAX_FORM_BYTES = 1_000_000
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; frame-src 'self'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # no-referrer would hide from us, too, that a form comes from our own page: its Origin would be null
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Console:
    """What the application is made of."""

    project: Project
    gate: Gate


def create_app(console: Console) -> Flask:
    """The WSGI application."""
    app = Flask(__name__, static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_FORM_BYTES
    app.request_class = request_class(files_folder(console.project.data, console.project.name))

    @app.before_request
    def roomy() -> None:  # before the gate, which reads a form's token
        if request.path == f"{api.PREFIX}/files":
            request.max_content_length = MAX_FILE_BYTES

    console.gate.install(app)
    app.extensions["gate"] = console.gate
    for operation in api.OPERATIONS:
        _mount(app, console, operation)
    for shown in PAGES:
        _mount_page(app, console, shown)
    templates().globals["navigation"] = [shown for shown in PAGES if shown.menu]
    _session_routes(app, console)
    _report_pages(app, console)
    _documents(app)
    _errors(app)

    @app.after_request
    def secured(response: Response) -> Response:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return app


def _mount(app: Flask, console: Console, operation: Operation) -> None:
    """One operation as a route: JSON to programs, and back to a page after a form."""

    def view(**path: str) -> AnyResponse:
        call = Call(project=console.project, actor=actor(), path=path, given=given(operation, request))
        if not operation.changes:
            return _json(operation.run(call))
        before = call.project.records.head().seq if operation.audited else 0
        answer = operation.run(call)
        if operation.audited:
            call.project.export()
        if request.mimetype not in FORMS:
            return _json(answer)
        return redirect(_after(operation, call, answer, before), code=303)

    rule = api.PREFIX + operation.path.replace("{", "<").replace("}", ">")
    app.add_url_rule(rule, f"api_{operation.name}", needs(operation.role)(view), methods=[operation.method])


def _after(operation: Operation, call: Call, answer: Any, before: int) -> str:
    """The page that follows a form, and says what was done: what this caller wrote behind entry `before`."""
    named = answer if isinstance(answer, dict) else {}
    back = operation.back.format_map(
        {name: quote(str(value), safe="") for name, value in (named | dict(call.path)).items()}
    )
    if not operation.audited:
        return back
    done = [entry.seq for entry in call.project.records.audit(before) if entry.actor == call.actor]
    return f"{back}?done={done[-1]}" if done else back


def _mount_page(app: Flask, console: Console, shown: Page) -> None:
    def view(**path: str) -> AnyResponse:
        asked = request.form if request.method == "POST" else request.args
        content = shown.content(console.project, path, asked)
        return page(shown.template, request, {"freshness": freshness(console.project), **content})

    rule = shown.path.replace("{", "<").replace("}", ">")
    methods = ["GET", "POST"] if shown.posts else ["GET"]
    app.add_url_rule(rule, f"page_{shown.name}", needs(shown.role)(view), methods=methods)


def _session_routes(app: Flask, console: Console) -> None:
    gate = console.gate

    @app.get("/login")
    @needs("public")
    def login() -> AnyResponse:
        return redirect("/") if g.session else page("login.html.j2", request, {"problem": None, "name": ""})

    @app.post("/login")
    @needs("public")
    def log_in() -> AnyResponse:
        name, password = request.form.get("name", ""), request.form.get("password", "")
        try:
            token = gate.log_in(name, password, request.remote_addr or "")
        except BadInput as error:
            status = problem.status_of(error)
            return page("login.html.j2", request, {"problem": str(error), "name": name}, status=status)
        return gate.remember(redirect("/", code=303), token)

    @app.get("/login/<token>")
    @needs("public")
    def follow(token: str) -> AnyResponse:
        return gate.remember(redirect("/", code=303), gate.follow_link(token))

    @app.post("/logout")
    @needs(Role.VIEWER)
    def log_out() -> AnyResponse:
        return gate.log_out(redirect("/login", code=303))


def _report_pages(app: Flask, console: Console) -> None:
    """What no template makes: the stream of changes, and reports of before as whole pages."""

    @app.get("/live")
    @needs(Role.VIEWER)
    def live() -> AnyResponse:
        headers = {"X-Accel-Buffering": "no"}
        also = arrivals(console.project) if "events" in request.args else None
        stream = changes(console.project.board, also=also)
        return Response(stream, content_type="text/event-stream", headers=headers)

    @app.get("/reports/<digest>/page")
    @needs(Role.VIEWER)
    def kept(digest: str) -> AnyResponse:
        html, _ = console.project.board.report(digest)
        # the page carries a policy of its own; it is shown in a frame of ours, as a stranger
        policy = "sandbox allow-scripts; frame-ancestors 'self'"
        headers = {"Content-Security-Policy": policy, "X-Frame-Options": "SAMEORIGIN"}
        return Response(html, content_type="text/html; charset=utf-8", headers=headers)


def _documents(app: Flask) -> None:
    """What is the same for everybody: style sheets, scripts, health, the API's description."""
    files = assets()

    @app.get("/static/<path:name>")
    @needs("public")
    def static(name: str) -> AnyResponse:
        asset = files.get(name)
        if asset is None:
            return Response(status=404)
        headers = {
            "ETag": asset.etag,
            "Cache-Control": "max-age=31536000, immutable" if "v" in request.args else "no-cache",
        }
        if asset.etag in (request.headers.get("If-None-Match") or ""):
            return Response(status=304, headers=headers)
        return Response(asset.content(), content_type=asset.content_type, headers=headers)

    @app.get("/healthz")
    @needs("public")
    def health() -> AnyResponse:
        return _json({"status": "ok"})

    description = orjson.dumps(api.document())

    @app.get(f"{api.PREFIX}/openapi.json")
    @needs("public")
    def described() -> AnyResponse:
        return Response(description, content_type="application/json")


def _errors(app: Flask) -> None:
    @app.errorhandler(SwitchpointError)
    def expected(error: SwitchpointError) -> AnyResponse:
        status, body = problem.of_error(error)
        return _failed(request, status, body, error)

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> AnyResponse:
        status = error.code or 500
        said = {
            404: "there is no such page",
            405: "this route has other methods",
            413: f"the body is too large: it may have {(request.max_content_length or 0) / 1e6:g} MB",
        }
        detail = said.get(status, error.description or error.name)
        code = {404: "unknown_route", 405: "method_not_allowed", 413: "too_large"}.get(status, "http_error")
        body = orjson.dumps(problem.document(status, code, detail))
        response = _failed(request, status, body, BadInput(detail))
        response.headers.extend({k: v for k, v in error.get_headers() if k.lower() == "allow"})
        return response

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> AnyResponse:
        _log.error("unexpected error", exc_info=error)
        detail = "an unexpected error; the console's log has it"
        body = orjson.dumps(problem.document(500, "internal", detail))
        return _failed(request, 500, body, BadInput(detail))


def _failed(asked: Request, status: int, body: bytes, error: SwitchpointError) -> AnyResponse:
    """An error as a page for people, as problem+json for programs; who is logged out is sent to log in."""
    if asked.path.startswith(api.PREFIX) and asked.mimetype not in FORMS:
        return Response(body, status=status, content_type=problem.CONTENT_TYPE)
    if status == 401 and asked.method == "GET":
        return redirect("/login", code=303)
    title = problem.TITLES.get(status, "Something failed")
    return page("problem.html.j2", asked, {"title": title, "error": error}, status=status)


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), content_type="application/json")
