"""The stream of events: its ids are numbers of ledger entries, and a page resumes by them."""

import asyncio

import pytest

from aarlab.core.errors import Transient
from aarlab.web import live_events
from aarlab.web.live_events import WatchedCampaign, event, events, number_in
from tests.fleet.fleets import fleet, submission
from tests.web.scenes import ledger_of, small


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(live_events, "LOOK_S", 0.01)
    monkeypatch.setattr(live_events, "REST_S", 0.03)


class Followed:
    """A stream that is read step by step."""

    def __init__(self, campaign, seen: int | None) -> None:
        self.over = False
        self.stream = events(WatchedCampaign(campaign, lambda: self.over), seen)

    async def next(self) -> bytes:
        return await asyncio.wait_for(anext(self.stream), 30)

    async def quiet(self) -> bool:
        try:
            await asyncio.wait_for(anext(self.stream), 0.2)
        except TimeoutError:
            return True
        return False


async def _all(stream) -> list[bytes]:
    return [reported async for reported in stream]


def grown(home, number: int) -> None:
    ledger = ledger_of(home)
    ledger.append("submission", "researcher-2", submission(number, improved=False, level=0.42))
    ledger.close()


def test_an_event_says_only_which_entry_is_the_last(tmp_path):
    campaign = small(tmp_path).pages.campaigns.get("small")

    async def follow() -> None:
        stream = Followed(campaign, None)
        assert await stream.next() == b"retry: 2000\n\n"
        assert await stream.quiet()
        stream = Followed(campaign, campaign.stamp()[0])
        await stream.next()
        grown(tmp_path, 4)
        seq = campaign.stamp()[0]
        assert await stream.next() == event(seq)
        assert event(seq) == b'id: %d\nevent: changed\ndata: {"seq": %d}\n\n' % (seq, seq)

    asyncio.run(follow())


def test_a_page_that_lost_its_connection_is_sent_what_it_missed_at_once(tmp_path):
    campaign = small(tmp_path).pages.campaigns.get("small")
    before = campaign.stamp()[0]
    grown(tmp_path, 4)

    async def follow(seen: int) -> None:
        stream = Followed(campaign, seen)
        await stream.next()
        assert await stream.next() == event(before + 1)
        assert await stream.quiet(), "once"

    asyncio.run(follow(before))
    asyncio.run(follow(1))


def test_an_id_of_another_ledger_is_no_reason_to_be_silent(tmp_path):
    campaign = small(tmp_path).pages.campaigns.get("small")

    async def follow() -> None:
        stream = Followed(campaign, 10_000)
        await stream.next()
        assert await stream.quiet()
        stream = Followed(campaign, 10_000)
        await stream.next()
        reading = asyncio.ensure_future(stream.next())
        await asyncio.sleep(0.1)
        grown(tmp_path, 4)
        assert await reading == event(campaign.stamp()[0])

    asyncio.run(follow())


def test_a_new_state_of_the_fleet_is_an_event_with_the_same_id(tmp_path):
    campaign = small(tmp_path).pages.campaigns.get("small")

    async def follow() -> None:
        stream = Followed(campaign, campaign.stamp()[0])
        await stream.next()
        reading = asyncio.ensure_future(stream.next())
        await asyncio.sleep(0.1)
        fleet().write(tmp_path / "campaigns" / "small")
        assert await reading == event(campaign.stamp()[0])

    asyncio.run(follow())


def test_a_ledger_that_cannot_be_read_just_now_ends_no_stream(tmp_path, monkeypatch):
    campaign = small(tmp_path).pages.campaigns.get("small")

    def cannot() -> None:
        raise Transient("not now")

    async def follow() -> None:
        stream = Followed(campaign, campaign.stamp()[0])
        await stream.next()
        reading = asyncio.ensure_future(stream.next())
        await asyncio.sleep(0.05)
        with monkeypatch.context() as patch:
            patch.setattr(campaign, "stamp", cannot)
            grown(tmp_path, 4)
            await asyncio.sleep(0.1)
            assert not reading.done()
        assert await reading == event(campaign.stamp()[0])

    asyncio.run(follow())


def test_many_pages_look_at_the_ledger_once(tmp_path, monkeypatch):
    campaign = small(tmp_path).pages.campaigns.get("small")
    looked, stamp = [], campaign.stamp
    monkeypatch.setattr(live_events, "LOOK_S", 60.0)
    monkeypatch.setattr(campaign, "stamp", lambda: looked.append(1) or stamp())

    async def follow() -> None:
        watched = WatchedCampaign(campaign, lambda: False)
        streams = [events(watched, 1) for _ in range(20)]
        for stream in streams:
            await anext(stream)
        assert len(set(await asyncio.gather(*map(anext, streams)))) == 1
        for stream in streams:
            await stream.aclose()

    asyncio.run(follow())
    assert len(looked) == 1


def test_all_pages_are_told_of_the_same_entry(tmp_path):
    campaign = small(tmp_path).pages.campaigns.get("small")

    async def follow() -> None:
        watched = WatchedCampaign(campaign, lambda: False)
        streams = [events(watched, None) for _ in range(20)]
        for stream in streams:
            await anext(stream)
        reading = [asyncio.ensure_future(anext(stream)) for stream in streams]
        await asyncio.sleep(0.1)
        grown(tmp_path, 4)
        reported = await asyncio.wait_for(asyncio.gather(*reading), 30)
        assert set(reported) == {event(campaign.stamp()[0])}
        for stream in streams:
            await stream.aclose()

    asyncio.run(follow())


def test_nobody_looks_once_the_last_page_is_gone(tmp_path, monkeypatch):
    campaign = small(tmp_path).pages.campaigns.get("small")
    looked, stamp = [], campaign.stamp

    async def follow() -> None:
        watched = WatchedCampaign(campaign, lambda: False)
        async with watched.followed():
            assert watched.announced == campaign.stamp()
        await asyncio.wait_for(watched.news.wait(), 30)
        assert watched.announced is None
        monkeypatch.setattr(campaign, "stamp", lambda: looked.append(1) or stamp())
        await asyncio.sleep(0.1)
        assert not looked
        async with watched.followed():
            assert looked, "the next page starts it again"

    asyncio.run(follow())


def test_pages_that_were_told_of_the_same_entry_are_made_once(tmp_path, monkeypatch):
    browser = small(tmp_path)
    pages, made = browser.pages, []
    campaign, make = pages.campaigns.get("small"), pages._page
    monkeypatch.setattr(pages, "_page", lambda *asked: made.append(1) or make(*asked))
    watched = pages._watched["small"] = WatchedCampaign(campaign, lambda: False)

    def asked() -> str:
        return browser.get("/campaign/small/live", **{"aar-part": "main"}).text

    watched.announced = campaign.stamp()
    first = asked()
    grown(tmp_path, 4)
    assert asked() == first
    assert len(made) == 1
    watched.announced = campaign.stamp()
    assert asked() != first, "the next announcement shows what is new"
    assert len(made) == 2
    grown(tmp_path, 5)
    before = len(made)
    assert browser.get("/campaign/small/live").text != browser.get("/campaign/small/board").text
    assert len(made) == before + 2, "a page that is opened is made of what there is now"


def test_a_quiet_stream_says_that_it_is_there_and_ends_with_the_server(tmp_path, monkeypatch):
    monkeypatch.setattr(live_events, "BEAT_S", 0.02)
    campaign = small(tmp_path).pages.campaigns.get("small")

    async def follow() -> None:
        stream = Followed(campaign, None)
        await stream.next()
        assert await stream.next() == b": still here\n\n"
        stream.over = True
        rest = await asyncio.wait_for(_all(stream.stream), 30)
        assert set(rest) <= {b": still here\n\n"}

    asyncio.run(follow())


@pytest.mark.parametrize(
    ("header", "number"),
    [
        ("17", 17),
        ("0", 0),
        (None, None),
        ("", None),
        ("-1", None),
        ("\u0661\u0667", None),
        ("9" * 30, None),
    ],
)
def test_numbers_of_headers(header, number):
    assert number_in(header) == number


def test_the_answer_of_the_server_is_a_stream_that_resumes(tmp_path):
    browser = small(tmp_path)
    browser.pages.ending = True  # so that it ends at once
    answer = browser.get("/campaign/small/events", **{"last-event-id": "2"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.startswith("retry: ")
    assert browser.get("/campaign/none/events").status_code == 404
