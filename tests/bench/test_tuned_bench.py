"""The four baselines, teacher and ceiling from one command, on items and models of one's own that
are fine-tuned: the whole real path (worker processes, GRPO, sockets, table) at a tiny shape."""

import json
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from aarlab.core.errors import Misconfigured
from tests.tuned_scene import OWN_LOSS, tuned_scene

pytestmark = [pytest.mark.process, pytest.mark.long]

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tuned_scene(tmp_path_factory.mktemp("tuned"))


def bench(place, monkeypatch, *words):
    from aarlab.cli.main import app

    monkeypatch.setenv("AAR_HOME", str(place / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    asked = [
        "bench",
        "--student",
        str(place / "tiny.yaml"),
        "--task",
        str(place / "mine.jsonl"),
        "--seeds",
        "2",
        *words,
    ]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    return json.loads((place / "home" / "benches" / "bench" / "bench.json").read_text())


@pytest.mark.long
@pytest.mark.timeout(400)
def test_four_baselines_teacher_and_ceiling_from_one_command(place, monkeypatch):
    names = ["naive", "confident", "elicitation", "critic", "zero-shot"]
    report = bench(place, monkeypatch, *(word for name in names for word in ("--method", name)))
    (table,) = report["tables"]
    assert {row["method"] for row in table["rows"]} == set(names)
    assert report["failures"] == []
    weak, ceiling = table["weak"]["estimate"], table["ceiling"]["estimate"]
    assert ceiling > weak
    # the strong model knows the language, and its fine-tuning did not lose that
    assert ceiling > 0.6

    logs = sorted((place / "home" / "workers").glob("*.log"))
    before = [log.stat().st_size for log in logs]
    again = bench(place, monkeypatch, *(word for name in names for word in ("--method", name)))
    assert again["tables"] == report["tables"]
    assert [log.stat().st_size for log in logs] == before  # all was kept: no worker started


def quiet(what, done, of):
    """Progress that nobody watches."""


@pytest.mark.timeout(400)
def test_a_sandboxed_run_asks_the_strong_model_through_its_door(place, monkeypatch, tmp_path):
    """A method in a real sandbox judges and fine-tunes with a loss of its own; on an ablated
    testbed the model knows nothing of an item."""
    from aarlab.core.settings import Home
    from aarlab.models.preset import preset
    from aarlab.runs.engine import METHOD_FILE, LocalEngine
    from aarlab.sandbox import Bubblewrap
    from aarlab.testbeds.ablation import ablate
    from aarlab.testbeds.set_up import prepare
    from aarlab.testbeds.tuned_student import tuned

    home = Home(place / "home")
    student = tuned(preset(str(place / "tiny.yaml")), home, quiet)
    bed = prepare(str(place / "mine.jsonl"), 1, home=home, student=student, progress=quiet)
    truth = json.loads((bed.private / "answers.json").read_text())["final"]
    with pytest.raises(Misconfigured, match="give it to the engine"):
        LocalEngine(bed, tmp_path / "runs", Bubblewrap, workers=1, timeout_s=60)
    shares = {}
    for name, where in (("whole", bed), ("ablated", ablate(bed, "ablated"))):
        engine = LocalEngine(
            where,
            tmp_path / "runs",
            Bubblewrap,
            workers=1,
            timeout_s=200,
            student=student,
        )
        answers = engine.run({METHOD_FILE: OWN_LOSS}, "final", (1,)).answers["1"]
        shares[name] = np.mean([answers[i] == label for i, label in truth.items()])
        engine.close()
    student.close()
    assert shares["whole"] > 0.6
    assert abs(shares["ablated"] - 0.5) < 0.15


@pytest.mark.timeout(600)
def test_a_run_is_charged_to_who_asked_and_refused_without_a_budget(place, tmp_path):
    """A real worker on the CPU is the device: its seconds are whose run it was, at the campaign's
    price; a result that is kept costs nobody anything; who has nothing left gets no job."""
    from aarlab.core.budget import Budget
    from aarlab.core.errors import InvalidSubmission
    from aarlab.core.layout import CampaignFolder
    from aarlab.core.settings import Home
    from aarlab.fleet.campaign import Campaign
    from aarlab.fleet.device_hours import DeviceHours
    from aarlab.gateway.journal import Journal
    from aarlab.models.preset import preset
    from aarlab.runs.engine import METHOD_FILE, LocalEngine
    from aarlab.sandbox import Bubblewrap
    from aarlab.testbeds.set_up import prepare
    from aarlab.testbeds.tuned_student import tuned

    home, campaign = Home(place / "home"), Campaign(usd_per_device_hour=3600.0)  # $1 a second
    student = tuned(preset(str(place / "tiny.yaml")), home, quiet)
    bed = prepare(str(place / "mine.jsonl"), 1, home=home, student=student, progress=quiet)
    journal = Journal(CampaignFolder(tmp_path / "c").gateway.journal)
    hours = DeviceHours(campaign, tmp_path / "c", journal)
    tight = campaign.model_copy(update={"budget": Budget(usd=1e-3)})
    asked = {"campaign": campaign}
    engine = LocalEngine(
        bed,
        tmp_path / "runs",
        Bubblewrap,
        workers=1,
        timeout_s=200,
        student=student,
        meters=lambda who: hours.open(asked["campaign"], who),
    )
    try:
        began = time.monotonic()
        engine.run({METHOD_FILE: OWN_LOSS}, "feedback", (1,), who="researcher-1")
        took_s = time.monotonic() - began
        engine.run({METHOD_FILE: OWN_LOSS}, "feedback", (1,), who="researcher-2")
        hours.step(campaign)
        spent = journal.spent("researcher-1")
        assert 0 < spent.device_s <= took_s
        assert spent.usd == pytest.approx(spent.device_s)
        assert journal.spent("researcher-2").device_s == 0
        asked["campaign"] = tight
        with pytest.raises(InvalidSubmission) as caught:
            engine.run({METHOD_FILE: f"{OWN_LOSS}\n"}, "feedback", (1,), who="researcher-1")
        assert "budget of device time is spent" in caught.value.facts["log"]
        hours.step(tight)
        assert journal.spent("researcher-1").device_s == spent.device_s
        assert hours.spent == {"researcher-1"}
    finally:
        engine.close()
        student.close()
        journal.close()
