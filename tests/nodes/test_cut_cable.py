"""A campaign over two nodes, of which one is cut off for a minute: nothing is lost, nobody moves,
and the minute is charged to nobody."""

import socket
import threading
import time
from contextlib import suppress

import pytest

from experiments.nodes_lab import aar
from tests.nodes.lab_of_nodes import LabOfNodes
from tests.nodes.test_lost_node import begun, ended

pytestmark = [pytest.mark.process, pytest.mark.cluster, pytest.mark.timeout(900)]
CUT_S = 60.0


class Cable:
    """Between a node and the hub. While it is cut nothing passes, and neither side is informed."""

    def __init__(self, hub_port):
        self._hub_port, self.whole = hub_port, threading.Event()
        self.whole.set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self):
        with suppress(OSError), self._listening:  # until it is shut
            while True:
                near, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near):
        self.whole.wait()
        with near, socket.create_connection(("127.0.0.1", self._hub_port)) as far:
            ways = [
                threading.Thread(target=self._carry, args=ends, daemon=True)
                for ends in ((near, far), (far, near))
            ]
            for way in ways:
                way.start()
            for way in ways:
                way.join()

    def _carry(self, source, sink):
        with suppress(OSError):
            while piece := source.recv(1 << 16):
                self.whole.wait()
                sink.sendall(piece)
        self.whole.wait()
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)


def test_a_node_that_is_cut_off_for_a_minute_loses_nothing_and_nobody_moves(home, tmp_path):
    with LabOfNodes(tmp_path / "machines", home.root) as lab:
        cable = Cable(lab.port)
        lab.join("alpha")
        words = [word.replace(str(lab.port), str(cable.port)) for word in lab.invite("beta")]
        assert str(cable.port) in words[2]
        assert aar(lab.of("beta"), *words, "--no-serve").returncode == 0
        lab.serve("alpha")
        lab.serve("beta")
        running = begun(lab, "cut", grace="host_grace_minutes=5")
        (far,) = (m.name for m in lab.fleet("cut").values() if m.host == "beta")
        cable.whole.clear()
        time.sleep(CUT_S)
        assert not lab.sees("beta")
        before = lab.submitted("cut")[far]
        cable.whole.set()
        ended(lab, "cut", running)
        assert lab.submitted("cut")[far] > before
        assert {m.incarnation for m in lab.fleet("cut").values()} == {1}
        lost_s = sum(e.body.get("lost_s") or 0 for e in lab.entries("cut") if e.who == far)
        assert lost_s > CUT_S / 2
    cable.close()
