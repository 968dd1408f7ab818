"""What an operator may ask of a campaign that runs, a row each: what is checked, when it holds
already, and what the ledger's entry says. What is recorded is then done by whoever reads the
ledger: the fleet, the lab, the confirmation."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import CampaignFolder
from aarlab.core.operator_records import Act, Order
from aarlab.core.orders import CampaignEntries, Orders
from aarlab.core.records import validated
from aarlab.evaluation.confirmation.leaders import named
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.fleet.campaign import Campaign, load
from aarlab.fleet.operator_asks import record, running
from aarlab.fleet.raised_limits import extended, limit_of


class CampaignNow(NamedTuple):
    """A campaign as it is now."""

    folder: Path
    campaign: Campaign  # with the limits that were raised
    orders: Orders


class OrderKind(NamedTuple):
    """One row. `check` refuses an order that cannot be meant, and completes it; `holds` says which
    entry, or what, makes it needless; `done` is what follows."""

    event: str
    done: str
    check: Callable[[CampaignNow, Order], Order] = lambda _, order: order
    holds: Callable[[CampaignNow, Order], str | None] = lambda _, __: None


def ask_for(folder: Path, act: str, given: Mapping[str, str]) -> str:
    """As `ask`, of an order as people write it: `given` are the fields of `Order` as text, the
    limits as "minutes=60 budget.usd=5", a snapshot by the first digits of its hash, and `all` for
    everybody.

    Raises:
        As `ask`; Misconfigured: a field cannot be read.
    """
    running(folder)
    fields: dict[str, object] = {"act": act} | {n: v for n, v in given.items() if v.strip()}
    if fields.get("researcher") == "all":
        del fields["researcher"]
    if "limits" in fields:
        fields["limits"] = dict(map(_limit, str(fields["limits"]).split()))
    if "snapshot" in fields:
        fields["snapshot"] = submitted(folder, str(fields["snapshot"]))
    return ask(folder, validated(Order, fields, f"what is asked of '{folder.name}'"))


def submitted(folder: Path, prefix: str) -> str:
    """The submitted snapshot of a campaign whose hash begins so.

    Raises:
        Misconfigured: there is none, or more than one; or the campaign has no ledger yet.
    """
    with _ledger(folder) as ledger:
        return named(ledger, prefix)


def _limit(given: str) -> tuple[str, float]:
    name, _, value = given.partition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise Misconfigured(
            f"'{given[:60]}' is no limit. Write FIELD=NUMBER, such as minutes=60."
        ) from error


def ask(folder: Path, order: Order) -> str:
    """Record what an operator asks; what was recorded, as text. What holds already is not recorded
    again.

    Raises:
        Misconfigured: nobody runs the campaign, or the order names what is not there.
        Transient: its evaluator takes no entries now.
    """
    running(folder)
    with _ledger(folder) as ledger:
        orders = Orders(CampaignEntries(ledger)).now()
    campaign = extended(load(CampaignFolder(folder).settings), orders)
    scene, row = CampaignNow(folder, campaign, orders), ASKS[order.act]
    order = row.check(scene, order)
    if known := row.holds(scene, order):
        return f"Nothing to do: {known}."
    text = order.model_dump_json(exclude_defaults=True)
    # the same message again is the same entry
    same = hashlib.sha256(text.encode()).hexdigest()[:40] if order.act == "message" else None
    seq = record(folder, row.event, _words(order), order=order, row_id=same and f"op-{same}")
    return f"{row.done} (entry {seq} of the ledger)."


def _words(order: Order) -> str:
    """What an order says, for whoever reads the entry."""
    if order.act == "message":
        return f"to {order.researcher or 'all'}: {order.text}"
    if order.act == "extend":
        return ", ".join(f"{name} {value:g}" for name, value in order.limits.items())
    return order.finding or order.snapshot or ""


# --- the rows -------------------------------------------------------------------------------------


def _is_paused(scene: CampaignNow, _: Order) -> str | None:
    return scene.orders.paused and f"it is paused since entry {scene.orders.paused}"


def _runs(scene: CampaignNow, _: Order) -> str | None:
    return None if scene.orders.paused else "it is not paused"


def _known_limits(scene: CampaignNow, order: Order) -> Order:
    for name, value in order.limits.items():
        now = limit_of(scene.campaign, name)
        if now is None:
            raise Misconfigured(f"{name} has no limit in '{scene.campaign.name}': leave it out.")
        if value < now:
            raise Misconfigured(
                f"{name} is {now:g} now and cannot become {value:g}: a limit is only raised while "
                "the campaign runs. Give the new limit in all."
            )
        if isinstance(now, int) and value != int(value):
            raise Misconfigured(f"{name} is a whole number, and {value:g} is none. Round it.")
    return order


def _is_extended(scene: CampaignNow, order: Order) -> str | None:
    same = all(value == limit_of(scene.campaign, name) for name, value in order.limits.items())
    return "these are its limits" if same else None


def _reader(scene: CampaignNow, order: Order) -> Order:
    campaign = scene.campaign
    if not campaign.calls_a_model:
        raise Misconfigured(
            "Researchers of kind search read no messages: nothing in them reads words. Write to "
            "researchers that are language models."
        )
    names = [f"researcher-{n}" for n in range(1, campaign.researchers + 1)]
    if order.researcher not in (None, *names):
        raise Misconfigured(
            f"There is no researcher '{order.researcher}'. There are {names[0]} to {names[-1]}, "
            "and `all`."
        )
    return order


def _finding(scene: CampaignNow, order: Order) -> Order:
    seq = int((order.finding or "f-0")[2:])
    with _ledger(scene.folder) as ledger:
        entry = next(iter(ledger.entries(after=seq - 1, limit=1)), None)
        if entry is not None and (entry.seq, entry.kind) == (seq, "finding"):
            return order
        known = [one.seq for one in ledger.entries("finding")]
    name = scene.campaign.name
    if not known:
        raise Misconfigured(f"There is no finding '{order.finding}': '{name}' has none yet.")
    near = ", ".join(f"f-{n:06d}" for n in sorted(known, key=lambda n: abs(n - seq))[:3])
    raise Misconfigured(
        f"There is no finding '{order.finding}' in '{name}', which has {len(known)}. Near are: "
        f"{near}. The forum's page shows all."
    )


def _is_hidden(scene: CampaignNow, order: Order) -> str | None:
    seq = scene.orders.hidden.get(order.finding or "")
    return seq and f"{order.finding} is hidden since entry {seq}"


def _is_shown(scene: CampaignNow, order: Order) -> str | None:
    return None if order.finding in scene.orders.hidden else f"{order.finding} is not hidden"


def _is_queued(scene: CampaignNow, order: Order) -> str | None:
    seq = scene.orders.to_confirm.get(order.snapshot or "")
    return seq and f"it waits for its confirmation since entry {seq}"


@contextmanager
def _ledger(folder: Path) -> Iterator[Ledger]:
    """To be read, while it is open alone.

    Raises:
        Misconfigured: there is none yet.
    """
    path = CampaignFolder(folder).server.ledger
    if not path.exists():
        raise Misconfigured(
            f"The campaign '{folder.name}' is being set up. Ask again once `aar watch "
            f"{folder.name}` shows its researchers."
        )
    with closing(Ledger(path, read_only=True)) as ledger:
        yield ledger


ASKS: dict[Act, OrderKind] = {
    "pause": OrderKind(
        "asked to pause",
        "The fleet pauses: researchers end in order within half a minute, and what they "
        "submitted is kept",
        holds=_is_paused,
    ),
    "continue": OrderKind("asked to continue", "The fleet goes on", holds=_runs),
    "extend": OrderKind(
        "asked to extend",
        "The limits are raised",
        check=_known_limits,
        holds=_is_extended,
    ),
    "message": OrderKind(
        "message to researchers",
        "The message stands under the answer of each one's next call of a lab's tool",
        check=_reader,
    ),
    "hide": OrderKind(
        "asked to hide a finding",
        "Researchers no longer see it; the ledger and the pages keep it",
        check=_finding,
        holds=_is_hidden,
    ),
    "show": OrderKind(
        "asked to show a finding again",
        "Researchers see it again",
        check=_finding,
        holds=_is_shown,
    ),
    "confirm": OrderKind(
        "asked to confirm",
        "It is confirmed before the leaders, once the fleet has ended",
        holds=_is_queued,
    ),
}
