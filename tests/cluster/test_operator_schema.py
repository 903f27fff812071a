"""What the API server refuses and fills in by the resource's schema, without any operator."""
import pytest

from kube import Refused, terminal

BAD = {
    "no user": {"userId": None}, "empty user": {"userId": ""}, "long user": {"userId": "u" * 257}, "number as user": {"userId": 5},
    "unknown context": {"contextId": "room:1"}, "negative idle time": {"idleTimeoutMinutes": -1}, "text as idle time": {"idleTimeoutMinutes": "soon"},
    "size without meaning": {"persistence": {"size": "big"}}, "negative size": {"storage": "-1Gi"},
    "limit without meaning": {"resources": {"limits": {"cpu": "much"}}}, "unknown storage mode": {"storageMode": "cloud"},
    "env of numbers": {"env": {"A": 1}}, "the key in env": {"env": {"OPEN_TERMINAL_API_KEY": "x"}},
    "packages when restricted": {"restricted": True, "packages": ["vim"]}, "pip packages when restricted": {"restricted": True, "pipPackages": ["x"]},
    "two packages in one": {"packages": ["a b"]}, "image with a space": {"image": "a b"}, "packages that are no list": {"packages": "vim"},
}


@pytest.mark.parametrize("spec", BAD.values(), ids=BAD.keys())
def test_bad_fields_are_refused(kube, spec):
    document = terminal("bad")
    document["spec"].update(spec)
    document["spec"] = {key: value for key, value in document["spec"].items() if value is not None}
    with pytest.raises(Refused):
        kube.apply(document)


def test_unknown_fields_are_refused_by_strict_clients(kube):
    with pytest.raises(Refused, match="unknown field"):
        kube.apply(terminal("bad", colour="red"))


def test_defaults_are_those_of_the_contract(kube):
    document = terminal("plain")
    del document["spec"]["image"]
    spec = kube.apply(document)["spec"]
    assert spec == {"userId": "alice", "contextId": "default", "idleTimeoutMinutes": 30, "restricted": False,
                    "persistence": {"enabled": True, "size": "1Gi", "storageClass": ""},
                    "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}}


def test_user_and_context_are_for_ever(kube):
    kube.apply(terminal("fixed"))
    for change in ({"userId": "bob"}, {"contextId": "chat:1"}):
        with pytest.raises(Refused, match="cannot be changed"):
            kube.patch("terminal", "fixed", {"spec": change})


def test_names_whose_objects_would_be_too_long_are_refused(kube):
    with pytest.raises(Refused, match="240"):
        kube.apply(terminal("n" * 241))


def test_phases_are_only_those_there_are(kube):
    kube.apply(terminal("phases"))
    with pytest.raises(Refused):
        kube.patch("terminal", "phases", {"status": {"phase": "Sleeping"}}, "status")


def test_columns(kube):
    kube.apply(terminal("columns"))
    assert kube.run("get", "term", "columns").split("\n")[0].split() == ["NAME", "USER", "PHASE", "LAST", "ACTIVITY", "AGE"]
    assert "SERVICE URL" in kube.run("get", "term", "columns", "-o", "wide")
