"""Campaigns as Prometheus metrics: what `aar watch` and the pages show, as numbers that a monitor
keeps. The reported level is among them, and no exact score.

The server belongs to the operator and reads as an onlooker: no researcher reaches it from a
sandbox.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from uvicorn import Server

from aarlab.core.errors import AarError, Misconfigured
from aarlab.core.http import configured, listen, serve
from aarlab.core.layout import Home
from aarlab.core.printable import one_line
from aarlab.fleet.alarms import alarms
from aarlab.fleet.spends import Tally
from aarlab.fleet.state import FleetState
from aarlab.web.access import HEADERS, NAMES
from aarlab.web.campaign_book import CampaignBook
from aarlab.web.open_campaigns import OpenCampaign, OpenCampaigns

if TYPE_CHECKING:
    from prometheus_client.core import Metric

INSTALL = "prometheus-client is not installed. Run `pip install 'aarlab[metrics]'`."
KEEP_ALIVE_S, STOP_S = 75, 2


class Sample(NamedTuple):
    """One number: of which metric, with which labels."""

    metric: str
    labels: tuple[str, ...]
    value: float


# name -> what it is, labels beside the campaign's name; counters end in _total
METRICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "aar_readable": ("1 if the campaign's files can be read now", ()),
    "aar_running": ("1 while a process runs the campaign", ()),
    "aar_ledger_entries": ("entries of the ledger", ()),
    "aar_submissions_total": ("submissions", ("researcher",)),
    "aar_improvements_total": ("submissions that were reported an improvement", ("researcher",)),
    "aar_findings_total": ("findings in the forum", ("researcher",)),
    "aar_flags_total": ("flags that detectors raised", ("submitter",)),
    "aar_verdicts": ("claims by their latest verdict", ("verdict",)),
    "aar_reported_level_pgr": ("level that was reported for the label set, in PGR", ()),
    "aar_certified_level_pgr": ("with 95 % confidence the level is at least this good, in PGR", ()),
    "aar_released_bits": ("bits that answers have released about the labels, at most", ()),
    "aar_released_bits_cap": ("bits after which nothing more is released", ()),
    "aar_wall_seconds_total": ("seconds that researchers ran", ("researcher",)),
    "aar_processor_seconds_total": ("seconds of processors in sandboxes", ("researcher",)),
    "aar_known_usd_total": ("dollars spent, where the price is known", ("researcher",)),
    "aar_spends_without_price_total": ("spends whose price is not known", ("researcher",)),
    "aar_tokens_total": ("tokens of model calls", ("researcher", "model", "kind")),
    "aar_model_calls_total": ("model calls", ("researcher", "model")),
    "aar_researchers": ("researchers by what they do now", ("state",)),
    "aar_restarts": ("incarnations that ended by the researcher's own fault", ("researcher",)),
    "aar_memory_bytes": ("memory of a researcher's sandbox", ("researcher",)),
    "aar_disk_bytes": ("disk of a researcher's sandbox", ("researcher",)),
    "aar_alarms": ("what somebody should look at", ()),
}


class CampaignCollector:
    """What prometheus-client asks for numbers at each scrape."""

    def __init__(self, home: Home) -> None:
        self._campaigns = OpenCampaigns(home)

    def collect(self) -> "Iterator[Metric]":
        """Every metric of every campaign, as it is now."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        found = {}
        for name, (what, labels) in METRICS.items():
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            found[name] = kind(name, what, labels=("campaign", *labels))
        for name in self._campaigns.names():
            for sample in samples(self._campaigns.get(name)):
                labels = [one_line(label, 100) for label in (name, *sample.labels)]
                found[sample.metric].add_metric(labels, sample.value)
        yield from found.values()

    def close(self) -> None:
        """Close every ledger."""
        self._campaigns.close()


def samples(campaign: OpenCampaign) -> list[Sample]:
    """All numbers of one campaign; of one whose files cannot be read now, that alone."""
    try:
        found = list(_samples(campaign))
    except AarError:
        return [Sample("aar_readable", (), 0)]
    return [Sample("aar_readable", (), 1), *found]


def _samples(campaign: OpenCampaign) -> Iterator[Sample]:
    yield Sample("aar_running", (), campaign.standing().startswith("running"))
    state = campaign.state()
    if not campaign.has_ledger:
        return
    with campaign.book.reading() as book:
        yield from _recorded(book)
        yield Sample("aar_alarms", (), len(alarms(state, book, time.time())))
    if state is not None:
        yield from _fleet(state)


def _recorded(book: CampaignBook) -> Iterator[Sample]:
    """What the ledger says."""
    yield Sample("aar_ledger_entries", (), book.seq)
    for name, work in list(book.by_name.items()):
        yield Sample("aar_submissions_total", (name,), work.experiments)
        yield Sample("aar_improvements_total", (name,), work.improvements)
        yield Sample("aar_findings_total", (name,), work.findings)
        if work.flags:
            yield Sample("aar_flags_total", (name,), work.flags)
    for verdict, count in Counter(s.verdict for s in book.settled.values()).items():
        yield Sample("aar_verdicts", (verdict,), count)
    known = {
        "aar_reported_level_pgr": book.level_pgr,
        "aar_certified_level_pgr": book.certified[-1][1] if book.certified else None,
        "aar_released_bits": book.released and book.released.bits,
        "aar_released_bits_cap": book.released and book.released.cap_bits,
    }
    yield from (Sample(name, (), value) for name, value in known.items() if value is not None)
    for name, mine in list(book.researchers.items()):
        yield from _spent(name, mine.tally)


def _spent(name: str, tally: Tally) -> Iterator[Sample]:
    spent = tally.spent
    yield Sample("aar_wall_seconds_total", (name,), spent.wall_s)
    yield Sample("aar_processor_seconds_total", (name,), spent.cpu_s)
    yield Sample("aar_known_usd_total", (name,), spent.usd)
    unpriced = tally.unpriced_charges + tally.unpriced_calls
    yield Sample("aar_spends_without_price_total", (name,), unpriced)
    for model, count in tally.calls.items():
        yield Sample("aar_model_calls_total", (name, model), count)
    for (model, kind), count in tally.tokens.items():
        yield Sample("aar_tokens_total", (name, model, kind), count)


def _fleet(state: FleetState) -> Iterator[Sample]:
    """What the supervisor said last."""
    for what, count in Counter(member.state for member in state.members).items():
        yield Sample("aar_researchers", (what,), count)
    for member in state.members:
        yield Sample("aar_restarts", (member.name,), member.restarts)
        yield Sample("aar_memory_bytes", (member.name,), member.memory_bytes)
        yield Sample("aar_disk_bytes", (member.name,), member.disk_bytes)


# --- the server -----------------------------------------------------------------------------------


def application(collector: CampaignCollector) -> Starlette:
    """`/metrics`, in the format that the monitor asks for.

    Raises:
        Misconfigured: prometheus-client is not installed.
    """
    try:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder
    except ImportError as error:
        raise Misconfigured(INSTALL) from error
    registry = CollectorRegistry()
    registry.register(collector)

    def metrics(request: Request) -> Response:
        if words := _refusal(request.headers.get("host", "")):
            return PlainTextResponse(words, 421)
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers=HEADERS | {"Content-Type": kind})

    return Starlette(routes=[Route("/metrics", metrics)])


def _refusal(host: str) -> str:
    """Why a request by another name is not answered: a page elsewhere may have sent it."""
    if host.rpartition(":")[0] in NAMES or host in NAMES:
        return ""
    return (
        "aar metrics answers to the names 127.0.0.1 and localhost only: let the monitor ask "
        "127.0.0.1, and forward the port by ssh -L from another machine.\n"
    )


def run(home: Home, port: int, say: Callable[[str], None]) -> None:
    """Serve on loopback until SIGINT or SIGTERM; `say` is given the address.

    Raises:
        Misconfigured: the port is taken, or prometheus-client is not installed.
    """
    collector = CampaignCollector(home)
    app, sockets = application(collector), listen(port)
    config = configured(app, keep_alive_s=KEEP_ALIVE_S, stop_s=STOP_S)

    async def announce(url: str) -> None:
        say(f"{url}/metrics")

    try:
        asyncio.run(serve(Server(config), sockets, announce))
    finally:
        collector.close()
