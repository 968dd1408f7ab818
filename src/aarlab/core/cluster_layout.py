"""Names on disk of what several machines share: the folder of runs on Slurm, what a lab keeps of
its nodes, and what a node keeps. All other names are in `layout.py`."""

from pathlib import Path

from aarlab.core.layout import At, Folder


class SlurmFolder(Folder):
    """What a process and its workers in Slurm share. A job is a file that moves, by rename, from
    `waiting` to `leased`; its end is another file."""

    state = At("state.json")  # of the process that submits: a number that grows, and what it sees
    closed = At("closed")  # it is there: workers end
    leased = At("leased")
    ends = At("ends")
    workers = At("workers")
    logs = At("logs")

    @property
    def home(self) -> Path:
        """The state folder in which it is (`Home.slurm`)."""
        return self.root.parent.parent

    def waiting(self, size: str) -> Path:
        return self.root / "waiting" / size

    def pack(self, name: str) -> Path:
        return self.root / "data" / name

    def worker(self, name: str) -> Path:
        return self.workers / f"{name}.json"

    def allowance(self, key: str) -> Path:
        return self.root / "allowed" / f"{key}.json"


class NodesFolder(Folder):
    """What the lab keeps of its nodes."""

    authority = At("authority.pem")  # the certificate by which all others are checked
    authority_key = At("authority.key")
    hub_certificate = At("hub.pem")
    hub_key = At("hub.key")
    table = At("nodes.sqlite")  # invitations and certificates
    lock = At("lock")
    hub_lock = At("hub.lock")
    address = At("hub.json")  # where the hub is, while one runs
    dial = At("dial.json")  # at which address nodes reach it, as it was last started


class NodeFolder(Folder):
    """What a node keeps: who it is, and the homes of those whom it hosts."""

    key = At("node.key")  # made here; it never leaves
    certificate = At("node.pem")
    authority = At("lab.pem")
    settings = At("node.json")
    lock = At("agent.lock")
    homes = At("homes")  # by campaign and researcher; beside each, which incarnation used it last
    logs = At("logs")
