"""The admin page (orchestrator.md §2.1, 3)."""
import re

import pytest

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
