"""`python -m aarlab.runs.ray_nodes`: a process of its own that joins a Ray cluster, asks each node
what it is, and prints it as JSON."""

import argparse
import asyncio
import json
import subprocess
import sys
from typing import Any

from aarlab.core.errors import AarError, Misconfigured
from aarlab.core.settings import ray_environment

WITHIN_S = 180.0


def seen(address: str) -> list[dict[str, Any]]:
    """Of each node, the fields of `cluster_status.NodeSeen`.

    Raises:
        Misconfigured: the cluster cannot be joined.
    """
    argv = [sys.executable, "-m", "aarlab.runs.ray_nodes", "--address", address]
    try:
        done = subprocess.run(
            argv, env=ray_environment(), capture_output=True, timeout=WITHIN_S, check=False
        )
        found = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        raise Misconfigured(f"The Ray cluster at {address} says nothing of its nodes.") from error
    if isinstance(found, str):
        raise Misconfigured(found)
    lists = ("aarlab", "python")
    return [{**one, **{name: tuple(one[name]) for name in lists}} for one in found]


def _asked(address: str) -> list[dict[str, Any]]:
    import ray

    from aarlab.runs import ray_broker

    ray_broker.join(address)
    nodes = ray.nodes()
    said = asyncio.run(ray_broker.identified([n["NodeID"] for n in nodes if n["Alive"]]))
    found = []
    for node in nodes:
        one, has = said.get(node["NodeID"]), node["Resources"]
        state = ("alive" if one else "says nothing") if node["Alive"] else "dead"
        found.append(
            {
                "name": f"{node['NodeManagerHostname']} {node['NodeID'][:12]}",
                "state": state,
                "cpus": float(has.get("CPU", 0)),
                "memory_mib": int(has.get("memory", 0)) >> 20,
                "gpus": f"{has['GPU']:g}" if has.get("GPU") else "",
                "aarlab": [f"{one.aarlab} {one.code[:12]}"] if one else [],
                "python": [one.python] if one else [],
                "nice": one.nice if one else 0,
            }
        )
    ray.shutdown()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, help="of the cluster's head, HOST:PORT")
    a = parser.parse_args()
    try:
        answer: object = _asked(a.address)
    except AarError as error:
        answer = str(error)
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
