"""Counts of device time become spends: by how much they rose, at the campaign's price, within both
budgets."""

import sqlite3
from pathlib import Path

import pytest

from aarlab.core.budget import Budget, Spent
from aarlab.core.entries import SpendBody
from aarlab.core.files import write_whole
from aarlab.core.layout import CampaignFolder
from aarlab.core.operator_records import NewSpend
from aarlab.evaluation.evaluator import Evaluator
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.device_hours import DeviceHours, left_s, meter_in, meters_of
from aarlab.fleet.operator_hours import charge_operator
from aarlab.fleet.spends import Tally
from aarlab.gateway.journal import ROW_S, Journal
from aarlab.models.device_meter import BEAT_S, OPERATOR, Allowed, Counted, DeviceMeter
from aarlab.report.costs import costs

PRICED = Campaign(usd_per_device_hour=3.6, budget=Budget(device_hours=1.0))  # 0.001 $ a second


@pytest.fixture
def journal(tmp_path: Path):
    made = Journal(CampaignFolder(tmp_path).gateway.journal)
    yield made
    made.close()


def hours(tmp_path: Path, journal: Journal, campaign: Campaign = PRICED) -> DeviceHours:
    return DeviceHours(campaign, tmp_path, journal)


def counts(meter: DeviceMeter, seconds: float, *, running: bool = False) -> None:
    """What a worker does."""
    found = Counted(who=meter.who, seconds=seconds, running=running)
    write_whole(meter.counted, found.model_dump_json())


def allowed(meter: DeviceMeter) -> float | None:
    return Allowed.model_validate_json(meter.allowed.read_bytes()).seconds


def rows(journal: Journal) -> list[tuple[str, SpendBody]]:
    journal.release()
    found = []
    for row in journal.unposted(1_000):
        new = NewSpend.model_validate(
            {"kind": row.kind, "who": row.who, "id": row.id, "body": row.body}
        )
        body = new.body.model_dump(exclude_unset=True)
        found.append((row.who, SpendBody.model_validate(body)))
    return found


def test_a_count_is_charged_by_how_much_it_rose(tmp_path: Path, journal: Journal) -> None:
    devices = hours(tmp_path, journal)
    meter = devices.open(PRICED, "ann")
    for seconds in (10.0, 10.0, 25.0):
        counts(meter, seconds)
        devices.step(PRICED)
    spent = journal.spent("ann")
    assert (spent.device_s, spent.usd, spent.wall_s) == (25.0, pytest.approx(0.025), 0.0)
    hours(tmp_path, journal).recover()  # another process reads the same counts
    hours(tmp_path, journal).step(PRICED)
    [(who, body)] = rows(journal)
    assert (who, body.device_s, body.usd) == ("ann", 25.0, pytest.approx(0.025))
    assert (body.wall_s, body.cpu_s, body.call) == (0.0, 0.0, None)
    counts(meter, 30.0)
    devices.step(PRICED)
    assert [body.device_s for _, body in rows(journal)] == [25.0, 5.0]


def test_several_meters_of_one_who_asked_add_up(tmp_path: Path, journal: Journal) -> None:
    devices = hours(tmp_path, journal)
    for seconds in (10.0, 20.0):
        counts(devices.open(PRICED, "ann"), seconds)
    counts(devices.open(PRICED, OPERATOR), 7.0)
    devices.step(PRICED)
    assert journal.spent("ann").device_s == 30.0
    assert journal.spent(None).device_s == 37.0
    assert {who for who, _ in rows(journal)} == {"ann", OPERATOR}


def test_after_a_kill_the_unnoted_second_is_charged_once(tmp_path: Path, journal: Journal) -> None:
    counts(hours(tmp_path, journal).open(PRICED, "ann"), 40.0, running=True)
    for _ in range(3):
        hours(tmp_path, journal).recover()
    assert journal.spent("ann").device_s == 40.0 + BEAT_S


def test_an_unknown_price_is_not_0(tmp_path: Path, journal: Journal) -> None:
    free = PRICED.model_copy(update={"usd_per_device_hour": None})
    counts(hours(tmp_path, journal, free).open(free, "ann"), 60.0)
    hours(tmp_path, journal, free).step(free)
    tally = Tally()
    for _, body in rows(journal):
        tally.add(body)
    assert tally.device_s == 60.0
    assert tally.device_cost is None
    assert tally.cost is None
    assert "0.017 device hours" in tally.unknown


def test_costs_of_all_kinds_add_up() -> None:
    tally = Tally()
    tally.add(SpendBody(wall_s=3600.0, cpu_s=10.0, usd=1.0))
    tally.add(SpendBody(device_s=1800.0, usd=2.0))
    assert tally.cost == 3.0
    assert tally.spent == Spent(wall_s=3600.0, cpu_s=10.0, device_s=1800.0, usd=3.0)
    assert (tally.charges, tally.processor_s) == (1, 10.0), "a device is no charge of the machine"


def test_the_operators_own_device_time_is_all_that_it_has() -> None:
    tally = Tally()
    tally.add(SpendBody(device_s=1800.0, usd=2.0))
    assert tally.cost == 2.0
    assert tally.unknown == ()


@pytest.mark.parametrize(
    ("budget", "spent", "price", "left"),
    [
        (Budget(), Spent(device_s=9.0), 1.0, None),
        (Budget(device_hours=1.0), Spent(device_s=600.0), None, 3000.0),
        (Budget(usd=1.0), Spent(usd=0.4), 3.6, 600.0),
        (Budget(usd=1.0), Spent(usd=0.4), None, None),  # a price that is not known holds nothing
        (Budget(usd=1.0), Spent(usd=0.4), 0.0, None),
        (Budget(usd=1.0, device_hours=0.1), Spent(usd=0.4, device_s=100.0), 3.6, 260.0),
        (Budget(device_hours=1.0), Spent(device_s=4000.0), None, 0.0),
    ],
)
def test_what_is_left(
    budget: Budget, spent: Spent, price: float | None, left: float | None
) -> None:
    assert left_s(budget, spent, price) == (left if left is None else pytest.approx(left))


def test_a_worker_may_count_as_far_as_both_budgets_go(tmp_path: Path, journal: Journal) -> None:
    small = PRICED.model_copy(update={"campaign_budget": Budget(device_hours=1.5)})
    devices = hours(tmp_path, journal, small)
    ann, bob = devices.open(small, "ann"), devices.open(small, "bob")
    own = devices.open(small, OPERATOR)
    assert (allowed(ann), allowed(bob)) == (3600.0, 3600.0)
    counts(ann, 3000.0)
    devices.step(small)
    assert allowed(ann) == 3600.0
    assert allowed(bob) == 2400.0, "of the campaign's 5400 s"
    counts(bob, 2400.0)
    devices.step(small)
    assert allowed(bob) == 2400.0
    assert allowed(ann) == 3000.0
    assert devices.spent == {"ann", "bob"}
    assert not own.allowed.exists(), "a confirmation is run all the same"
    raised = small.model_copy(update={"campaign_budget": Budget(device_hours=2.0)})
    devices.step(raised)
    assert devices.spent == set()
    assert (allowed(ann), allowed(bob)) == (3600.0, 3600.0)


def test_dollars_of_model_calls_leave_less_of_a_device(tmp_path: Path, journal: Journal) -> None:
    both = Campaign(usd_per_device_hour=3.6, budget=Budget(usd=1.0))
    journal.charge("ann", wall_s=1.0, cpu_s=0.0, usd=0.75)
    meter = hours(tmp_path, journal, both).open(both, "ann")
    assert allowed(meter) == 250.0


def test_a_spent_budget_is_named() -> None:
    spent = Spent(device_s=3600.0)
    assert Budget(device_hours=1.0).reached(spent) == "budget of 1 device hours"
    assert Budget(device_hours=1.1).reached(spent) is None


def test_days_of_counts_are_few_rows(tmp_path: Path, journal: Journal) -> None:
    devices = hours(tmp_path, journal)
    meter = devices.open(PRICED, "ann")
    for second in range(1, int(3 * ROW_S), 60):
        counts(meter, float(second))
        devices.step(PRICED)
    assert len(rows(journal)) <= 4
    assert sum(body.device_s for _, body in rows(journal)) == journal.spent("ann").device_s


def test_a_journal_of_an_older_version_is_read(tmp_path: Path) -> None:
    path = CampaignFolder(tmp_path).gateway.journal
    Journal(path).close()
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE device_meters")
        db.execute("DROP TABLE held_devices")
    db.close()
    journal = Journal(path)
    assert journal.spent(None) == Spent()
    journal.close()


@pytest.mark.process
def test_confirmations_are_charged_to_the_operator_once_in_the_ledger(bed, tmp_path: Path) -> None:
    """A real evaluator, as `aar confirm` has it open: what was counted is one entry."""
    folder = tmp_path / "campaign"
    with Evaluator(bed.folder, folder) as evaluator:
        counts(meter_in(meters_of(folder), OPERATOR), 12.0)
        charge_operator(PRICED, folder, evaluator)
        charge_operator(PRICED, folder, evaluator)
        [entry] = evaluator.ledger.entries("spend")
        body = entry.read(SpendBody)
        assert (entry.who, body.device_s, body.usd) == (OPERATOR, 12.0, pytest.approx(0.012))
        counts(meter_in(meters_of(folder), OPERATOR), 3.0)
        charge_operator(PRICED, folder, evaluator)
        entries = list(evaluator.ledger.entries("spend"))
        assert [entry.read(SpendBody).device_s for entry in entries] == [12.0, 3.0]
        found = costs(PRICED, entries)
    assert found.campaign.device_hours.estimate == pytest.approx(15 / 3600)
    assert found.campaign.device_usd.estimate == pytest.approx(0.015)
    assert [row.name for row in found.researchers] == [OPERATOR]
