"""Recorded exchanges with the original: the same request gets the same status, body and headers.

A row is a case. Values in <…> are masks. Where we differ on purpose, DIFFERENCES says how and why."""
import json
import os
import pathlib
import re

import pytest

from harness.client import wait_until
from harness.open_webui import OpenWebUI
from harness.service import KEY, TOP, Service
from harness.terminal import Terminal

pytestmark = [pytest.mark.docker, pytest.mark.keep_terminals]

SHARED = TOP.parent / "shared" / "spec" / "examples.jsonl"
FILE = SHARED if SHARED.exists() else pathlib.Path(TOP) / "tests" / "data" / "examples.jsonl"
ROWS = [json.loads(line) for line in FILE.read_text().splitlines() if line]

RECORDED_IMAGE, IMAGE = "open-terminal:0.14.5", "open-terminal:local"
MASKS = {"ts": r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d{6}", "uuid4": r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
         "procid": r"\d{8}-\d{6}-[0-9a-f]{6}", "sid": r"[0-9a-f]{8}", "num": r"-?[0-9.e+-]+", "pid": r"\d+", "skipped": r"(?s:.*)"}

# Row → (what to replace in the recorded body, why).
OFFSET = "times always carry their offset"
DIFFERENCES = {
    row["id"]: ({name: "<ts>+00:00"}, OFFSET)
    for row in ROWS if isinstance(row["body"], dict) for name in ("created_at", "updated_at")
    if row["body"].get(name) == "<ts>"
}
for row in ROWS:
    if isinstance(row["body"], dict) and {row["body"].get("created_at"), row["body"].get("updated_at")} == {"<ts>"}:
        DIFFERENCES[row["id"]] = ({"created_at": "<ts>+00:00", "updated_at": "<ts>+00:00"}, OFFSET)


def expected_body(row):
    body = json.loads(json.dumps(row["body"]).replace(RECORDED_IMAGE, IMAGE))
    if row["id"] in DIFFERENCES:
        body.update(DIFFERENCES[row["id"]][0])
    if row["id"] == "env":
        # The recording machine had two cores, and nproc counts the host's.
        body["output"][0]["data"] = f"sk-proj-x {os.cpu_count()}"
    return body


def check(expected, actual, where="body"):
    if isinstance(expected, dict):
        assert isinstance(actual, dict) and sorted(expected) == sorted(actual), (where, expected, actual)
        for name in expected:
            check(expected[name], actual[name], f"{where}.{name}")
    elif isinstance(expected, list):
        assert isinstance(actual, list) and len(expected) == len(actual), (where, expected, actual)
        for index, item in enumerate(expected):
            check(item, actual[index], f"{where}[{index}]")
    elif isinstance(expected, str) and re.search("<[a-z0-9]+>", expected):
        parts = re.split("<([a-z0-9]+)>", expected)
        pattern = "".join(MASKS[part] if index % 2 else re.escape(part) for index, part in enumerate(parts))
        assert re.fullmatch(pattern, str(actual)), (where, expected, actual)
    else:
        assert expected == actual and type(expected) is type(actual), (where, expected, actual)


@pytest.fixture(scope="module")
def open_webui_for_rows():
    fake = OpenWebUI()
    fake.add("good-bob", "bob-jwt")
    fake.tokens["noid"] = (200, {"name": "nobody"})
    yield fake
    fake.close()


@pytest.fixture(scope="module")
def services(engine, tmp_path_factory, open_webui_for_rows):
    """By the beginning of the row's id; one runs at a time, in the order of the rows."""
    settings = {"": {}, "caps": {"MAX_CPU": "2", "MAX_MEMORY": "4Gi", "ALLOWED_IMAGES": "open-terminal:*,ghcr.io/open-webui/*"},
                "jwt": {"OPEN_WEBUI_URL": open_webui_for_rows.url}}
    running = {}

    def service_of(row):
        kind = row["id"].split("-")[0]
        kind = kind if kind in settings else ""
        if kind not in running:
            for service in running.values():
                service.stop()
            running.clear()
            running[kind] = Service(tmp_path_factory.mktemp("examples"), engine, settings[kind]).start()
        return running[kind]

    yield service_of
    for service in running.values():
        service.stop()


@pytest.fixture(scope="module")
def remembered():
    """Ids that a row's answer gave and a later row uses."""
    return {}


def prepare(service, row):
    """What the recording had done before this row without writing it down."""
    if row["id"] == "refresh-ctx":
        answer = service.get("/files/cwd", user="golden-alice", context="chat:c1")
        assert answer.status == 200, answer


def websocket(service, row, remembered):
    path = row["path"].replace("<sid>", remembered.get("sid", "none"))
    with Terminal(service.port, path, headers=row["req_headers"]) as terminal:
        terminal.socket.send(row["req_body"].replace("adminkey", KEY))
        if "close" in row["body"]:
            assert terminal.wait_closed() == tuple(row["body"]["close"])
            return
        terminal.type("echo mar''ker\n")
        assert b"marker" in terminal.read_until(b"marker")


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_recorded_exchange(services, remembered, row):
    service = services(row)
    prepare(service, row)
    if row["method"] == "WS":
        websocket(service, row, remembered)
        return
    headers = [(name, value.replace("<key>", KEY)) for name, value in row["req_headers"]]
    body = row["req_body"] and row["req_body"].replace(RECORDED_IMAGE, IMAGE)
    answer = service.request(row["method"], row["path"], key=None, headers=headers, body=body)
    assert answer.status == row["status"], answer
    for name, value in row["headers"].items():
        if name == "content-length":
            assert answer.header(name) == str(len(answer.body))
        else:
            check(value, answer.header(name), name)
    if row["body"] != "<skipped>":
        check(expected_body(row), answer.json())
    if row["id"] == "term-post":
        remembered["sid"] = answer.json()["id"]


def test_an_ended_panel_leaves_no_session(services, remembered):
    """The rows open a terminal and go away; the guest has noticed."""
    if "sid" not in remembered:
        pytest.skip("needs the row term-post")
    service = services(ROWS[0])
    wait_until(lambda: service.get("/api/terminals", user="golden-alice").json() == [], what="the end of the session")
