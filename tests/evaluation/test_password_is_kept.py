"""A campaign's folder that somebody else made names the server to which its reader logs in."""

import socket
import struct
import threading
from contextlib import closing

import pytest

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.layout import CampaignFolder
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.evaluation.ledger.places import Places, note_places

WORD = "the-readers-password"
NO_TLS = {80877103, 80877104}
ASKS = {"itself": struct.pack("!I", 3), "its MD5": struct.pack("!I4s", 5, b"salt")}


@pytest.fixture
def server():
    """One that asks for a password, and keeps what it is sent."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(60)
        yield listening


def _asked(listening, how, sent):
    """Serve one client that begins a session, until it has answered."""
    with listening, listening.accept()[0] as client, closing(client.makefile("rb")) as reads:
        listening.close()
        while True:
            (size,) = struct.unpack("!I", reads.read(4))
            (code,) = struct.unpack("!I", reads.read(size - 4)[:4])
            if code not in NO_TLS:
                break
            client.sendall(b"N")
        client.sendall(b"R" + struct.pack("!I", 4 + len(ASKS[how])) + ASKS[how])
        if head := reads.read(5):
            sent.append(head + reads.read(struct.unpack("!I", head[1:])[0] - 4))


@pytest.mark.parametrize("how", ASKS)
@pytest.mark.parametrize("allowed", [False, True])
def test_no_server_that_a_folder_names_is_sent_the_readers_password(
    server, tmp_path, monkeypatch, how, allowed
):
    monkeypatch.setenv("PGPASSWORD", WORD)
    monkeypatch.delenv("PGREQUIREAUTH", raising=False)
    if allowed:
        monkeypatch.setenv("PGREQUIREAUTH", "password,md5")
    place, sent = CampaignFolder(tmp_path / "theirs").server, []
    place.root.mkdir(parents=True)
    port = server.getsockname()[1]
    note_places(place.root, Places(ledger=f"postgresql://u@127.0.0.1:{port}/d", log="x"))
    serving = threading.Thread(target=_asked, args=(server, how, sent))
    serving.start()
    words = "none was sent.*PGREQUIREAUTH=password"
    with pytest.raises(Transient if allowed else Misconfigured, match=None if allowed else words):
        Ledger(place.ledger, read_only=True)
    serving.join(60)
    got = b"".join(sent)
    assert (b"p" in got[:1]) == allowed
    assert (WORD.encode() in got) == (allowed and how == "itself")
