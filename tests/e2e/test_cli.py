"""The commands beside serve, and starts that must not happen (orchestrator.md §5)."""
import os
import pathlib
import re
import socket
import sqlite3
import subprocess
import tempfile

import pytest

from harness.client import wait_until
from harness.engine import Engine
from harness.service import KEY, Service, binary, environment, run_command

pytestmark = pytest.mark.docker


def test_version_and_help(tmp_path):
    status, out, _ = run_command(tmp_path, "--version")
    assert status == 0 and re.fullmatch(r"terminals \d+\.\d+\.\d+\n", out)
    for arguments in (["--help"], ["serve", "--help"], ["db", "--help"], ["config", "--help"], ["doctor", "--help"]):
        status, out, _ = run_command(tmp_path, *arguments)
        assert status == 0 and "usage" in out.lower(), arguments
    assert run_command(tmp_path, "nonsense")[0] == 2 and run_command(tmp_path)[0] == 2


BAD_SETTINGS = {"BACKEND": "podman", "PORT": "70000", "WORKERS": "many", "IDLE_TIMEOUT_MINUTES": "soon", "MAX_CPU": "lots", "MAX_MEMORY": "4GB",
                "DOCKER_MOUNTS": "{", "TOKEN_CACHE_TTL": "-1", "ENABLE_UI": "perhaps", "KUBERNETES_TOLERATIONS": "{}",
                "DATABASE_URL": "mysql://x", "STATUS_CACHE_TTL": "x", "ALLOWED_IMAGES": None}


@pytest.mark.parametrize("command", ["serve", "config"])
def test_all_unreadable_settings_are_shown_at_once(tmp_path, command):
    status, out, err = run_command(tmp_path, command, settings=BAD_SETTINGS)
    assert status not in (0, 66)
    for name, value in BAD_SETTINGS.items():
        if value is not None:
            assert f"TERMINALS_{name}" in out + err, name
    for value in ("podman", "70000", "4GB"):
        assert value in out + err


@pytest.mark.parametrize("mounts,word", [
    ("nonsense", "JSON"), ("{}", "array"), ("[1]", "object"), ('[{"target":"/x"}]', "source"), ('[{"source":"/x"}]', "target"),
    ('[{"source":"x","target":"/y"}]', "absolute"), ('[{"source":"/x","target":"y"}]', "absolute"),
    ('[{"source":"/x","target":"/y","readOnly":"no"}]', "readOnly"), ('[{"source":"/x","target":"/"}]', "/"),
    ('[{"source":"/x","target":"/home/user/x"}]', "/home/user/x"), ('[{"source":"/x","target":"/etc"}]', "/etc"),
    ('[{"source":"/x","target":"/a"},{"source":"/y","target":"/a/b"}]', "/a")])
def test_bad_mounts_stop_the_start(tmp_path, mounts, word):
    status, out, err = run_command(tmp_path, "config", settings={"DOCKER_MOUNTS": mounts})
    assert status == 1 and "TERMINALS_DOCKER_MOUNTS" in out + err and word in out + err


def test_mounts_reach_the_guest(make_service, prefix, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "mark").write_text("shared\n")
    service = make_service(DOCKER_MOUNTS='[{"source":"%s","target":"/mnt/shared"}]' % (tmp_path / "shared"))
    assert service.run_in_guest(prefix + "u", "cat /mnt/shared/mark; touch /mnt/shared/x || echo read-only") [1].startswith("shared\n")
    assert not (tmp_path / "shared" / "x").exists()


def test_config_masks_secrets_and_marks_defaults(tmp_path):
    status, out, _ = run_command(tmp_path, "config", settings={"API_KEY": "very-secret", "PORT": "3100",
                                                              "DATABASE_URL": "sqlite:////tmp/x.db"})
    assert status == 0 and "very-secret" not in out and "3100" in out
    lines = dict(line.split("=", 1) for line in out.splitlines() if line.startswith("TERMINALS_"))
    assert "default" in lines["TERMINALS_LOG_LEVEL"].lower() and "default" not in lines["TERMINALS_PORT"].lower()


def test_env_file_is_read_and_the_environment_wins(tmp_path):
    (tmp_path / ".env").write_text('# comment\nTERMINALS_PORT=4000\nexport TERMINALS_MAX_CPU="2"\nOTHER=1\nTERMINALS_IMAGE=a:1 # end\n')
    status, out, err = run_command(tmp_path, "config", settings={"MAX_CPU": "3"})
    assert status == 0, err
    assert re.search(r"TERMINALS_PORT=4000\b", out) and re.search(r"TERMINALS_MAX_CPU=3\b", out)


def test_ignored_values_are_warned_about(tmp_path):
    _, out, err = run_command(tmp_path, "config", settings={"WS_COMPRESSION": "true", "LOG_LEVEL": "CHATTY"})
    assert "WS_COMPRESSION" in out + err and "LOG_LEVEL" in err


# --- the database ----------------------------------------------------------------------------------------------------

def test_database_commands(tmp_path):
    status, out, _ = run_command(tmp_path, "db", "current")
    assert status == 0 and "003" not in out
    assert run_command(tmp_path, "db", "upgrade")[0] == 0
    status, out, _ = run_command(tmp_path, "db", "current")
    assert status == 0 and "003_lifecycle_context" in out
    assert run_command(tmp_path, "db", "stamp", "003_lifecycle_context")[0] == 0
    assert run_command(tmp_path, "db", "upgrade", "--revision", "no-such")[0] != 0
    assert run_command(tmp_path, "db", "revision", "-m", "x")[0] != 0
    with sqlite3.connect(tmp_path / "data" / "terminals.db") as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [("003_lifecycle_context",)]


@pytest.mark.parametrize("command", [("serve",), ("db", "upgrade"), ("doctor",)])
def test_file_that_is_no_database(tmp_path, command):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "terminals.db").write_bytes(b"this is not a database, " * 100)
    status, out, err = run_command(tmp_path, *command, settings={"API_KEY": KEY, "PORT": str(free())})
    assert status not in (0, 66) and "terminals.db" in out + err
    assert (tmp_path / "data" / "terminals.db").read_bytes().startswith(b"this is not a database")


def test_database_of_a_newer_program_is_refused(tmp_path):
    assert run_command(tmp_path, "db", "upgrade")[0] == 0
    with sqlite3.connect(tmp_path / "data" / "terminals.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '999_future'")
    status, out, err = run_command(tmp_path, "serve", settings={"API_KEY": KEY, "PORT": str(free())})
    assert status not in (0, 66) and "999_future" in out + err


def test_locked_database_says_so(make_service, prefix):
    service = make_service()
    with sqlite3.connect(service.folder / "data" / "terminals.db", isolation_level=None) as database:
        database.execute("BEGIN EXCLUSIVE")
        answer = service.request("PUT", f"/api/v1/policies/{prefix}p", json={}, timeout=60)
        assert answer.status >= 500 and "lock" in answer.text.lower()
        database.execute("ROLLBACK")
    assert service.request("PUT", f"/api/v1/policies/{prefix}p", json={}).status == 200


# --- starts that must not happen -------------------------------------------------------------------------------------

def free():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_port_that_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        status, out, err = run_command(tmp_path, "serve", "--host", "127.0.0.1", "--port", str(port), settings={"API_KEY": KEY})
    assert status not in (0, 66) and str(port) in out + err and "TERMINALS_PORT" in out + err


def test_service_without_an_engine_says_what_to_do(tmp_path, engine):
    nowhere = Engine("unix:///nonexistent/docker.sock")
    service = Service(tmp_path / "s", nowhere).launch()
    try:
        wait_until(lambda: "doctor" in service.log_text(), 10)
        answer = service.get("/files/cwd", user="nobody-starts-this")
        assert (answer.status, answer.json()["reason"]) == (503, "backend_unavailable") and answer.header("Retry-After")
        assert "/nonexistent/docker.sock" in answer.json()["error"] and "running" in answer.json()["error"]
        assert service.get("/ready").status == 503 and service.get("/health").status == 200
    finally:
        service.stop()


@pytest.fixture
def as_nobody():
    """Runs a command as another user in a folder of his own."""
    if os.getuid() != 0:
        pytest.skip("needs root, to become another user")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)

        def run(*arguments, **settings):
            env = environment(pathlib.Path(folder), {"TERMINALS_PORT": free(), "TERMINALS_API_KEY": KEY, **settings})
            done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", binary(), *arguments], cwd=folder, env=env,
                                  timeout=30, capture_output=True, text=True)
            if "ermission denied" in done.stderr and binary() in done.stderr:
                pytest.skip("the other user cannot reach the program")
            return done.returncode, done.stdout + done.stderr

        run.folder = pathlib.Path(folder)
        yield run


def test_state_directory_that_is_not_writable(as_nobody):
    (as_nobody.folder / "data").mkdir(mode=0o755)
    status, told = as_nobody("serve")
    assert status not in (0, 66) and str(as_nobody.folder / "data") in told and "ermission denied" in told


def test_doctor_finds_all_well(tmp_path):
    status, out, _ = run_command(tmp_path, "doctor", settings={"API_KEY": KEY, "IMAGE": "open-terminal:local", "PORT": str(free())})
    assert status == 0, out


@pytest.mark.parametrize("settings,words", [
    ({"OPEN": "true"}, "open: everyone"),
    ({"OPEN": "true", "API_KEY": KEY}, "the API key that is set"),
    ({"OPEN": "true", "OPEN_WEBUI_URL": "http://127.0.0.1:1"}, "Open WebUI's tokens"),
    ({}, "an API key that is kept"),
])
def test_doctor_says_who_may_call(tmp_path, settings, words):
    _, out, _ = run_command(tmp_path, "doctor", settings={"PORT": str(free()), **settings})
    assert [line for line in out.splitlines() if line.startswith("ok    callers") and words in line], out


def test_doctor_on_a_database_that_cannot_be_written(as_nobody):
    as_nobody.folder.joinpath("data").mkdir(mode=0o777)
    as_nobody.folder.joinpath("data").chmod(0o777)
    as_nobody.folder.joinpath("elsewhere").mkdir(mode=0o755)
    status, told = as_nobody("doctor", TERMINALS_DATABASE_URL=f"sqlite:///{as_nobody.folder}/elsewhere/x.db")
    assert status == 1 and "FAIL  database" in told and "elsewhere/x.db cannot be opened for writing" in told


@pytest.mark.parametrize("host,words", [("unix:///nonexistent/docker.sock", ["/nonexistent/docker.sock"]),
                                        ("tcp://127.0.0.1:1", ["127.0.0.1"]), ("gopher://x", ["DOCKER_HOST"])])
def test_doctor_says_what_to_do_about_the_engine(tmp_path, host, words):
    status, out, err = run_command(tmp_path, "doctor", settings={"API_KEY": KEY, "PORT": str(free())}, env={"DOCKER_HOST": host})
    assert status == 1
    for word in words:
        assert word in out + err
    assert "to do" in out


def test_doctor_on_a_socket_without_permission(as_nobody):
    if os.environ.get("DOCKER_HOST"):
        pytest.skip("needs the default socket")
    status, told = as_nobody("doctor")
    assert status == 1 and "docker.sock" in told and ("group" in told or "permission" in told.lower())
