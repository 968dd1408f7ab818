"""What is kept for the next start says the same as the ledger; where it does not fit, it is not
believed."""

import hashlib
import json
import os
import pickle
import re
import shutil
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import pytest
import typer

from aarlab.cli.ledger_command import verify
from aarlab.core.entries import Flag
from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.held_folder import HeldFolder
from aarlab.core.layout import CampaignFolder, TestbedFolder
from aarlab.evaluation import derived
from aarlab.evaluation import state_keeper as module
from aarlab.evaluation.audit import Files
from aarlab.evaluation.backup import back_up
from aarlab.evaluation.detectors import DETECTORS
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.evaluator_service import EvaluatorService
from aarlab.evaluation.forum import Forum
from aarlab.evaluation.handlers import Handlers
from aarlab.evaluation.identity import TokenStore
from aarlab.evaluation.kept_state import compare_kept
from aarlab.evaluation.leaderboard import Board
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.evaluation.ledger.sqlite_storage import SqliteStorage
from aarlab.evaluation.ledger.views import Receipts, aside_in
from aarlab.fleet.alarms import alarms
from aarlab.fleet.progress import Progress
from tests.evaluation.test_agreement import FAMILY, LABELS, again, change, faults, files, send  # noqa: F401


def kept(files):  # noqa: F811
    return CampaignFolder(files.campaign).server.derived


def copied(files, to):  # noqa: F811
    shutil.copytree(files.campaign.parent, to)
    return Files(to / files.campaign.name, to / files.problem.name)


def goes_on(files, numbers):  # noqa: F811
    """Whether it was resumed, and what an evaluator says of more submissions."""
    with Evaluator(files.problem, files.campaign) as evaluator:
        reported = [send(evaluator, n, 0.99) for n in numbers]
        flags = [entry.body for entry in evaluator.ledger.entries("flag")]
        board = evaluator.view("board", Board(evaluator.ledger)).page(0)
        forum = evaluator.view("forum", Forum(evaluator)).since(0, 9)
        return evaluator.ledger.resumed, reported, flags, board, forum


def test_a_start_from_what_was_kept_says_the_same_as_one_from_the_ledger(files, tmp_path):  # noqa: F811
    with Evaluator(files.problem, files.campaign) as evaluator:
        forum = evaluator.view("forum", Forum(evaluator))
        given = {"kind": "result", "title": "t", "text": "x", "receipts": ["r-000001"]}
        forum.share("ann", **given, family=FAMILY)
        for _ in range(2):
            for who in ("ann", "bob"):  # the same answers under code of anybody: flags
                [send(evaluator, n, 0.99, who) for n in range(100, 108)]
    other = copied(files, tmp_path.with_name(f"{tmp_path.name}-other"))
    kept(other).unlink()
    one, two = (goes_on(of, [103, 200, 201]) for of in (files, other))
    assert (one[0], two[0]) == (True, False)
    assert one[1:] == two[1:]
    assert one[1][0].repeated
    assert faults(files) == ()


@pytest.mark.parametrize("how", ["cut", "of other code", "of another campaign", "changed"])
def test_what_does_not_fit_is_not_believed(files, how, monkeypatch):  # noqa: F811
    path, bits = kept(files), again(files)
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif how == "changed":
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    elif how == "of other code":
        monkeypatch.setattr(derived, "_sources", lambda: ["a detector that was changed"])
    else:
        line, _, rest = path.read_bytes().split(b"\n", 2)
        path.write_bytes(b"\n".join((line, derived._mac(b"x" * 32, line), rest)))
    with Evaluator(files.problem, files.campaign) as evaluator:
        assert not evaluator.ledger.resumed
        assert evaluator.meter.channel.released == bits


def forged(files, content):  # noqa: F811
    """The file that was kept, with other content, under the campaign's own MAC."""
    server = CampaignFolder(files.campaign).server
    line, _, rest = kept(files).read_bytes().split(b"\n", 2)
    line = line.replace(
        hashlib.sha256(rest).hexdigest().encode(), hashlib.sha256(content).hexdigest().encode()
    )
    kept(files).write_bytes(
        b"\n".join((line, derived._mac(server.secret.read_bytes(), line), content))
    )


class Made:
    """As pickled, a call of anything."""

    def __init__(self, act, *given):
        self._made = act, given

    def __reduce__(self):
        return self._made


@pytest.mark.parametrize("content", ["a call", "a server's class", "of another library", "not it"])
def test_nothing_is_run_or_made_that_a_file_under_the_right_mac_names(files, tmp_path, content):  # noqa: F811
    trace, bits = tmp_path / "trace", again(files)
    made = {
        "a call": pickle.dumps(Made(os.mkdir, str(trace))),
        "a server's class": pickle.dumps(Made(HeldFolder, 0o700)),
        "of another library": b"cnumpy.of_tomorrow\narray\n)R.",
        "not it": pickle.dumps({"ledger": None}),
    }
    forged(files, made[content])
    with Evaluator(files.problem, files.campaign) as evaluator:
        assert not evaluator.ledger.resumed
        assert evaluator.meter.channel.released == bits
    assert not trace.exists()


def test_who_looks_on_does_not_believe_it(files, monkeypatch):  # noqa: F811
    monkeypatch.setattr(derived, "load", lambda *given: pytest.fail("it was read"))
    with Evaluator(files.problem, files.campaign, read_only=True) as evaluator:
        assert evaluator.meter.channel.released > 0


def test_what_a_killed_writer_left_goes_with_the_next_one(files):  # noqa: F811
    left = kept(files).with_name(f".{kept(files).name}.00000000.partial")
    left.write_bytes(b"half")
    with Evaluator(files.problem, files.campaign) as evaluator:
        send(evaluator, 9, 0.9)
    assert not left.exists()


def test_labels_that_hang_together_since_are_counted_so(files):  # noqa: F811
    groups = {f"q-{i:05d}": f"g{i // 4}" for i in range(len(LABELS))}
    TestbedFolder(files.problem).groups.write_text(json.dumps({"feedback": groups}))
    with Evaluator(files.problem, files.campaign) as evaluator:
        assert evaluator.meter.channel.n == evaluator.units.independent == len(LABELS) // 4


def test_a_detectors_file_that_is_changed_in_a_run_made_nothing_of_it(files, monkeypatch):  # noqa: F811
    with Evaluator(files.problem, files.campaign) as evaluator:
        send(evaluator, 9, 0.9)
        monkeypatch.setattr(derived, "_sources", lambda: ["a detector that was changed"])
    with Evaluator(files.problem, files.campaign) as evaluator:
        assert not evaluator.ledger.resumed


def test_a_flag_that_a_full_disk_refused_is_recorded_with_the_next(files, monkeypatch):  # noqa: F811
    def full(flags):
        raise Transient("Not recorded: the disk is full. Try again later.")

    with Evaluator(files.problem, files.campaign) as evaluator:
        with monkeypatch.context() as patched:
            patched.setattr(evaluator.detection, "note_flags", full)
            [send(evaluator, n, 0.99, who) for who in ("ann", "bob") for n in range(100, 112)]
        assert evaluator.ledger.count("flag") == 0
        send(evaluator, 112, 0.99)
        flags = [entry.body for entry in evaluator.ledger.entries("flag")]
    assert flags
    with Evaluator(files.problem, files.campaign) as evaluator:
        assert [entry.body for entry in evaluator.ledger.entries("flag")] == flags


@pytest.mark.parametrize("column", ["body", "hidden", "who", "at", "salt"])
def test_a_row_that_was_rewritten_is_found_though_its_hash_was_kept(files, column):  # noqa: F811
    change(
        files.database,
        "DROP TRIGGER no_update",
        f"UPDATE entries SET {column} = replace({column}, substr({column}, -3, 1), "
        f"CASE substr({column}, -3, 1) WHEN '7' THEN '8' ELSE '7' END) WHERE seq = 4",
    )
    with pytest.raises(Misconfigured, match="no longer fits its checkpoint|cannot be read"):
        again(files)


def test_what_was_recorded_since_is_taken_up_and_flagged_once(files):  # noqa: F811
    with Evaluator(files.problem, files.campaign) as evaluator:
        [send(evaluator, n, 0.99) for n in range(100, 103)]
        evaluator.state_keeper.keep()
        old = kept(files).read_bytes()
        [send(evaluator, n, 0.99) for n in range(103, 112)]
        flags = [e.body for e in evaluator.ledger.entries("flag")]
    kept(files).write_bytes(old)  # as after kill -9
    with Evaluator(files.problem, files.campaign) as evaluator:
        assert evaluator.ledger.resumed
        assert [e.body for e in evaluator.ledger.entries("flag")] == flags
        assert send(evaluator, 105, 0.99).repeated
        assert send(evaluator, 112, 0.99).id == f"r-{evaluator.ledger.count('submission'):06d}"


def test_the_digest_of_rows_is_the_same_read_and_written(files):  # noqa: F811
    ledger = Ledger(files.database, read_only=True)
    read = ledger.read()
    with closing(SqliteStorage(files.database, read_only=True)) as storage:
        assert storage.digest(read.size).hexdigest() == read.digest
        assert storage.digest(read.size + 1) is None
    resumed = Ledger(files.database, read_only=True, known=read)
    assert resumed.resumed
    assert resumed.head() == ledger.head()
    assert resumed.number("submission", 3) == ledger.entries("submission")[2]
    assert (resumed.number("submission", 0), resumed.number("submission", 7)) == (None, None)


def test_a_receipt_is_found_by_its_number_and_where_another_version_numbered_otherwise(files):  # noqa: F811
    ledger = Ledger(files.database)
    receipts = Receipts(ledger)
    assert receipts.get("r-000002").id == "r-000002"
    body = ledger.number("submission", 1).body
    ledger.append("submission", "ann", body | {"receipt": body["receipt"] | {"id": "r-000005"}})
    ledger.append("submission", "ann", body | {"receipt": body["receipt"] | {"id": "r-000042"}})
    assert receipts.get("r-000005").id == "r-000005"
    ledger.close()


# --- an operator's own detector -------------------------------------------------------------------

OWN = """
from dataclasses import dataclass
from aarlab.evaluation.detectors import Detector, Suspicion, detector


@dataclass
class Seen:
    count: int = 0


@detector("own")
class Own(Detector):
    '''Counts.'''

    def __init__(self, context):
        super().__init__(context)
        self.seen = Seen()

    def see(self, latest):
        self.seen.count += 1
        yield Suspicion(latest.who, f"{self.seen.count}", "seen")
        {fault}
"""


def own(monkeypatch, folder, fault):
    """The operator's own detector with that last line, registered as a new process would."""
    things = {name: DETECTORS[name] for name in DETECTORS if name != "own"}
    monkeypatch.setattr(DETECTORS, "_things", things)
    monkeypatch.setattr(DETECTORS, "_files", {})
    path = folder / "mine.py"
    path.write_text(OWN.replace("{fault}", fault))
    DETECTORS.registered_by(path)


def raised(evaluator):
    flags = [entry.read(Flag) for entry in evaluator.ledger.entries("flag")]
    return sorted(int(f.episode) for f in flags if f.detector == "own"), [
        f for f in flags if f.detector != "own"
    ]


def test_a_detector_of_ones_own_is_kept_for_the_next_start_with_classes_of_its_own(
    files,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    own(monkeypatch, tmp_path, "")
    with Evaluator(files.problem, files.campaign) as evaluator:
        send(evaluator, 9, 0.9)
    own(monkeypatch, tmp_path, "")
    with Evaluator(files.problem, files.campaign) as evaluator:
        assert evaluator.ledger.resumed
        send(evaluator, 10, 0.9)
        assert raised(evaluator)[0] == list(range(1, 9))


@pytest.mark.parametrize(
    "fault",
    [
        "if self.seen.count == 8: 1 / 0",
        "if self.seen.count == 8: raise SystemExit",
        "self.seen = 0",
    ],
)
def test_a_detector_that_raises_is_set_aside_alone_and_named(
    files,  # noqa: F811
    tmp_path,
    monkeypatch,
    fault,
):
    own(monkeypatch, tmp_path, fault)

    def aside(evaluator):
        return list(aside_in(evaluator.ledger.entries()).values())

    with Evaluator(files.problem, files.campaign) as evaluator:
        for _ in range(2):  # the same answers under code of anybody: flags of the others
            [send(evaluator, n, 0.99, who) for who in ("ann", "bob") for n in range(100, 108)]
        seen, others = raised(evaluator)
        words = aside(evaluator)
        assert others
    assert seen == ([1] if fault.startswith("self") else list(range(1, 9)))
    assert len(words) == 1
    assert re.search(r"detector 'own' raised \w+(: .*)? \(.*mine\.py, line 2\d\) at r-0", words[0])
    with Evaluator(files.problem, files.campaign) as evaluator:  # from what was kept
        send(evaluator, 200, 0.99)
        assert evaluator.ledger.resumed
        assert (raised(evaluator)[0], aside(evaluator)) == (seen, words)
    own(monkeypatch, tmp_path, "pass")
    with Evaluator(files.problem, files.campaign) as evaluator:  # mended: it sees all
        assert raised(evaluator)[0] == list(range(1, 6 + 8 + 1 + 1))  # all answers, each once
        assert (aside(evaluator), raised(evaluator)[1]) == ([], others)
    assert faults(files) == ()


def test_who_watches_is_reported_of_a_detector_that_was_set_aside(
    files,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    own(monkeypatch, tmp_path, "1 / 0")
    with Evaluator(files.problem, files.campaign) as evaluator:
        found = alarms(None, Progress(evaluator.ledger).look(), 0.0)
    assert "'own' raised ZeroDivisionError: division by zero" in found[0]


# --- forged by somebody who has the campaign's secret ---------------------------------------------


def busy(files):  # noqa: F811
    """More of everything that is kept: findings, flags, spends, a request, repeated answers."""
    with Evaluator(files.problem, files.campaign) as evaluator:
        handlers = Handlers(evaluator, TokenStore(evaluator.folder))
        for _ in range(2):
            [send(evaluator, n, 0.99, who) for who in ("ann", "bob") for n in range(100, 108)]
        evaluator.ledger.append("spend", "ann", {"wall_s": 1.0, "usd": None, "id": "j-000001"})
        evaluator.ledger.append("campaign", "evaluator", {"event": "code only"})
        given = {"kind": "result", "title": "t", "text": "x", "receipts": ["r-000001"]}
        handlers._forum.share("ann", **given, family=FAMILY)
        evaluator.state_keeper.keep()
        [send(evaluator, n, 0.9) for n in range(300, 304)]
        del handlers


def test_a_state_that_a_server_kept_says_what_the_ledger_says(files):  # noqa: F811
    busy(files)
    assert compare_kept(files.problem, files.campaign) == ()
    with Evaluator(files.problem, files.campaign) as evaluator:
        assert evaluator.ledger.resumed
        Handlers(evaluator, TokenStore(evaluator.folder))
        [send(evaluator, n, 0.9, "bob") for n in range(300, 304)]
    assert compare_kept(files.problem, files.campaign) == ()


def no_flag(now):
    now.watch._known.add(("label probing", "ann", "made up"))


def blind(now):
    kind, one = now.watch._watching["label probing"]
    now.watch._watching[kind.name] = kind, type(one)(one.context)


def no_detector(now):
    now.watch._watching.clear()


def other_answer(now):
    first, second, *_ = now.asked
    now.asked._first[first] = now.asked.first(second)


def seen_less(now):
    now.diagnosis._seen -= 1


def other_snapshot(now):
    now.views["snapshots"]["_known"].add("0" * 64)


def other_board(now):
    now.views["board"]["_told"] = []


def unshared(now):
    """Submissions of one chain that no longer know of each other."""
    chains = now.watch._watching["label probing"][1]._recent._chains
    pairs = [(n, c) for n, c in enumerate(chains) if c is not None and c.links > 1]
    place = next(n for n, c in pairs if any(c is other for m, other in pairs if m != n))
    chains[place] = replace(chains[place])


def no_ledger(now):
    object.__setattr__(now.ledger, "masked", not now.ledger.masked)


@pytest.mark.parametrize(
    "forge",
    [
        no_flag,
        blind,
        no_detector,
        other_answer,
        seen_less,
        other_snapshot,
        other_board,
        unshared,
        no_ledger,
    ],
)
def test_a_forged_state_under_the_right_mac_is_found(files, forge):  # noqa: F811
    busy(files)
    with Evaluator(files.problem, files.campaign) as evaluator:
        Handlers(evaluator, TokenStore(evaluator.folder))
        now = evaluator.all_derived()
        forge(now)
        content = derived.packed(now, evaluator._context)
        evaluator.state_keeper.at = evaluator.ledger.count()  # what is there is current
    forged(files, content)
    (fault,) = compare_kept(files.problem, files.campaign)
    assert "derived.state, which is kept for the next start, does not say what the ledger" in fault
    assert faults(files) == ()  # the ledger itself is whole


def test_verify_names_a_forged_state_and_says_when_it_did_not_compare(files, capsys):  # noqa: F811
    with Evaluator(files.problem, files.campaign) as evaluator:
        verify(str(files.campaign), problem=files.problem)
        assert "was not compared with the ledger: The evaluator of" in capsys.readouterr().out
        now = evaluator.all_derived()
        seen_less(now)
        content = derived.packed(now, evaluator._context)
    verify(str(files.campaign), problem=files.problem)
    assert "0 faults" in capsys.readouterr().out
    forged(files, content)
    with pytest.raises(typer.Exit):
        verify(str(files.campaign), problem=files.problem)
    out = capsys.readouterr().out
    assert re.search(r"WRONG .*derived\.state, .* \(diagnosis.*\)\. .*\n.* 1 faults", out)


# --- backup ---------------------------------------------------------------------------------------


def test_a_backup_of_a_running_campaign_goes_on_where_it_was_made(files, tmp_path):  # noqa: F811
    out = tmp_path / "backup"
    with Evaluator(files.problem, files.campaign) as evaluator:
        send(evaluator, 20, 0.9)
        entries, bits = evaluator.ledger.count(), evaluator.meter.channel.released
        assert back_up(files.problem, files.campaign, out) == entries
        send(evaluator, 21, 0.95)
    with pytest.raises(Misconfigured, match="Name a new folder"):
        back_up(files.problem, files.campaign, out)
    shutil.rmtree(files.campaign)
    shutil.rmtree(files.meter.parent)
    shutil.copytree(out / "campaigns" / files.campaign.name, files.campaign)
    shutil.copytree(out / "problems" / "problem", files.problem, dirs_exist_ok=True)
    assert again(files) == bits
    assert faults(files) == ()


def test_a_backup_of_a_meter_that_knows_less_is_refused(files, tmp_path):  # noqa: F811
    change(files.meter, "DELETE FROM answers WHERE seq > 3", "DELETE FROM head")
    with pytest.raises(Misconfigured, match="does not know"):
        back_up(files.problem, files.campaign, tmp_path / "backup")


def test_what_took_long_to_keep_is_kept_less_often(files, monkeypatch):  # noqa: F811
    """Half a percent of the time: after a second, not again for 200."""
    now, kept_at = [1_000.0], []
    monkeypatch.setattr(module, "KEEP_EVERY", 0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with Evaluator(files.problem, files.campaign) as evaluator:

        def keep():
            kept_at.append(now[0])
            evaluator.state_keeper.kept_s = now[0]
            now[0] += 1.0

        monkeypatch.setattr(evaluator.state_keeper, "keep", keep)
        for now[0] in (1_000.0, 1_100.0, 1_199.0, 1_201.0, 1_300.0):
            evaluator.state_keeper.keep_if_due()
        monkeypatch.undo()
    assert kept_at == [1_000.0, 1_201.0]


def test_what_a_server_had_to_derive_is_kept_before_it_is_asked(files, monkeypatch):  # noqa: F811
    """A stop that is killed does not make the next start derive all again."""
    kept(files).unlink()
    monkeypatch.setattr(module, "KEEP_EVERY", 1)
    service = EvaluatorService(files.problem, files.campaign)
    head = derived.head_of(CampaignFolder(files.campaign).server.root)
    service.close()
    assert head is not None
    with Evaluator(files.problem, files.campaign) as evaluator:
        assert evaluator.ledger.resumed
        assert head.entries == evaluator.ledger.count()
