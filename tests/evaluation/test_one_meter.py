"""One label set has one meter: whichever code made its testbeds, whatever is replaced while it is
served, and once restored."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.core.label_set import METERS, of_same_labels, same_labels
from aarlab.core.layout import TestbedFolder
from aarlab.evaluation.agreement import read_book
from aarlab.evaluation.audit import Files
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.receipts import released_of
from aarlab.evaluation.restore import restore_meter
from aarlab.redteam.system import write_problem
from tests.evaluation.test_agreement import LABELS, again, change, faults, send

NAME = "chat-v1-double-seed1"


@pytest.fixture
def first(tmp_path):
    """A testbed with a campaign of three submissions."""
    made = Files(
        tmp_path / "campaigns" / "one", write_problem(tmp_path / "problems" / NAME, LABELS)
    )
    with Evaluator(made.problem, made.campaign) as evaluator:
        assert any([send(evaluator, n, 0.5 + 0.15 * n).improved for n in range(3)])
    return made


@pytest.fixture
def second(first):
    """A new campaign on the testbed that other code made of the same labels, which shares the first
    one's meter."""
    folder = first.problem.with_name(f"{NAME}-codeabc123")
    write_problem(folder, LABELS)
    for name in METERS:
        (folder / "private" / name).symlink_to(Path("../..") / NAME / "private" / name)
    return Files(first.campaign.with_name("two"), folder)


# --- testbeds that other code made ----------------------------------------------------------------


def test_testbeds_of_one_name_and_the_same_labels_are_of_one_label_set(first, second, tmp_path):
    other = write_problem(first.problem.with_name(f"{NAME}-codedef456"), ~LABELS)
    elsewhere = write_problem(first.problem.with_name("chat-v2-double-seed1"), LABELS)
    assert same_labels(first.problem, second.problem)
    assert not same_labels(first.problem, other)
    assert not same_labels(first.problem, elsewhere)
    assert list(of_same_labels(second.problem)) == [second.problem, first.problem]
    (second.problem / "private" / "answers.json").write_text("{")
    assert not same_labels(first.problem, second.problem)


def test_a_shared_meter_goes_on(first, second):
    bits = again(first)
    assert again(second) == bits > 0
    with Evaluator(second.problem, second.campaign) as evaluator:
        send(evaluator, 7)
    assert again(first) >= bits
    assert faults(first) == faults(second) == ()


@pytest.mark.parametrize("campaigns", ["kept", "deleted"])
@pytest.mark.parametrize("lost", ["the link", "what it stands for"])
def test_a_shared_meter_that_was_taken_away_is_missed(first, second, lost, campaigns):
    """Also where no ledger is left that knows what was reported."""
    if lost == "the link":
        for name in METERS:
            (second.problem / "private" / name).unlink()
    else:
        for name in METERS:
            shutil.rmtree(first.problem / "private" / name)
    if campaigns == "deleted":
        shutil.rmtree(first.campaign)
    with pytest.raises(Misconfigured, match="is gone|There must be one place"):
        again(second)
    assert not TestbedFolder(second.problem).meter.exists(), "a refusal begins no new meter"


def test_two_meters_of_one_label_set_are_refused(first, second):
    for name in METERS:
        (second.problem / "private" / name).unlink()
    shutil.copytree(first.problem / "private" / "meter", second.problem / "private" / "meter")
    for one in (first, second):
        with pytest.raises(Misconfigured, match="There must be one place"):
            again(one)


# --- campaigns beside it --------------------------------------------------------------------------


@pytest.mark.parametrize("note", [b"", b"\xff\xfe noise", b"/", b"\x00"])
def test_a_note_that_names_no_testbed_stops_no_other_campaign(first, note):
    folder = first.campaign.with_name("broken") / "server"
    folder.mkdir(parents=True)
    (folder / "problem.txt").write_bytes(note)
    assert again(first) > 0


def test_an_empty_note_of_ones_own_is_written_again(first):
    note = first.campaign / "server" / "problem.txt"
    note.write_text("")
    assert again(first) > 0
    assert note.read_text() == str(first.problem)


def test_no_meter_is_begun_where_a_ledger_beside_it_cannot_be_read(first):
    shutil.rmtree(first.problem / "private" / "meter")
    first.database.write_bytes(b"noise" * 1000)
    with pytest.raises(
        Misconfigured, match=r"cannot be read: what was released of them is unknown"
    ):
        again(Files(first.campaign.with_name("two"), first.problem))
    assert not first.meter.exists()


# --- while it is served ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["written over", "rows deleted", "exchanged"])
def test_meter_restored_while_served_is_refused(first, tmp_path, how):
    old = shutil.copy(first.meter, tmp_path / "old.sqlite")
    with Evaluator(first.problem, first.campaign) as evaluator:
        for number in range(10, 14):
            send(evaluator, number)
        bits = evaluator.meter.channel.released
        if how == "rows deleted":
            change(first.meter, "DELETE FROM answers WHERE seq > 3", "DELETE FROM head")
        elif how == "exchanged":
            change(
                first.meter,
                "UPDATE answers SET question = 'another', improved = 0, bits = 0 WHERE seq = 7",
                "DELETE FROM head",
            )
        else:
            with (
                closing(sqlite3.connect(old)) as source,
                closing(sqlite3.connect(first.meter)) as target,
            ):
                source.backup(target)
        for number in (20, 21):
            with pytest.raises(Misconfigured, match="The meter .* was changed"):
                send(evaluator, number)
        assert evaluator.ledger.count("submission") == 7
        assert bits > 0
    assert any("answer" in words for words in faults(first))
    with pytest.raises(Misconfigured, match="restore-meter"):
        again(first)


@pytest.mark.parametrize("made_again", [False, True])
def test_an_evaluator_whose_lock_was_deleted_records_nothing(first, made_again):
    """Another may have the campaign by now; both would give the same numbers to their receipts."""
    with Evaluator(first.problem, first.campaign) as evaluator:
        (first.campaign / "server" / "lock").unlink()
        if made_again:
            with Evaluator(first.problem, first.campaign) as other:
                assert send(other, 10).id == "r-000004"
        with pytest.raises(Misconfigured, match="lock was deleted"):
            send(evaluator, 11)
    with Evaluator(first.problem, first.campaign) as evaluator:
        assert send(evaluator, 12).id == f"r-{4 + made_again:06d}"
    assert faults(first) == ()


def test_a_copied_campaign_is_no_second_one(first):
    copy = first.campaign.with_name("copy")
    shutil.copytree(first.campaign, copy)
    with pytest.raises(Misconfigured, match="does not belong to"):
        again(Files(copy, first.problem))
    assert again(first) > 0


# --- what was reported beside the answers
# -------------------------------------------------------------


@pytest.fixture
def told_more(tmp_path):
    """A campaign on items in groups of two, whose anchors were measured again: two scales of PGR
    were reported."""
    made = Files(tmp_path / "campaign", write_problem(tmp_path / "problem", LABELS))
    groups = {f"q-{i:05d}": f"g{i // 2}" for i in range(len(LABELS))}
    (made.problem / "private" / "groups.json").write_text(
        f'{{"feedback": {groups}}}'.replace("'", '"')
    )
    with Evaluator(made.problem, made.campaign) as evaluator:
        send(evaluator, 0, 0.7)
    (made.problem / "private" / "ruler.json").write_text(
        '{"weak": 0.4, "ceiling": 0.8, "start": 0.55}'
    )
    with Evaluator(made.problem, made.campaign) as evaluator:
        send(evaluator, 1, 0.8)
    return made


def bounds(files):
    with Evaluator(files.problem, files.campaign) as evaluator:
        now = evaluator.meter.now("ann")
        return released_of(now, evaluator.pgr_scale, evaluator.units.independent)


def test_a_restored_meter_knows_scales_and_groups(told_more):
    before, book = bounds(told_more), read_book(told_more.meter)
    assert (book.independent, len(book.scales)) == (100, 2)
    shutil.rmtree(told_more.meter.parent)
    restore_meter(told_more.problem, told_more.campaign)
    assert read_book(told_more.meter) == book
    assert bounds(told_more) == before
    (told_more.problem / "private" / "groups.json").unlink()
    with pytest.raises(Misconfigured, match="may be joined, not parted"):
        again(told_more)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM ends WHERE weak = 0.5", "does not know a scale of PGR"),
        ("UPDATE counted SET independent = 200", "begun with 100 independent labels, not 200"),
        ("DELETE FROM counted", "begun with 100 independent labels, not None"),
    ],
)
def test_a_meter_that_forgot_a_scale_or_its_groups_is_found_and_refused(
    told_more, statement, words
):
    change(told_more.meter, statement)
    assert any(words in fault for fault in faults(told_more))
    with pytest.raises(Misconfigured, match=words):
        again(told_more)
