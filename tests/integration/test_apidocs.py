"""
The browser of the API's description in Chromium: it shows the running service's operations and sends them there, and
nothing leaves the machine or breaks the page's policy.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.integration.browser import Stage, in_browser_thread, open_stage


@pytest.fixture(scope="module", params=[False, True], ids=["open", "with a login"])
def stage(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A service that asks nobody, and one that wants a login."""
    with open_stage(tmp_path_factory.getbasetemp(), with_token=request.param) as opened:
        yield opened


@in_browser_thread
def test_an_operation_is_tried_out(stage: Stage) -> None:
    """Every operation is shown; sent from its form, one of them shows the answer of the running service."""
    task = stage.service.add(stage.source.url("held"), "shown-in-the-docs", priority=-3)
    with stage.page() as (page, seen):
        page.goto(stage.service.base + "/api/docs")
        described = stage.service.ask("GET", "/api/openapi.json")
        count = sum(len(methods) for methods in described["paths"].values())
        expect(page.locator(".opblock")).to_have_count(count)
        operation = page.locator("#operations-default-getTasks")
        operation.locator(".opblock-summary-control").click()
        operation.get_by_role("button", name="Try it out").click()
        operation.locator("tr[data-param-name=limit] input").fill("5")
        operation.get_by_role("button", name="Execute").click()
        answer = operation.locator(".live-responses-table")
        expect(answer.locator(".response-col_status").last).to_contain_text("200")
        expect(answer.locator("pre").first).to_contain_text(task)
        expect(operation.locator(".request-url")).to_contain_text(f"{stage.service.base}/api/tasks?")
        assert [] == seen.complaints
        foreign = [url for url in seen.requests if not url.startswith((stage.service.base + "/", "data:"))]
        assert [] == foreign
        assert any("/api/tasks?" in url and "limit=5" in url for url in seen.requests)


@in_browser_thread
def test_a_stranger_sees_no_description(stage: Stage) -> None:
    """Where one must log in, the page is no way around that."""
    with stage.browser.new_context() as context:
        answer = context.request.get(stage.service.base + "/api/docs")
        assert (401 if stage.service.token else 200) == answer.status
