"""The same seeds give the same receipts wherever a researcher runs."""

import os
import shutil

import pytest

from aarlab.core.layout import CampaignFolder
from aarlab.core.settings import Home
from experiments.nodes_lab import until
from tests.nodes.lab_of_nodes import LabOfNodes

pytestmark = [pytest.mark.process, pytest.mark.long, pytest.mark.timeout(3600)]
EXPERIMENTS = 4
SECRET = bytes(range(32))


def graded(lab, *fields):
    """What is recorded of each experiment of one researcher: its code, its answers, and their
    receipt. What it does next follows from the receipts before."""
    server = CampaignFolder(Home(lab.home).campaigns / "same").server
    server.root.mkdir(parents=True)
    server.secret.write_bytes(SECRET)  # issued seeds follow from it and the code's hash
    running = lab.campaign("same", "researchers=1", f"experiments={EXPERIMENTS}", *fields)

    def all_graded():
        assert running.process.poll() is None, running.said()
        return lab.submitted("same")["researcher-1"] == EXPERIMENTS

    until(all_graded, 1200.0, every_s=0.5)
    host = lab.fleet("same")["researcher-1"].host
    running.stop()
    made = [e.body for e in lab.entries("same") if e.kind == "submission"]
    what = ("snapshot", "predictions", "receipt", "exact_accuracy", "exact_pgr")
    return host, [{name: body[name] for name in what} for body in made]


def test_code_and_seed_give_the_same_receipt_on_a_node_as_at_home(prepared_home, tmp_path):
    made = {}
    for place, fields in (("home", ()), ("node", ("hosts=[alpha]",))):
        folder = tmp_path / place
        shutil.copytree(prepared_home.root, folder / "lab", copy_function=os.link)
        with LabOfNodes(folder) as lab:
            if fields:
                lab.join("alpha")
                lab.serve("alpha")
            made[place] = graded(lab, *fields)
    assert [host for host, _ in made.values()] == ["here", "alpha"]
    receipts = made["home"][1]
    assert len({one["snapshot"] for one in receipts}) == EXPERIMENTS
    assert made["node"][1] == receipts
