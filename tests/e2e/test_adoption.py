"""What runs already is taken over: after our own restart, and from the original program (orchestrator.md §1, §4.1, §5.1)."""
import json
import time

import pytest
import sqlalchemy as sa

from harness import names
from harness.client import wait_until

# --- our own restart -------------------------------------------------------------------------------------------------

def test_restart_adopts_running_terminals(make_service, engine, prefix, tmp_path):
    service = make_service(folder=tmp_path / "s")
    user = prefix + "u"
    told = service.post("/execute", user=user, json={"command": "sleep 60"}).json()
    container = engine.id_of(user)
    service.stop()
    service = make_service(folder=tmp_path / "s")
    # A poll does not wait for the moment in which the guest is asked whether it is well.
    assert service.get("/files/cwd", user=user).status == 200
    assert [row["id"] for row in service.get("/execute", user=user).json()] == [told["id"]]
    assert engine.id_of(user) == container
    assert service.terminals(user)[0]["status"] == "running"


@pytest.mark.docker
def test_restart_leaves_a_paused_guest_alone_and_its_user_wakes_it(make_service, engine, prefix, tmp_path):
    service = make_service(folder=tmp_path / "s", START_TIMEOUT_SECONDS=3)
    user = prefix + "u"
    service.get("/files/cwd", user=user)
    container, name = engine.id_of(user), engine.containers(user)[0][0]
    engine.run("pause", name)
    service.kill()
    service = make_service(folder=tmp_path / "s", START_TIMEOUT_SECONDS=3)
    time.sleep(8)
    assert engine.inspect(name)["State"]["Paused"]
    assert service.get("/files/cwd", user=user).status == 200
    assert engine.id_of(user) == container


def test_restart_after_a_power_cut(make_service, engine, prefix, tmp_path):
    service = make_service(folder=tmp_path / "s")
    user = prefix + "u"
    service.put_policy(prefix + "p", {"env": {"A": "b"}})
    service.run_in_guest(user, "echo kept > mark", policy=prefix + "p")
    container = engine.id_of(user)
    service.kill()
    service = make_service(folder=tmp_path / "s")
    assert service.run_in_guest(user, "cat mark; printf $A", policy=prefix + "p") == (0, "kept\nb")
    assert engine.id_of(user) == container


def test_stopped_container_is_replaced_and_the_home_stays(make_service, engine, prefix, tmp_path):
    service = make_service(folder=tmp_path / "s")
    user = prefix + "u"
    service.run_in_guest(user, "echo kept > mark")
    name = engine.containers(user)[0][0]
    service.stop()
    engine.stop(name)
    service = make_service(folder=tmp_path / "s")
    assert service.run_in_guest(user, "cat mark") == (0, "kept\n")
    assert len(engine.containers(user)) == 1


# --- containers of the original --------------------------------------------------------------------------------------

def original_container(engine, user, policy="default", context="default", labels=None, key="original-guest-key", name=None, publish=True):
    """As the original makes one: its name and labels, a published port on every address, no spec hash, no network of ours."""
    kind = "default" if context == "default" else context.split(":")[0]
    told = {"app.kubernetes.io/managed-by": "terminals", "openwebui.com/user-id": user, "openwebui.com/policy": policy,
            "openwebui.com/context-id": context, "openwebui.com/context-type": kind, "openwebui.com/context-hash": names.short_hash(context)}
    told.update(labels or {})
    name = name or names.original_name(user, policy, context)
    arguments = ["run", "-d", "--name", name, "-e", f"OPEN_TERMINAL_API_KEY={key}"]
    for label, value in told.items():
        arguments += ["--label", f"{label}={value}"]
    if publish:
        arguments += ["-p", "8000"]
    return name, engine.run(*arguments, "open-terminal:local")


@pytest.mark.docker
@pytest.mark.parametrize("context", ["default", "chat:c1"])
def test_originals_container_is_adopted(make_service, engine, prefix, context):
    user = prefix + "u"
    name, container = original_container(engine, user, context=context)
    engine.run("exec", name, "sh", "-c", "echo from-before > /home/user/mark")
    service = make_service()
    assert service.run_in_guest(user, "cat mark", context=context) == (0, "from-before\n")
    assert engine.id_of(user) == container
    row = service.terminals(user)[0]
    assert (row["instance_name"], row["context_id"], row["status"]) == (name, context, "running")


@pytest.mark.docker
def test_originals_container_under_a_changed_slug_is_adopted_by_its_own_key_only(make_service, engine, prefix):
    """`a_b` and `a-b` share a name in the original; only the policy that the label names gets the container."""
    user, policy = prefix + "u", prefix[:9] + "a_b"
    other = prefix[:9] + "a-b"
    name, container = original_container(engine, user, policy)
    service = make_service()
    for each in (policy, other):
        service.put_policy(each, {})
    engine.run("exec", name, "sh", "-c", "echo mine > /home/user/mark")
    assert service.run_in_guest(user, "cat mark", policy=policy) == (0, "mine\n")
    refused = service.get(f"/p/{other}/files/cwd", user=user)
    assert refused.status == 503 and name in refused.json()["error"]
    assert engine.inspect(name)["Id"] == container
    # Made anew, the first has a name that no other policy can have.
    service.post("/api/v1/terminals/stop", json={"user_id": user, "policy_id": policy})
    for each in (policy, other):
        assert wait_until(lambda: service.get(f"/p/{each}/files/cwd", user=user).status == 200, 20)
    assert len({row[0] for row in engine.containers(user)}) == 2


@pytest.mark.docker
def test_name_taken_by_another_key_is_not_adopted(make_service, engine, prefix):
    user = prefix + "u"
    name, container = original_container(engine, prefix + "stranger", name=names.original_name(user))
    service = make_service()
    answer = service.get("/files/cwd", user=user)
    assert answer.status == 503 and name in answer.json()["error"]
    assert engine.inspect(name)["Id"] == container


@pytest.mark.docker
def test_name_taken_by_a_container_that_is_not_ours_is_left_alone(service, engine, prefix):
    user = prefix + "u"
    name = names.original_name(user)
    container = engine.run("run", "-d", "--name", name, "--label", "e2e=1", "open-terminal:local")
    try:
        answer = service.get("/files/cwd", user=user)
        assert answer.status == 503 and name in answer.json()["error"], answer
        assert engine.inspect(name)["Id"] == container and engine.inspect(name)["State"]["Running"]
    finally:
        engine.run("rm", "-f", name)


@pytest.mark.docker
def test_unlabelled_containers_are_never_touched(make_service, engine, prefix):
    name = prefix + "bystander"
    engine.run("run", "-d", "--name", name, "open-terminal:local")
    try:
        service = make_service(IDLE_TIMEOUT_MINUTES=1)
        assert all(row["instance_name"] != name for row in service.terminals())
        service.post("/api/v1/terminals/refresh", json={"user_id": prefix + "u", "only_idle": False})
        service.stop()
        assert engine.inspect(name)["State"]["Running"]
    finally:
        engine.run("rm", "-f", name)


@pytest.mark.docker
def test_home_directory_of_the_original_is_found_again(make_service, engine, prefix, tmp_path):
    homes = tmp_path / "homes"
    user = prefix + "u"
    (homes / user).mkdir(parents=True)
    (homes / user / "mark").write_text("from before\n")
    service = make_service(DOCKER_DATA_DIR=str(homes))
    assert service.run_in_guest(user, "cat mark") == (0, "from before\n")
    assert service.get("/files/cwd", user=prefix + "new").status == 200
    assert names.original_name(prefix + "new") in {path.name for path in homes.iterdir()}


@pytest.mark.docker
def test_directory_of_homes_may_have_another_name_on_the_engines_host(make_service, engine, prefix, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").symlink_to("here")
    service = make_service(DOCKER_DATA_DIR=tmp_path / "here", DOCKER_HOST_DATA_DIR=tmp_path / "there")
    assert service.run_in_guest(prefix + "u", "echo mine > mark") == (0, "")
    details = engine.container_of(prefix + "u")
    source = next(mount["Source"] for mount in details["HostConfig"]["Mounts"] if mount["Target"] == "/home/user")
    name = details["Name"].lstrip("/")
    assert source == f"{tmp_path}/there/{name}" and (tmp_path / "here" / name / "mark").read_text() == "mine\n"


# --- the original's database -----------------------------------------------------------------------------------------

def original_database(path, revision="003_lifecycle_context"):
    """The original's schema as the contract gives it, made by SQLAlchemy as the original does."""
    metadata = sa.MetaData()
    times = lambda: (sa.Column("created_at", sa.DateTime, server_default=sa.text("CURRENT_TIMESTAMP")),  # noqa: E731
                     sa.Column("updated_at", sa.DateTime, server_default=sa.text("CURRENT_TIMESTAMP")))
    data = lambda: sa.Column("data", sa.JSON, nullable=False, server_default="{}")  # noqa: E731
    policies = sa.Table("policies", metadata, sa.Column("id", sa.String, primary_key=True), data(), *times())
    lifecycles = sa.Table("policy_lifecycles", metadata, sa.Column("id", sa.String, primary_key=True),
                          sa.Column("policy_id", sa.String, nullable=False, unique=True, index=True), data(), *times())
    states = sa.Table("policy_lifecycle_states", metadata, sa.Column("id", sa.String, primary_key=True),
                      sa.Column("user_id", sa.String, nullable=False, index=True), sa.Column("policy_id", sa.String, nullable=False, index=True),
                      sa.Column("context_id", sa.String, nullable=False, server_default="default", index=True), data(), *times(),
                      sa.UniqueConstraint("user_id", "policy_id", "context_id"))
    sa.Table("audit_log", metadata, sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
             sa.Column("timestamp", sa.DateTime), sa.Column("action", sa.String), sa.Column("severity", sa.String, server_default="info"),
             sa.Column("user_id", sa.String), sa.Column("resource_type", sa.String), sa.Column("resource_id", sa.String),
             sa.Column("detail", sa.JSON))
    version = sa.Table("alembic_version", metadata, sa.Column("version_num", sa.String(32), primary_key=True))
    database = sa.create_engine(f"sqlite:///{path}")
    metadata.create_all(database)
    with database.begin() as connection:
        connection.execute(version.insert().values(version_num=revision))
    return database, policies, lifecycles, states


@pytest.mark.docker
def test_originals_database_is_used_as_it_stands(make_service, prefix, tmp_path):
    user, policy = prefix + "u", prefix + "p"
    folder = tmp_path / "s"
    (folder / "data").mkdir(parents=True)
    database, policies, lifecycles, states = original_database(folder / "data" / "terminals.db")
    seen = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 500))
    with database.begin() as connection:
        connection.execute(policies.insert().values(id=policy, data={"env": {"MARK": "stored"}, "unknown": [1]},
                                                    created_at=sa.func.current_timestamp()))
        connection.execute(lifecycles.insert().values(id=policy, policy_id=policy, data={"reset": {"schedule": "@monthly"}, "x": 1}))
        connection.execute(states.insert().values(id=f"{user}:{policy}:default", user_id=user, policy_id=policy, context_id="default",
                                                  data={"reset": {"schedule": "@monthly", "timezone": "", "next_due_at": "2099-01-01T00:00:00Z"},
                                                        "activity": {"last_seen_at": seen}, "extra": "kept"}))
    database.dispose()
    service = make_service(folder=folder)
    assert service.get(f"/api/v1/policies/{policy}").json()["data"] == {"env": {"MARK": "stored"}, "unknown": [1]}
    assert service.get(f"/api/v1/policies/{policy}/lifecycle").json()["data"] == {"reset": {"schedule": "@monthly"}, "x": 1}
    assert service.run_in_guest(user, "printf $MARK", policy=policy) == (0, "stored")
    service.put_policy(prefix + "ours", {"cpu_limit": "1"})
    service.stop()
    # And the original can read on in it: its tables and its revision are as they were.
    with database.connect() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars().all() == ["003_lifecycle_context"]
        assert {row.id for row in connection.execute(policies.select())} == {policy, prefix + "ours"}
        row = connection.execute(states.select().where(states.c.user_id == user)).one()
        assert row.id == f"{user}:{policy}:default" and row.data["extra"] == "kept" and row.data["activity"]["last_seen_at"] > seen
        assert row.data["activity"]["last_seen_at"].endswith("Z")
        tables = set(sa.inspect(connection).get_table_names())
    assert all(table.startswith("terminals_") for table in tables - {"policies", "policy_lifecycles", "policy_lifecycle_states", "audit_log",
                                                                     "alembic_version", "sqlite_sequence"})


@pytest.mark.docker
def test_new_database_has_the_originals_schema(make_service, tmp_path):
    service = make_service(folder=tmp_path / "s")
    service.put_policy("plain", {"cpu_limit": "1"})
    service.stop()
    reference = tmp_path / "reference.db"
    original_database(reference)[0].dispose()
    ours, theirs = (sa.inspect(sa.create_engine(f"sqlite:///{path}")) for path in (tmp_path / "s" / "data" / "terminals.db", reference))
    for table in theirs.get_table_names():
        assert {column["name"] for column in ours.get_columns(table)} == {column["name"] for column in theirs.get_columns(table)}, table
        wanted = {index["name"] for index in theirs.get_indexes(table)}
        assert wanted <= {index["name"] for index in ours.get_indexes(table)}, table
    with sa.create_engine(f"sqlite:///{tmp_path}/s/data/terminals.db").connect() as connection:
        row = connection.execute(sa.text("SELECT id, data, created_at FROM policies")).one()
        assert row.id == "plain" and json.loads(row.data) == {"cpu_limit": "1"} and "+" not in str(row.created_at)
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == "003_lifecycle_context"


@pytest.mark.docker
@pytest.mark.parametrize("url", ["sqlite:///{path}", "sqlite+aiosqlite:///{path}"])
def test_database_urls_of_the_original(make_service, tmp_path, url):
    path = tmp_path / "my data.db"
    service = make_service(DATABASE_URL=url.format(path=str(path).replace(" ", "%20")))
    service.put_policy("x", {})
    assert path.exists() or (tmp_path / "my%20data.db").exists()


def test_two_services_on_one_engine_share_terminals(make_service, engine, prefix):
    """Replicas: both find the same container, neither makes a second one."""
    first, second = make_service(), make_service()
    user = prefix + "u"
    assert first.run_in_guest(user, "echo shared > mark")[0] == 0
    assert second.run_in_guest(user, "cat mark") == (0, "shared\n")
    assert len(engine.containers(user)) == 1
    first.post("/api/v1/terminals/stop", json={"user_id": user})
    wait_until(lambda: all(row["status"] != "running" for row in second.terminals(user)), 10)
    assert second.run_in_guest(user, "cat mark") == (0, "shared\n")
