"""The admin page (orchestrator.md §2.1, 3)."""
import re

import pytest

from harness.browser import Browser, program
from harness.client import wait_until

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("path,kind", [("/", "text/html"), ("/favicon.svg", "image/svg+xml")])
def test_page_is_served_without_a_key(service, path, kind):
    answer = service.get(path, key=None)
    assert answer.status == 200 and answer.header("Content-Type").startswith(kind) and answer.body


def test_everything_the_page_names_is_there(service):
    page = service.get("/", key=None).text
    names = set(re.findall(r'(?:src|href)="(/?(?:_app/|favicon)[^"]+)"', page))
    assert names, "the page uses no script or style"
    for name in names:
        assert service.get("/" + name.lstrip("/"), key=None).status == 200, name


def test_page_cannot_be_framed_or_made_to_load_from_elsewhere(service):
    page = service.get("/", key=None)
    assert not re.search(r'(?:src|href)="https?://', page.text)
    assert "default-src" in (page.header("Content-Security-Policy") or "")


@pytest.mark.parametrize("path", ["/_app/no-such-file", "/_app/../api/v1/policies", "/_app/%2e%2e/%2e%2e/etc/passwd", "/_app/"])
def test_unknown_page_files_are_404_and_never_proxied(service, engine, path):
    before = engine.containers()
    answer = service.get(path, user="nobody-starts-this")
    assert answer.status == 404
    assert engine.containers() == before


@pytest.mark.parametrize("path", ["/", "/favicon.svg", "/_app/app.js"])
def test_page_that_is_switched_off(make_service, engine, path):
    service = make_service(ENABLE_UI="false")
    before = engine.containers()
    assert service.get(path, user="nobody-starts-this").status == 404
    assert engine.containers() == before


# --- used by a person ------------------------------------------------------------------------------------------------

@pytest.fixture
def page(service, tmp_path):
    """The page in a browser, with the key entered."""
    browser = Browser(tmp_path)
    try:
        browser.open(f"http://127.0.0.1:{service.port}/")
        browser.wait("!document.getElementById('key-form').hidden")
        yield browser
        assert not browser.problems, browser.problems
    finally:
        browser.close()


def enter_key(page, key):
    page.fill("#key", key)
    page.run("document.getElementById('key-form').requestSubmit()")


needs_browser = pytest.mark.skipif(not program(), reason="needs Chromium")


@needs_browser
def test_wrong_key_is_refused_and_the_right_one_shows_the_status(page, service):
    enter_key(page, "wrong")
    page.wait("document.getElementById('notice').innerText.includes('Invalid')")
    assert page.run("document.getElementById('pages').hidden")
    enter_key(page, service.key)
    page.wait("!document.getElementById('pages').hidden")
    assert "docker" in page.text("#status") and "open-terminal:local" in page.text("#status")


@needs_browser
def test_terminals_are_listed_and_stopped(page, service, engine, prefix):
    """A user id that looks like markup is shown as it is."""
    policy, user = prefix + "p", "<img src=x onerror=document.title='broken'>"
    service.put_policy(policy, {})
    assert service.get(f"/p/{policy}/files/cwd", user=user).status == 200
    enter_key(page, service.key)
    page.wait("document.querySelector('#terminal-rows tr') !== null")
    page.fill("#terminal-filter", policy)
    page.wait(f"document.querySelectorAll('#terminal-rows tr').length === 1 && document.querySelector('#terminal-rows').innerText.includes('{policy}')")
    assert user in page.text("#terminal-rows") and page.run("document.title") != "broken"
    assert page.run("document.querySelector('#terminal-rows img')") is None
    page.run("[...document.querySelectorAll('#terminal-rows button')].find((b) => b.textContent.includes('Stop')).click()")
    page.wait("document.getElementById('confirm').open")
    page.click("#confirm-yes")
    wait_until(lambda: not [row for row in engine.containers() if row[2] == policy], 20, what="the stop")


@needs_browser
def test_policy_is_made_changed_and_deleted(page, service, prefix):
    policy = prefix + "p"
    enter_key(page, service.key)
    page.wait("!document.getElementById('pages').hidden")
    page.click("#policy-new")
    page.fill("#editor-id", policy)
    page.fill("#editor-text", '{"cpu_limit": "many"}')
    page.run("document.getElementById('editor-form').requestSubmit()")
    page.wait("document.getElementById('editor-problems').innerText.includes(\"Invalid cpu_limit 'many'\")")
    page.fill("#editor-text", '{"cpu_limit": "1"}')
    page.run("document.getElementById('editor-form').requestSubmit()")
    page.wait(f"document.getElementById('policy-rows').innerText.includes('{policy}')")
    assert service.get(f"/api/v1/policies/{policy}").json()["data"] == {"cpu_limit": "1"}
    page.run(f"[...document.querySelectorAll('#policy-rows tr')].find((r) => r.innerText.includes('{policy}'))"
             ".querySelector('button:last-child').click()")
    page.wait("document.getElementById('confirm').open")
    page.click("#confirm-yes")
    wait_until(lambda: service.get(f"/api/v1/policies/{policy}").status == 404, 10)
