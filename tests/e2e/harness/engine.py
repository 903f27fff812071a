"""The Docker engine, by its command line: what the tests look at and clean away."""
import json
import os
import subprocess

MANAGED = "label=app.kubernetes.io/managed-by=terminals"
USER, POLICY, CONTEXT = "openwebui.com/user-id", "openwebui.com/policy", "openwebui.com/context-id"


class Engine:
    """Commands to one engine. `host` is a DOCKER_HOST value, or None for what the environment says. What tests ask that run on other
    engines too has its counterpart in cluster.py."""
    backend = "docker"
    name_prefix = "terminals"
    crowd = 20                  # terminals that it can run at once
    default_limits = (None, None)       # cores and bytes where neither a policy nor a setting limits
    notices_within = 0          # seconds from the end of a guest's processes until the engine tells

    def __init__(self, host=None):
        self.env = dict(os.environ)
        if host:
            self.env["DOCKER_HOST"] = host

    def run(self, *arguments, check=True, stdin=None, timeout=120):
        done = subprocess.run(["docker", *arguments], env=self.env, input=stdin, capture_output=True, text=True,
                              timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def settings(self):
        """What a service needs to work on this engine."""
        return {}

    def close(self):
        """Nothing was opened."""

    def provide(self, tag):
        """An image that Docker has is here already."""

    @property
    def docker(self):
        """The engine that images are made with."""
        return self

    def inspect(self, name):
        """The container's details, or None."""
        text = self.run("container", "inspect", name, check=False)
        found = json.loads(text or "[]")
        return found[0] if found else None

    def _labelled(self, *arguments):
        rows = self.run(*arguments, "--filter", MANAGED, "--format",
                        '{{.%s}}\t{{.Label "%s"}}\t{{.Label "%s"}}\t{{.Label "%s"}}'
                        % ("Name" if arguments[0] == "volume" else "Names", USER, POLICY, CONTEXT))
        return [tuple(row.split("\t")) for row in rows.splitlines() if row.count("\t") == 3]

    def containers(self, user=None, running=None):
        """(name, user, policy, context) of our containers, of one user or of those whose id begins with `user`."""
        rows = self._labelled("ps", *([] if running else ["-a"]))
        return [row for row in rows if user is None or row[1].startswith(user)]

    def volumes(self, user=None):
        return [row for row in self._labelled("volume", "ls") if user is None or row[1].startswith(user)]

    def container_of(self, user):
        """The details of the user's only container."""
        found = self.containers(user)
        assert len(found) == 1, f"{user} has {found}"
        return self.inspect(found[0][0])

    def clean(self, prefixes):
        """Removes the containers and homes whose user or policy begins with one of the prefixes, and nothing else."""
        def ours(row):
            return row[1].startswith(prefixes) or row[2].startswith(prefixes)
        names = [row[0] for row in self.containers() if ours(row)]
        if names:
            self.run("rm", "-f", "-v", *names, check=False)
        names = [row[0] for row in self.volumes() if ours(row)]
        if names:
            self.run("volume", "rm", "-f", *names, check=False)

    # --- what the other engines answer too -------------------------------------------------------------------------

    def id_of(self, user):
        """Who the user's only container is: another one has another id."""
        return self.container_of(user)["Id"]

    def name_id(self, name):
        return self.inspect(name)["Id"]

    def is_running(self, user):
        return self.container_of(user)["State"]["Running"]

    def labels_of(self, name):
        return self.inspect(name)["Config"]["Labels"]

    def env_of(self, user, context=None):
        """The environment that the guest was started with."""
        name = next(row[0] for row in self.containers(user) if context in (None, row[3]))
        return dict(entry.split("=", 1) for entry in self.inspect(name)["Config"]["Env"])

    def guest_key(self, user, context=None):
        return self.env_of(user, context)["OPEN_TERMINAL_API_KEY"]

    def in_guest(self, name, *command, user=None, check=True):
        return self.run("exec", *(["-u", user] if user else []), name, *command, check=check)

    def remove(self, name):
        self.run("rm", "-f", name)

    def kill(self, name):
        self.run("kill", name)

    def stop(self, name):
        self.run("stop", "-t", "1", name)

    def restart(self, name):
        self.run("restart", "-t", "0", name)

    def original_name(self, *arguments):
        """The name that the original program gives on this engine."""
        from .names import original_name
        return original_name(*arguments, prefix=self.name_prefix)
