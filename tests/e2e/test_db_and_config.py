"""The commands that run and end: `terminals db` and `terminals config` (orchestrator.md §5)."""
import sqlite3
import subprocess

import pytest

from harness.service import binary, environment

pytestmark = pytest.mark.docker

HEAD = "003_lifecycle_context"


@pytest.fixture
def run(tmp_path):
    """run("db", "current", TERMINALS_X=…) gives (exit status, standard output, standard error)."""
    def run(*arguments, **variables):
        done = subprocess.run([binary(), *arguments], cwd=tmp_path, env=environment(tmp_path, variables) | {"STATE_DIRECTORY": str(tmp_path / "data")},
                              capture_output=True, text=True, timeout=30)
        return done.returncode, done.stdout, done.stderr
    return run


def one(path, sql):
    with sqlite3.connect(path) as database:
        return database.execute(sql).fetchone()[0]


# --- db --------------------------------------------------------------------------------------------------------------

def test_db_upgrade_makes_the_tables_and_current_shows_the_revision(run, tmp_path):
    variables = {"TERMINALS_STATE_DIR": str(tmp_path / "state")}
    status, out, err = run("db", "current", **variables)
    assert (status, out) == (0, "") and "terminals db upgrade" in err
    assert not (tmp_path / "state").exists()
    assert run("db", "upgrade", **variables)[:2] == (0, f"{HEAD} (head)\n")
    assert run("db", "current", **variables)[:2] == (0, f"{HEAD} (head)\n")
    assert one(tmp_path / "state" / "terminals.db", "SELECT version_num FROM alembic_version") == HEAD


def test_db_upgrade_brings_an_old_database_to_the_head(run, tmp_path):
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as database:
        database.executescript("""
            CREATE TABLE policies (id VARCHAR NOT NULL PRIMARY KEY, data JSON DEFAULT '{}' NOT NULL,
                                   created_at DATETIME DEFAULT CURRENT_TIMESTAMP, updated_at DATETIME DEFAULT CURRENT_TIMESTAMP);
            INSERT INTO policies (id) VALUES ('kept');
            CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL);
            INSERT INTO alembic_version VALUES ('001_initial');""")
    variables = {"TERMINALS_DATABASE_URL": f"sqlite+aiosqlite:///{path}", "TERMINALS_STATE_DIR": str(tmp_path / "state")}
    assert run("db", "current", **variables)[1] == "001_initial\n"
    assert run("db", "upgrade", "--revision", HEAD, **variables)[0] == 0
    assert one(path, "SELECT id FROM policies") == "kept"
    assert one(path, "SELECT count(*) FROM policy_lifecycle_states") == 0


def test_db_stamp_records_a_revision_and_changes_nothing_else(run, tmp_path):
    variables = {"TERMINALS_STATE_DIR": str(tmp_path / "state")}
    assert run("db", "stamp", **variables)[:2] == (0, f"{HEAD} (head)\n")
    assert one(tmp_path / "state" / "terminals.db", "SELECT count(*) FROM sqlite_master WHERE name = 'policies'") == 0
    status, _, err = run("db", "stamp", "009_unknown", **variables)
    assert status == 1 and "'009_unknown' is not a known revision" in err


def test_db_revision_says_where_revisions_are_made(run):
    status, _, err = run("db", "revision", "-m", "add a column")
    assert status == 2 and "source of the program" in err


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("current", "x"), ("upgrade", "--wrong"), ("upgrade", "head", "more")])
def test_db_explains_a_wrong_command_line(run, arguments):
    status, out, err = run("db", *arguments)
    assert (status, out) == (2, "") and "usage: terminals db ACTION" in err


def test_db_help(run):
    status, out, err = run("db", "upgrade", "--help")
    assert (status, err) == (0, "") and HEAD in out


@pytest.mark.parametrize("content, says", [
    (b"this is no database, but long enough to be told apart" * 100, "is not an SQLite database"),
    (None, "does not exist: make it"),
], ids=["not a database", "no directory"])
def test_db_says_what_is_wrong_with_the_file(run, tmp_path, content, says):
    path = tmp_path / "bad.db" if content else tmp_path / "none" / "x.db"
    if content:
        path.write_bytes(content)
    status, _, err = run("db", "upgrade", TERMINALS_DATABASE_URL=f"sqlite:///{path}", TERMINALS_STATE_DIR=str(tmp_path / "state"))
    assert status == 1 and says in err and str(path) in err
    if content:
        assert path.read_bytes() == content


def test_postgres_is_refused_without_showing_the_password(run):
    status, _, err = run("db", "upgrade", TERMINALS_DATABASE_URL="postgresql+asyncpg://user:hunter2@db/terminals")
    assert status == 1 and "PostgreSQL is not supported" in err and "hunter2" not in err


# --- config ----------------------------------------------------------------------------------------------------------

def test_config_shows_what_is_in_force_with_secrets_masked(run, tmp_path):
    (tmp_path / ".env").write_text("export TERMINALS_PORT=4000\nTERMINALS_IMAGE='from/dotenv:1'\nTERMINALS_API_KEY=hunter2\n")
    status, out, err = run("config", TERMINALS_PORT="5000", TERMINALS_DATABASE_URL="sqlite:////tmp/x.db")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert "TERMINALS_PORT=5000" in lines
    assert "TERMINALS_IMAGE=from/dotenv:1  # .env" in lines
    assert "TERMINALS_IDLE_TIMEOUT_MINUTES=0  # default" in lines
    assert "hunter2" not in out
    assert not (tmp_path / "data").exists()


def test_config_shows_all_mistakes_at_once(run):
    status, out, err = run("config", TERMINALS_PORT="x", TERMINALS_BACKEND="y", TERMINALS_MAX_CPU="z", TERMINALS_DOCKER_MOUNTS="[1]",
                           TERMINALS_TYPO="1")
    assert (status, out) == (1, "")
    for part in ("TERMINALS_PORT=x: must be", "TERMINALS_BACKEND=y: must be docker, kubernetes or kubernetes-operator",
                 "TERMINALS_MAX_CPU=z: must be", "TERMINALS_DOCKER_MOUNTS=[1]: entry 0: not an object",
                 "warning: TERMINALS_TYPO is not a known setting"):
        assert part in err


def test_config_help_lists_every_setting(run):
    status, out, _ = run("config", "--help")
    assert status == 0
    for name in ("TERMINALS_BACKEND\n", "TERMINALS_DOCKER_DATA_DIR (or TERMINALS_DATA_DIR)\n", "OPEN_TERMINAL_SYSTEM_PROMPT\n"):
        assert name in out
