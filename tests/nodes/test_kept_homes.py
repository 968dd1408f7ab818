"""What a hub or a supervisor that was killed left of homes that were not whole is removed by the
next one, each its own."""

import os
import signal

from aarlab.core.layout import CampaignFolder, KeptHomesFolder
from aarlab.core.settings import Home
from aarlab.nodes.hub_process import run_hub
from aarlab.nodes.hub_socket import HubAddress
from aarlab.nodes.kept_homes import KeptHomes


def with_homes(folder):
    """One of each kind: on its way to the hub, packed by a supervisor, whole."""
    folder.root.mkdir(parents=True, exist_ok=True)
    made = [folder.arriving("0"), folder.packing("0"), folder.archive("0" * 64)]
    for path in made:
        path.write_bytes(b"x")
    return made


def test_what_a_killed_hub_had_not_whole_is_removed_at_the_next_start(tmp_path):
    home = Home(tmp_path)
    folder = KeptHomesFolder(CampaignFolder(home.campaigns / "c").homes)
    _, *others = with_homes(folder)
    found = []

    def ready(_):
        found.extend(folder.root.iterdir())
        os.kill(os.getpid(), signal.SIGTERM)  # the hub ends in order

    run_hub(home, HubAddress("127.0.0.1", 0), ready)
    assert {*found} == {*others}


def test_what_a_killed_supervisor_had_not_whole_is_removed_by_the_next_one(tmp_path):
    folder = KeptHomesFolder(tmp_path)
    arriving, _, whole = with_homes(folder)
    KeptHomes(folder)
    assert {*tmp_path.iterdir()} == {arriving, whole, folder.places}
