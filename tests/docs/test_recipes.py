"""The recipes of docs/cluster.md for SkyPilot and Kubernetes: what they start exists, shells read
their commands, secrets are no text in them, and every pod permits a sandbox."""

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.docs.test_links import ROOT, commands, wrong_command

TEXT = (ROOT / "docs" / "cluster.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
DOCUMENTS = [one for block in BLOCKS for one in yaml.safe_load_all(block)]
TASKS = [one for one in DOCUMENTS if "run" in one]
MANIFESTS = [one for one in DOCUMENTS if "apiVersion" in one]
SECRET = re.compile(r"TOKEN|JOIN|KEY|PASSWORD")


def pods(inside: Any) -> Iterator[dict]:
    """Every specification of a pod."""
    if isinstance(inside, dict):
        if "containers" in inside:
            yield inside
        inside = list(inside.values())
    if isinstance(inside, list):
        for one in inside:
            yield from pods(one)


PODS = list(pods(MANIFESTS))


def test_there_are_recipes():
    kinds = ["PersistentVolumeClaim", "RayCluster", "PersistentVolumeClaim", "Deployment"]
    assert [one["kind"] for one in MANIFESTS] == kinds
    assert len(PODS) == 3
    assert [task["name"] for task in TASKS] == ["aar", "aar-researchers"]


@pytest.mark.parametrize("part", ["setup", "run"])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task["name"])
def test_commands_of_a_task_exist(task, part):
    found = list(commands(f"```\n{task[part]}\n```"))
    assert found
    assert [wrong for words in found if (wrong := wrong_command(words))] == []


@pytest.mark.process
def test_bash_reads_what_tasks_run():
    text = "\n".join(f"({task[part]}\n)" for task in TASKS for part in ("setup", "run"))
    done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task["name"])
def test_secrets_of_a_task_are_asked_for_and_used(task):
    assert set(task["secrets"].values()) == {None}
    assert all(
        f"${{{name}:?}}" in task["run"] and f"--secret {name}=" in TEXT for name in task["secrets"]
    )


@pytest.mark.parametrize("pod", PODS, ids=lambda pod: pod["containers"][0]["name"])
def test_a_pod_permits_a_sandbox_and_little_else(pod):
    user, box = pod["securityContext"], pod["containers"][0]["securityContext"]
    assert (pod["hostUsers"], pod["automountServiceAccountToken"]) == (False, False)
    assert user["runAsNonRoot"]
    assert (user["seccompProfile"], user["appArmorProfile"]) == ({"type": "Unconfined"},) * 2
    assert (box["procMount"], box["allowPrivilegeEscalation"]) == ("Unmasked", False)
    assert box["capabilities"] == {"drop": ["ALL"]}
    every = [*pod["containers"], *pod.get("initContainers", [])]
    assert [
        e["name"] for one in every for e in one["env"] if SECRET.search(e["name"]) and "value" in e
    ] == []
    for one in every:
        mounts = [mount["name"] for mount in one["volumeMounts"]]
        assert mounts == [volume["name"] for volume in pod["volumes"]]
        if one.get("command", [""])[0] == "aar":
            assert wrong_command(one["command"][1:]) is None


def test_who_joins_a_ray_of_kubernetes_needs_the_token():
    ray = next(one["spec"] for one in MANIFESTS if one["kind"] == "RayCluster")
    assert ray["authOptions"]["mode"] == "token"
    assert f"secret generic {ray['authOptions']['secretName']} --from-literal=auth_token=" in TEXT
    assert ray["headGroupSpec"]["rayStartParams"]["include-dashboard"] == "false"
