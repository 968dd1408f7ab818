"""What the hub, the nodes and a fleet's supervisor say to each other: one JSON object a line.

Whatever comes from a node is somebody else's input: each line is read into one of these records or
the connection ends.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.records import Record
from aarlab.researchers.researcher import EndedBefore, Options

MOST_LINE = 256 << 10  # bytes of one message
CHUNK = 48 << 10  # bytes of output in one message
MOST_HOME_BYTES = 4 << 30  # of an archived home
MOST_PEM = 16 << 10
HERE = "here"  # among hosts: the lab's own machine
MOST_HOSTED = 512  # researchers of one node

R = TypeVar("R", bound=Record)
NodeName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
CampaignName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
ResearcherName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=1 << 60)]
Words = Annotated[str, Field(max_length=2_000)]


class Incarnation(Record):
    """One incarnation of a researcher; its number is the fence: of two, the later one counts."""

    campaign: CampaignName
    researcher: ResearcherName
    number: Annotated[int, Field(ge=1, le=1 << 40)]


# --- the first line of a node's connection --------------------------------------------------------


class AskAuthority(Record):
    """Send the lab's certificate. Whoever asks compares its fingerprint."""

    kind: Literal["authority"] = "authority"


class Join(Record):
    """A token, and the request for a certificate that goes with a key that stays on the node."""

    kind: Literal["join"] = "join"
    token: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{20,100}$")]
    request: Annotated[str, Field(max_length=MOST_PEM)]


class Attach(Record):
    """A node's agent is there. `code`: the digest of its aarlab."""

    kind: Literal["attach"] = "attach"
    code: Sha256
    version: Annotated[str, Field(max_length=200)]
    capacity: Annotated[int, Field(ge=1, le=MOST_HOSTED)]
    hosted: Annotated[tuple[Incarnation, ...], Field(max_length=MOST_HOSTED)] = ()


class OpenRelay(Record):
    """A connection of a researcher: what follows are its bytes."""

    kind: Literal["relay"] = "relay"
    who: Incarnation


class Fetch(Record):
    """Send the data of that hash."""

    kind: Literal["fetch"] = "fetch"
    campaign: CampaignName
    sha256: Sha256


class StoreHome(Record):
    """Keep a home: that many bytes follow, if the answer asks for them."""

    kind: Literal["store"] = "store"
    who: Incarnation
    sha256: Sha256
    size: Annotated[int, Field(ge=1, le=MOST_HOME_BYTES)]


class Reply(Record):
    """The answer to a first line. `wanted`: the bytes are to be sent; `final`: asking again is of
    no use."""

    ok: bool
    final: bool = False
    words: Words = ""
    name: str = ""
    certificate: Annotated[str, Field(max_length=MOST_PEM)] = ""
    size: Count | None = None
    wanted: bool = False


# --- the connection by which a node is led --------------------------------------------------------


class Alive(Record):
    """Sent often, so that silence means something."""

    kind: Literal["alive"] = "alive"


class Output(Record):
    """Bytes that a researcher's program has printed; `at`: how many came before."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    kind: Literal["output"] = "output"
    who: Incarnation
    at: Count
    data: Annotated[bytes, Field(max_length=CHUNK)]


class UsageReport(Record):
    """What its sandbox uses."""

    kind: Literal["used"] = "used"
    who: Incarnation
    cpu_s: Annotated[float, Field(ge=0, le=1e12)]
    memory_bytes: Count
    disk_bytes: Count
    processes: Count
    unwritten: Words = ""  # why its output cannot be written on its node now


class IncarnationBegun(Record):
    """Its program was started."""

    kind: Literal["begun"] = "begun"
    who: Incarnation


class IncarnationEnded(Record):
    """Its program has ended, and all of its output was sent. `fault`: what was not its own fault,
    as text: it could not be started, or its node was stopped."""

    kind: Literal["over"] = "over"
    who: Incarnation
    code: Annotated[int, Field(ge=-255, le=255)]
    fault: Words = ""
    # why its home could not be kept, as text
    not_kept: Words = ""


FromNode = Alive | Output | UsageReport | IncarnationBegun | IncarnationEnded


class HomeKept(Record):
    """The hub has kept a home; it is the hub that says so."""

    kind: Literal["home"] = "home"
    who: Incarnation
    sha256: Sha256
    size: Count


class StandingLimits(Record):
    """Limits of a sandbox, as `sandbox.Standing`."""

    memory_bytes: Count | None
    pids: Count | None
    cpus: float | None
    disk_bytes: Count | None


class Begin(Record):
    """Start an incarnation, or, where it runs already, go on with its output from `output_from`.

    `data`, `brief`, `home`: hashes to fetch by. What the node has of its home counts where it is of
    that `lineage` and the incarnation `before`, or a later one, used it; else `home` replaces it.
    """

    kind: Literal["begin"] = "begin"
    who: Incarnation
    researcher_kind: Annotated[str, Field(max_length=100)]
    options: Options
    session: Annotated[str, Field(max_length=100)]
    begun: bool
    ended: EndedBefore | None
    sandbox: Annotated[str, Field(max_length=40)]
    limits: StandingLimits
    devices: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    data: Sha256
    brief: Sha256
    home: Sha256 | None
    before: Count
    lineage: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    grace_s: Annotated[float, Field(gt=0, le=1e7)]
    keep_home_s: Annotated[float, Field(gt=0, le=1e7)]
    output_from: Count = 0


class Stop(Record):
    """End an incarnation: in order, or at once; then it is forgotten."""

    kind: Literal["stop"] = "stop"
    who: Incarnation
    at_once: bool


class Ack(Record):
    """So many bytes of its output have come."""

    kind: Literal["ack"] = "ack"
    who: Incarnation
    at: Count


class KeepOnly(Record):
    """All incarnations of a campaign that are this node's. It ends every other one of that
    campaign."""

    kind: Literal["wanted"] = "wanted"
    campaign: CampaignName
    who: Annotated[tuple[Incarnation, ...], Field(max_length=MOST_HOSTED)]


ToNode = Alive | Begin | Stop | Ack | KeepOnly

# --- the hub's own socket, on its machine ---------------------------------------------------------


class AskStatus(Record):
    """Which nodes are there."""

    kind: Literal["status"] = "status"


class LookAgain(Record):
    """A node was revoked: cut its connections now."""

    kind: Literal["look"] = "look"


class AttachCampaign(Record):
    """A fleet's supervisor. As long as this connection is open, its researchers may run on
    nodes."""

    kind: Literal["campaign"] = "campaign"
    name: CampaignName
    homes: str  # the folder of kept homes


class Assign(Record):
    """This incarnation is that node's from now on. `gate`: the folder of its socket of the gateway;
    `files`: where the data of a hash are."""

    kind: Literal["assign"] = "assign"
    node: NodeName
    gate: str
    files: dict[Sha256, str]
    begin: Begin


class Release(Record):
    """An incarnation is over: nobody may speak for it any more."""

    kind: Literal["release"] = "release"
    who: Incarnation


FromSupervisor = Alive | Assign | Release | Stop | Ack


class NodeNow(Record):
    """A node as the hub sees it."""

    kind: Literal["node"] = "node"
    name: NodeName
    attached: bool
    # s since it was last heard; None: never by this hub
    silent_s: float | None = None
    capacity: int = 0
    hosted: int = 0
    address: str = ""
    version: str = ""
    refused: Words = ""  # why it is not attached, if it tried


class HubStatus(Record):
    """The answer to `AskStatus`."""

    listen: str
    nodes: tuple[NodeNow, ...]
    campaigns: tuple[str, ...]


def adapter(union: Any) -> TypeAdapter[Any]:
    """The reader of one of the unions above, chosen by `kind`."""
    return TypeAdapter(Annotated[union, Field(discriminator="kind")])


OPENINGS = adapter(AskAuthority | Join | Attach | OpenRelay | Fetch | StoreHome)
FROM_NODE, TO_NODE = adapter(FromNode), adapter(ToNode)
LOCAL_OPENINGS = adapter(AskStatus | LookAgain | AttachCampaign)
FROM_SUPERVISOR = adapter(FromSupervisor)
TO_SUPERVISOR = adapter(
    NodeNow | Output | UsageReport | IncarnationBegun | IncarnationEnded | HomeKept
)


def read(reader: TypeAdapter[Any], line: bytes) -> Any:
    """The record in a line.

    Raises:
        InvalidSubmission: it is none of those that may stand here; the words do not quote it.
    """
    try:
        return reader.validate_json(line)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part)[:40] for part in found["loc"]) or "all"
        raise InvalidSubmission(
            f"A message is not one that is expected here ({place}: {found['msg'][:200]}). Both "
            "sides must have the same aarlab."
        ) from error


def line_of(record: Record) -> bytes:
    """A record as it is sent."""
    return record.model_dump_json().encode() + b"\n"


def read_hub(kind: type[R], line: bytes) -> R:
    """The hub's answer on its own machine.

    Raises:
        Misconfigured: it is another aarlab's.
    """
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        raise Misconfigured(
            "The hub that runs is of another version. Start it again: aar node hub."
        ) from error
