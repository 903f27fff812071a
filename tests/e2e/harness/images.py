"""Images beside the real guest, made from it by a copied file and a changed entrypoint (no builder is needed)."""
import hashlib
import json
import pathlib

GUESTS = pathlib.Path(__file__).resolve().parents[1] / "guests"
REAL = "open-terminal:local"


def derive(engine, tag, entrypoint, file=None):
    """Makes `tag` unless it is there and made from the same inputs, and sees to it that the engine has it."""
    make(engine.docker, tag, entrypoint, file)
    engine.provide(tag)
    return tag


def make(engine, tag, entrypoint, file):
    content = (GUESTS / file).read_bytes() if file else b""
    base = engine.run("image", "inspect", "-f", "{{.Id}}", REAL)
    key = hashlib.sha256(content + json.dumps(entrypoint).encode() + base.encode()).hexdigest()[:16]
    if engine.run("image", "inspect", "-f", '{{index .Config.Labels "terminals.test/key"}}', tag, check=False) == key:
        return
    container = engine.run("create", REAL)
    try:
        if file:
            engine.run("cp", str(GUESTS / file), f"{container}:/app/{file}")
        engine.run("commit", "-c", f"ENTRYPOINT {json.dumps(entrypoint)}", "-c", "CMD []",
                   "-c", f"LABEL terminals.test/key={key}", container, tag)
    finally:
        engine.run("rm", "-f", container)


def wire(engine):
    return derive(engine, "terminals-test-wire:local", ["/usr/bin/python3", "-B", "/app/wire.py"], "wire.py")


def crashing(engine):
    return derive(engine, "terminals-test-crashing:local",
                  ["/bin/sh", "-c", "echo first line; echo 'the disk of this guest is on fire' >&2; exit 7"])


def never_ready(engine):
    return derive(engine, "terminals-test-silent:local", ["/usr/bin/tini", "--", "sleep", "3600"])
