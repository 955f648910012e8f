"""Every page in a real browser: accessible, nothing cut, both themes, everything by keyboard, nothing inline."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from switchpoint.experiment.definition.types import ModelRef
from switchpoint.experiment.language.experiment import digest
from switchpoint.experiment.ledger.codec import parse_event
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.registry.decision import DecisionRecord, Finding, VerdictKind
from switchpoint.experiment.store.accounts import Accounts, accounts_path
from switchpoint.experiment.store.board import Board, board_path
from switchpoint.router.cli.commands.console import console_process
from switchpoint.router.console.access import Role, new_user
from switchpoint.router.console.pages import PAGES
from switchpoint.router.serving.launch import WebProcess, free_port
from tests.router import world
from tests.router.conftest import Project
from tests.router.console.conftest import PASSWORD

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium (Debian: apt install chromium)")
AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
WIDTHS = (360, 768, 1280, 2560)
KEY = f"/experiments/{world.EXPERIMENT}"


@dataclass
class Site:
    """A console that runs, and how to log in."""

    process: WebProcess
    accounts: Accounts
    board: Board
    project: Project

    def link(self, role: Role) -> str:
        """An address that logs in once."""
        token = self.accounts.make_link(role.value, role.value, until=world.now_ms() + 600_000)
        return f"{self.process.url}/login/{token}"


@pytest.fixture(scope="module")
def site(shared_project: Project) -> Iterator[Site]:
    environ = {
        "SWITCHPOINT_REDIS_URL": shared_project.server.url, "SWITCHPOINT_DATA": str(shared_project.data),
        "SWITCHPOINT_PROJECT": "default",
    }  # fmt: skip
    with console_process(environ, host="127.0.0.1", port=free_port()) as process:
        files = shared_project.data, "default"
        yield Site(process, Accounts(accounts_path(*files)), Board(board_path(*files)), shared_project)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Tab:
    """A page of somebody who is logged in; what the browser refused or could not do is kept."""

    page: Page
    base: str
    faults: list[str]

    def open(self, path: str) -> Page:
        self.page.goto(self.base + path)
        return self.page


@pytest.fixture
def tab(site: Site, chromium: Browser) -> Iterator[Tab]:
    context = chromium.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    opened = Tab(page, site.process.url, [])
    page.on("console", lambda said: opened.faults.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: opened.faults.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith((site.process.url, "data:", "blob:"))
            else opened.faults.append(f"another host: {asked.url}"))  # fmt: skip
    page.goto(site.link(Role.ADMIN))
    yield opened
    context.close()
    assert opened.faults == []


def addresses() -> list[str]:
    named = {"key": world.EXPERIMENT, "name": "ranker", "action": "override", "number": "4"}
    made = ("{digest}", "{id}")  # there are none yet
    return [shown.path.format_map(named) for shown in PAGES if not any(name in shown.path for name in made)]


@pytest.mark.parametrize("path", [*addresses(), f"{KEY}/do/ramp", "/experiments/none"])
def test_a_page_is_accessible_and_nothing_is_cut(tab: Tab, path: str) -> None:
    page = tab.open(path)
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.evaluate(AXE)
        found = page.evaluate("axe.run()")
        serious = [v for v in found["violations"] if v["impact"] in {"serious", "critical"}]
        assert [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in serious] == [], theme
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    tab.faults[:] = [fault for fault in tab.faults if path != "/experiments/none" or "404" not in fault]


def test_an_event_appears_as_it_arrives_and_what_is_typed_stays(tab: Tab, site: Site) -> None:
    page = tab.open("/events")
    page.fill("[name=unit]", "somebody")
    raw = {"id": "as-it-arrives", "type": "click", "unit": "u", "at": world.now_ms()}
    site.project.ledger.record([parse_event(raw, now=None)], site.project.catalog.plan())
    page.wait_for_selector("#newest >> text=as-it-arrives")
    assert page.input_value("[name=unit]") == "somebody"
    page.click("text=Send the test event")
    page.wait_for_selector("text=It is on the log")
    page.wait_for_selector("#newest >> text=somebody")


def test_an_experiment_is_paused_and_resumed_by_keyboard_alone(tab: Tab, site: Site) -> None:
    page = tab.open(KEY)
    for label, status in (("Pause", "paused"), ("Resume", "running")):
        _to(page, label)
        page.keyboard.press("Enter")
        page.wait_for_url("**/do/*")
        _to(page, "Reason", typed="by keyboard")
        _to(page, label)
        page.keyboard.press("Enter")
        page.wait_for_url(f"**{KEY}?done=*")
        assert site.project.catalog.experiment(world.EXPERIMENT).status == status
        assert "Done" in page.inner_text("[role=status].done")


def test_a_promotion_by_keyboard_alone_and_its_rollback(tab: Tab, site: Site) -> None:
    """Nothing is chosen before; the button is there once a decision says so, and what it does is said before."""
    catalog = site.project.catalog
    page = tab.open(KEY)
    assert page.locator("text=Promote against the rule").count()
    decided(catalog)
    page.reload()
    _to(page, "Promote")
    page.keyboard.press("Enter")
    page.wait_for_url("**/do/promote")
    assert "The latest decision, home-ranker/1 by test, says: promote treatment." in page.inner_text("main")
    assert page.locator(":checked").count() == 0
    _to(page, "control")
    page.keyboard.press("ArrowDown")  # arrows choose among radio buttons
    _to(page, "Promote")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{KEY}?done=*")
    assert catalog.champion("ranker").incumbents.version_for("us") == 2
    assert page.locator("a:text-is('Promote')").count() == 0  # it changes nothing any more
    page = tab.open("/models/ranker")
    assert "ranker@2 in us" in page.inner_text("#champion")
    page.click("text=Roll back")
    page.click("button:text('Roll back')")
    page.wait_for_url("**/models/ranker?done=*")
    assert catalog.champion("ranker").incumbents.version_for("us") == 1


def test_who_is_too_late_is_told_and_nothing_is_done(tab: Tab, site: Site) -> None:
    catalog = site.project.catalog
    page = tab.open(f"{KEY}/do/override")
    page.check("text=treatment: ranker@2")
    page.fill("textarea", "model 1 is withdrawn")
    for version in (2, 1):  # somebody else changes the champion, and changes it again
        catalog.crown(ModelRef("ranker", version), reason="somebody else", at=world.now_ms(), actor="else")
    catalog.crown(ModelRef("ranker", 2), reason="somebody else", at=world.now_ms(), actor="else")
    before = catalog.revision()
    page.click("button:text('Promote against the rule')")
    page.wait_for_selector("text=Nothing was changed")
    assert catalog.revision() == before
    tab.faults[:] = [fault for fault in tab.faults if "409" not in fault]
    catalog.rollback("ranker", at=world.now_ms(), actor="else")


def test_a_user_logs_in_may_look_only_and_logs_out(tab: Tab, site: Site, chromium: Browser) -> None:
    site.accounts.put_user(new_user("eve", "viewer", PASSWORD, at=0))
    page = chromium.new_context().new_page()
    page.goto(site.process.url + KEY)
    page.fill("[name=name]", "eve")
    page.fill("[name=password]", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=name or password is wrong")
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=eve (viewer)")
    page.goto(site.process.url + KEY)
    assert "Your role may look, not act." in page.inner_text("#actions")
    page.goto(f"{site.process.url}{KEY}/do/pause")
    page.wait_for_selector("text=You may not do that")
    page.click("text=Log out")
    page.wait_for_url("**/login")
    page.context.close()


def decided(catalog: Catalog) -> None:
    """A decision on record that says so."""
    state = catalog.experiment(world.EXPERIMENT)
    assert state.epoch is not None
    catalog.record_decision(
        DecisionRecord(
            experiment=state.key,
            number=0,
            definition_digest=digest(state.definition),
            rule_digest=state.rule_digest or "",
            code_version="0",
            position={},
            moments_digest="sha256:m",
            finding=Finding(kind=VerdictKind.PROMOTE, variant="treatment"),
            digests=state.epoch.digests,
            at=world.now_ms(),
            actor="test",
        )
    )


def _to(page: Page, name: str, typed: str = "") -> None:
    """Press Tab until what has this name has the focus."""
    for _ in range(200):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "(document.activeElement.labels?.[0] || document.activeElement).innerText.trim()"
        )
        if focused.startswith(name):
            page.keyboard.type(typed)
            return
    raise AssertionError(f"{name} cannot be reached by keyboard")


def test_a_page_says_that_the_console_is_gone_and_goes_on_when_it_is_back(tab: Tab, site: Site) -> None:
    with tab.page.expect_request("**/live"):
        page = tab.open(KEY)
    site.process.kill()
    page.wait_for_selector("#lost")
    assert "goes on by itself" in page.inner_text("#lost")
    site.process.start()
    page.wait_for_selector("#lost", state="detached")
    tab.faults[:] = [fault for fault in tab.faults if "ERR_" not in fault]


def test_a_page_shows_what_changed_without_being_loaded_again_and_leaves_what_is_open(
    tab: Tab, site: Site
) -> None:
    page = tab.open(KEY)
    page.evaluate("window.sameDocument = true")
    page.click("text=Frozen rule and definition >> xpath=.. >> summary")
    reason = "changed by somebody else"
    site.project.catalog.pause(world.EXPERIMENT, at=world.now_ms(), actor="else", reason=reason)
    site.board.put("worker", "nudge", {"changed": world.now_ms()}, at=world.now_ms())
    page.wait_for_selector(f"#history :text('{reason}')")
    assert page.evaluate("window.sameDocument")
    assert page.evaluate("document.querySelector('details[open] pre') !== null")
    site.project.catalog.resume(world.EXPERIMENT, at=world.now_ms(), actor="else")


def test_a_definition_is_checked_while_it_is_typed_and_applied(tab: Tab, site: Site) -> None:
    page = tab.open("/design/new")
    text = world.DEFINITION.replace(world.EXPERIMENT, "typed-ranker")
    page.fill("[name=definition]", text.replace("mde: 2%", "mde: lots"))
    page.wait_for_selector("#checked:not([inert]) >> text=decision.mde")
    page.fill("[name=definition]", text)
    assert page.evaluate("document.getElementById('checked').inert")  # what was said is of another text
    page.click("#checked:not([inert]) button")
    page.wait_for_url("**/experiments/typed-ranker?done=*")
    assert site.project.catalog.experiment("typed-ranker").status == "draft"


def test_a_file_is_brought_judged_and_shown(tab: Tab) -> None:
    page = tab.open("/file")
    table = b"variant,users,buyers\ncontrol,10000,1000\ntreatment,10000,1200\n"
    page.set_input_files("[name=file]", {"name": "test.csv", "mimeType": "text/csv", "buffer": table})
    page.click("text=Read it")
    page.wait_for_url("**/file/*")
    page.wait_for_selector("text=How it is read")  # the page goes on by itself
    spec = page.input_value("[name=spec]").replace("assignment: unknown", "assignment: randomised")
    page.fill("[name=spec]", spec)
    page.click("button >> text=Judge")
    page.wait_for_selector("iframe.kept")
    assert page.frame_locator("iframe.kept").locator("h1").inner_text()
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {iframes: false})")
    assert [v["id"] for v in found["violations"] if v["impact"] in {"serious", "critical"}] == []
    page.click("text=Delete the file")
    page.wait_for_url("**/file")
    assert "test.csv" not in page.inner_text("main")
