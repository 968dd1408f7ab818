"""Where the researchers of a campaign run: on this machine, or on nodes of the lab."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from aarlab.core.cluster_layout import NodesFolder
from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.files import write_whole
from aarlab.core.held_folder import HeldFolder
from aarlab.core.layout import CampaignFolder, KeptHomesFolder
from aarlab.core.settings import home
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.incarnation import incarnation_start, log_of, start_incarnation
from aarlab.fleet.member import Member
from aarlab.models.preset import FROZEN
from aarlab.nodes.hub_socket import status
from aarlab.nodes.kept_homes import KeptHomes
from aarlab.nodes.messages import HERE, Assign, Begin, Incarnation, StandingLimits
from aarlab.nodes.node_client import NodeClient
from aarlab.nodes.node_table import NodeTable
from aarlab.problems.folder.shipped_folders import problem_of
from aarlab.runs.data_pack import hash_of, pack
from aarlab.sandbox.sandbox import MakeSandbox

WAIT_S = 20.0  # for nodes that are connecting just now
# of one researcher, in a row: ends that its host says are not the researcher's doing, and before
# which it did nothing; then another host is taken for so long
MOST_FAULTS, AVOID_S = 3, 3600.0


class Here:
    """All researchers run on this machine."""

    def __init__(self, public: Path, make_sandbox: MakeSandbox) -> None:
        self._public, self._make_sandbox = public, make_sandbox

    def choose(self, member: Member) -> str:
        """The host on which it is to run.

        Raises:
            Transient: there is none now.
        """
        del member
        return HERE

    def words(self, host: str) -> str | None:
        """For the record of an incarnation's start; None where there is one host alone."""
        del host
        return None

    def start(self, campaign: Campaign, member: Member, host: str, gate: Path) -> None:
        """Start its incarnation there; `gate`: the folder of its socket of the gateway."""
        del host
        start_incarnation(campaign, self._public, member, gate, self._make_sandbox)

    def step(self, campaign: Campaign) -> None:
        """Look after the hosts."""
        del campaign

    def ended(self, member: Member, *, acted: bool) -> None:
        """Its incarnation is over; `acted`: it did something in it."""
        del member, acted

    def alarms(self) -> list[str]:
        """What somebody should look at."""
        return []


class Hosts(Here):
    """Researchers run on the campaign's hosts, evenly by what each may take. One whose node is lost
    for longer than the campaign waits goes on elsewhere, from the home that was kept last."""

    def __init__(
        self,
        campaign: Campaign,
        public: Path,
        make_sandbox: MakeSandbox,
        members: Sequence[Member],
        *,
        client: NodeClient,
        homes: KeptHomes,
        packs: Path,
    ) -> None:
        super().__init__(public, make_sandbox)
        self._names, self._members = campaign.hosts, members
        self._client, self._homes, self._packs = client, homes, packs
        self._data = self._packed(public)
        self._not_kept: dict[str, str] = {}  # researcher -> why its home was not
        self._faults: Counter[tuple[str, str]] = Counter()  # by researcher and host, in a row
        # by researcher and host: until when it is not taken, and the host's words
        self._avoided: dict[tuple[str, str], tuple[float, str]] = {}

    def wait(self) -> None:
        """For nodes that are connecting just now."""
        until = time.monotonic() + WAIT_S
        while not all(map(self._up, self._names)) and time.monotonic() < until:
            time.sleep(0.1)

    # --- where ------------------------------------------------------------------------------------

    def choose(self, member: Member) -> str:
        """See `Here.choose`: where it was, if that is there; else where most room is."""
        there = [name for name in self._names if self._up(name)]
        if not there:
            raise Transient(f"No host is there: {', '.join(map(self._state, self._names))}")
        mine = Counter(m.host for m in self._members if m.process is not None)
        # other campaigns' researchers count, too
        busy = {name: max(mine[name], self._client.node(name).hosted) for name in there}
        free = [name for name in there if busy[name] < self._capacity(name)]
        if not free:
            full = ", ".join(f"{name} has {busy[name]}" for name in there)
            raise Transient(
                f"{member.name} waits for room on a host: {full}. Add a host, or start an agent "
                "with more room: aar node serve --capacity N"
            )
        free = [name for name in free if (member.name, name) not in self._avoided] or free
        place = self._homes.of(member.name)
        if place is not None and place.host in free:
            return place.host
        return min(free, key=lambda name: (busy[name] / self._capacity(name), name))

    def words(self, host: str) -> str | None:
        """See `Here.words`."""
        return f"on {host}"

    def _up(self, name: str) -> bool:
        node = self._client.node(name)
        return name == HERE or node.attached

    def _capacity(self, name: str) -> int:
        return max(1, len(self._members)) if name == HERE else self._client.node(name).capacity

    def _state(self, name: str) -> str:
        node = self._client.node(name)
        if node.refused:
            return f"{name} ({node.refused})"
        return f"{name} (not connected: start `aar node serve` on it)"

    # --- starting ---------------------------------------------------------------------------------

    def start(self, campaign: Campaign, member: Member, host: str, gate: Path) -> None:
        """See `Here.start`."""
        place = self._homes.of(member.name)
        if host == HERE:
            self._homes.bring_back(member.name, member.home)
            self._homes.begun(member.name, HERE, member.incarnation)
            member.host = HERE
            super().start(campaign, member, host, gate)
            return
        if (place is None and member.begun) or (place is not None and place.host == HERE):
            before = place.latest if place else member.incarnation - 1
            self._homes.keep_local(member.name, member.home, before)
            place = self._homes.of(member.name)
        brief = self._packed(member.brief_folder)
        files = {digest: str(self._packs / digest) for digest in (self._data, brief)}
        if place is not None and place.home is not None:
            files[place.home] = str(self._homes.folder.archive(place.home))
        begin = Begin(
            who=Incarnation(
                campaign=campaign.name, researcher=member.name, number=member.incarnation
            ),
            researcher_kind=campaign.kind,
            options=campaign.options,
            **incarnation_start(member).model_dump(include={"session", "begun", "ended"}),
            sandbox=campaign.sandbox,
            limits=StandingLimits(**vars(campaign.limits.standing)),
            devices=campaign.devices,
            data=self._data,
            brief=brief,
            home=place.home if place else None,
            before=place.latest if place else 0,
            lineage=self._homes.lineage,
            grace_s=60 * campaign.host_grace_minutes,
            keep_home_s=60 * campaign.keep_home_minutes,
        )
        self._homes.begun(member.name, host, 0)
        member.log = log_of(member)
        member.log.parent.mkdir(parents=True, exist_ok=True)
        assign = Assign(node=host, gate=str(gate), files=files, begin=begin)
        remote = self._client.begin(assign, member.log)
        member.sandbox = member.process = remote
        member.host = host

    def _packed(self, folder: Path) -> str:
        """The hash of a folder, which is packed for nodes."""
        data = pack(folder)
        digest = hash_of(data)
        if not (self._packs / digest).exists():
            write_whole(self._packs / digest, data)
        return digest

    # --- looking after them -----------------------------------------------------------------------

    def ended(self, member: Member, *, acted: bool) -> None:
        """See `Here.ended`. Nobody but the node knows whether such an end was the node's: it is
        believed, but not for ever."""
        place = member.name, member.host
        if acted or not member.fault:
            del self._faults[place]
            return
        self._faults[place] += 1
        if self._faults[place] >= MOST_FAULTS:
            del self._faults[place]
            self._avoided[place] = time.monotonic() + AVOID_S, member.fault

    def step(self, campaign: Campaign) -> None:
        """Give up whose node is lost for too long, or was revoked; write what waits for room."""
        most_s, now = 60 * campaign.host_grace_minutes, time.monotonic()
        self._avoided = {place: one for place, one in self._avoided.items() if one[0] > now}
        self._homes.write_again()
        for remote in self._client.running():
            remote.write()
        for remote in self._client.running():
            node = self._client.node(remote.host)
            if remote.not_kept:
                self._not_kept[remote.who.researcher] = remote.not_kept
            if node.refused:
                remote.lose(f"{remote.host} was lost: {node.refused}")
            elif (silent_s := now - remote.heard_at) > most_s:
                remote.lose(f"{remote.host} was lost: not heard for {silent_s:.0f} s")

    def alarms(self) -> list[str]:
        """See `Here.alarms`."""
        if not self._client.connected:
            return ["the hub of the nodes is down: start it again, aar node hub"]
        lost = [n for n in self._names if not self._up(n)]
        kept = [f"the home of {name} was not kept: {why}" for name, why in self._not_kept.items()]
        lost_words = [f"host {self._state(name)} is lost" for name in lost]
        return [*lost_words, *kept, *self._avoided_words(), *self._full_words()]

    def _avoided_words(self) -> Iterator[str]:
        for (name, host), (_, fault) in self._avoided.items():
            yield (
                f"host {host} ended {name} {MOST_FAULTS} times in a row before it did anything, "
                f"and says that it is not {name}'s doing ({fault[:300]}): {name} goes on on "
                f"another host, if one has room. Look at {host}; `aar node revoke {host}` takes it "
                "out"
            )

    def _full_words(self) -> Iterator[str]:
        if why := self._homes.unwritten:
            yield f"which homes were kept cannot be written down ({why}): make room on this disk"
        for remote in self._client.running():
            if remote.unwritten:
                yield (
                    f"what {remote.who.researcher} prints cannot be written ({remote.unwritten}): "
                    f"it waits on {remote.host}, and nothing is lost. Make room on this disk"
                )


@contextmanager
def hosts_of(
    campaign: Campaign,
    folder: Path,
    members: Sequence[Member],
    public: Path,
    make_sandbox: MakeSandbox,
) -> Iterator[Here]:
    """Where the campaign's researchers run, until the block ends.

    Raises:
        Misconfigured: no hub runs, or what researchers see cannot travel to nodes.
    """
    if not campaign.hosts:
        yield Here(public, make_sandbox)
        return
    homes = KeptHomes(KeptHomesFolder(CampaignFolder(folder).homes))
    client = NodeClient(NodesFolder(home().nodes), campaign.name, homes)
    with HeldFolder() as packs:
        client.start()
        try:
            kept = {"client": client, "homes": homes, "packs": packs.path}
            made = Hosts(campaign, public, make_sandbox, members, **kept)
            made.wait()
            yield made
        finally:
            client.close()


def require_host(name: str) -> None:
    """Raise where a host of a campaign is not there.

    Raises:
        Misconfigured: the message says which, why, and what to do.
    """
    if name == HERE:
        return
    nodes = NodesFolder(home().nodes)
    known = NodeTable(nodes.table).all() if nodes.table.exists() else []
    found = next((node for node in known if node.name == name), None)
    if found is None or found.state != "joined":
        why = "there is no node of that name" if found is None else f"its state is: {found.state}"
        raise Misconfigured(
            f"Host {name}: {why}. Print the line that makes a machine this node: aar node invite "
            f"{name}. Or take it out of `hosts`."
        )
    until = time.monotonic() + WAIT_S
    while True:
        now = {node.name: node for node in status(nodes).nodes}.get(name)
        if now is not None and now.attached:
            return
        if now is not None and now.refused:
            raise Misconfigured(f"Host {name}: {now.refused}.")
        if time.monotonic() > until:
            raise Misconfigured(
                f"Host {name} is not connected. Start its agent on it: aar node serve. Or take it "
                "out of `hosts`."
            )
        time.sleep(0.2)


def require_hostable(campaign: Campaign) -> None:
    """Raise where what the campaign's researchers need cannot be on other machines.

    Raises:
        Misconfigured: the message says what.
    """
    if not any(name != HERE for name in campaign.hosts):
        return
    why = None
    if campaign.kind.endswith(".py"):
        why = f"the kind of researcher {campaign.kind} is a file of this machine"
    elif not campaign.in_folder and campaign.student not in FROZEN:
        why = f"the strong model ({campaign.student}) is on this machine"
    elif campaign.sandbox == "directory":
        why = "the sandbox directory isolates nothing"
    elif campaign.sandbox == "docker":
        why = "containers of docker do not end with a node's agent"
    elif campaign.in_folder and problem_of(campaign.problem).contract.weights is not None:
        why = f"the weights that {campaign.problem} names are on this machine"
    if why:
        raise Misconfigured(f"hosts: {why}, and that is not supported on nodes yet. Leave it out.")
