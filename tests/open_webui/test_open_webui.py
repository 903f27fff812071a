"""Open WebUI's own calls, end to end: its settings page, its file panel, its terminal panel."""
import time

import pytest
from websockets.exceptions import ConnectionClosed

from web import address, read_until


def test_the_connection_is_recognised_as_an_orchestrator(web, service):
    assert web.request("POST", "/api/v1/configs/terminal_servers/verify", {"url": address(service), "key": service.key}) == \
        (200, {"status": True, "type": "orchestrator"})


def test_the_settings_page_reads_and_saves_policy_and_lifecycle(web, service):
    asked = {"url": address(service), "key": service.key, "policy_id": "team"}
    policy = {"cpu_limit": "1", "memory_limit": "512Mi", "idle_timeout_minutes": 30, "env": {"TEAM": "data"}}
    lifecycle = {"reset": {"schedule": "@weekly", "timezone": "Europe/Berlin"}}
    assert web.request("POST", "/api/v1/configs/terminal_servers/policy", {**asked, "policy_data": None})[0] == 404
    assert web.request("POST", "/api/v1/configs/terminal_servers/lifecycle", {**asked, "lifecycle_data": None}) == \
        (200, {"policy_id": "team", "data": {}})
    assert web.request("POST", "/api/v1/configs/terminal_servers/policy", {**asked, "policy_data": policy})[1]["data"] == policy
    assert web.request("POST", "/api/v1/configs/terminal_servers/lifecycle", {**asked, "lifecycle_data": lifecycle})[1]["data"] == lifecycle
    assert service.get("/api/v1/policies/team").json()["data"] == policy
    assert web.request("POST", "/api/v1/configs/terminal_servers/refresh", {**asked, "only_idle": True})[0] == 200


@pytest.mark.parametrize("policy", [None, "team"])
def test_files_and_commands_reach_the_users_terminal(web, service, policy):
    if policy:
        service.put_policy(policy, {"env": {"TEAM": "data"}})
    web.connect_terminals(service, policy)
    assert web.terminal("GET", "/files/cwd")[1]["cwd"] == "/home/user"
    assert web.terminal("POST", "/files/write", {"path": "/home/user/a b.txt", "content": "hello"})[0] == 200
    assert web.terminal("GET", "/files/view?path=/home/user/a%20b.txt") == (200, b"hello")
    answer = web.terminal("POST", "/execute?wait=10", {"command": "echo [$TEAM]"})[1]
    assert answer["output"][0]["data"].strip() == ("[data]" if policy else "[]")


def shows_and_exits(web, chat):
    with web.open_panel(chat) as panel:
        panel.send(b"stty size; echo mark$((40+2))\n")
        assert b"43 101" in read_until(panel, b"mark42")
        panel.send(b"exit\n")
        started = time.monotonic()
        with pytest.raises(ConnectionClosed):
            while True:
                panel.recv(timeout=10)
        assert time.monotonic() - started < 5
    assert web.terminal("GET", "/api/terminals", chat=chat)[1] == []


@pytest.mark.parametrize("policy", [None, "team"])
def test_the_panel_works_without_a_chat_and_in_one_and_exit_closes_it(web, service, policy):
    if policy:
        service.put_policy(policy, {})
    web.connect_terminals(service, policy)
    shows_and_exits(web, None)
    shows_and_exits(web, web.new_chat())


def test_each_chat_has_a_terminal_of_its_own_where_the_connection_says_so(web, service):
    web.connect_terminals(service, per_chat=True)
    first, second = web.new_chat(), web.new_chat()
    shows_and_exits(web, first)
    shows_and_exits(web, second)
    contexts = {terminal["context_id"] for terminal in service.terminals(web.user_id)}
    assert contexts == {f"chat:{first}", f"chat:{second}"}


def test_users_come_with_their_own_token_where_the_connection_says_so(web, make_token_service):
    service = make_token_service(web.url)
    web.connect_terminals(service, auth_type="session")
    assert web.terminal("GET", "/files/cwd")[1]["cwd"] == "/home/user"
    shows_and_exits(web, web.new_chat())
