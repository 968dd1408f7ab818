"""A campaign's folder as a fleet leaves it, for the tests of what people see."""

import time
from pathlib import Path

from aarlab.core.budget import Budget, Spent
from aarlab.core.entries import ConfirmationBody, SubmissionBody
from aarlab.core.records import Diagnostics, Family, Receipt, Released
from aarlab.evaluation.confirmation.confirmation_record import Claim, ConfirmationRecord
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.state import FleetState, MemberState

HOSTILE = "\x1b]0;owned\x07[bold red]x[/bold red][/] \u202e\x9b2Jrm\r\n-rf"
RELEASED = Released(bits=41.25, cap_bits=140.0, share_of_labels=0.033, inflation_bound=0.11)
NOW = time.time()


def member(name: str, state: str = "running", **more) -> MemberState:
    spent = more.pop("spent", Spent(wall_s=1800, cpu_s=900, tokens=1_200_000, usd=1.25))
    given = {
        "direction": "d",
        "incarnation": 3,
        "last_action_at": NOW - 4,
        "last_action": "Bash: python method.py",
    }
    return MemberState(
        name=name, state=state, spent=spent, **given | {"memory_bytes": 210_000_000} | more
    )


def fleet(*members: MemberState, **more) -> FleetState:
    given = {
        "campaign": "small",
        "at": NOW,
        "pid": 4711,
        "ends_at": NOW + 600,
        "researcher_budget": Budget(usd=5.0, tokens=10_000_000, hours=2.0),
        "campaign_budget": Budget(usd=20.0),
        "spent": Spent(wall_s=3600, cpu_s=1800, tokens=2_400_000, usd=2.5),
        "members": members or (member("researcher-1"), member("researcher-2", "held")),
        "services": {"gateway": "up", "server": "up"},
    }
    return FleetState(**given | more)


def submission(
    number: int, *, improved: bool, level: float, family: str = "ensemble", snapshot: str = "s"
) -> dict:
    """The body of a submission's entry."""
    receipt = Receipt(
        id=f"r-{number:06d}",
        snapshot=snapshot,
        family=Family(family),
        improved=improved,
        level_pgr=level,
        level_accuracy=0.5 + level / 4,
        certified_pgr=None,
        certified_accuracy=None,
        next_step_accuracy=0.9,
        price_of_next_yes_bits=3.5,
        tier="open",
        released=RELEASED,
        diagnostics=Diagnostics(
            class_share=0.5, seed_disagreement=0.1, nearest_earlier=None, noise_accuracy=0.05
        ),
    )
    scores = {"exact_accuracy": 0.87654, "exact_pgr": 0.76543}
    return SubmissionBody(
        snapshot=snapshot, family=Family(family), predictions="p", receipt=receipt, **scores
    ).plain()


def confirmation(
    snapshot: str,
    who: str,
    *,
    verdict: str,
    token: str = "t",
    receipt: str = "r-000001",
    final: float | None = 0.5,
) -> dict:
    """The body of a confirmation's entry; its record was run on no target."""
    claim = Claim(receipt=receipt, researcher=who, family="other", accuracy=0.9, ledger_seq=1)
    given = {
        "reproduction": None,
        "p": None,
        "p_adjusted": None,
        "m": 1,
        "verdict": verdict,
        "reasons": (),
        "bits": 1.0,
    }
    where = {
        "campaign": "c",
        "problem": "p",
        "snapshot": snapshot,
        "id": token,
        "ledger_head": "h",
        "made_at": "now",
    }
    record = ConfirmationRecord(claim=claim, targets=(), **given, **where).model_dump(mode="json")
    reported = {
        "snapshot": snapshot,
        "researcher": who,
        "id": token,
        "verdict": verdict,
        "told_accuracy": final,
    }
    return ConfirmationBody(**reported, record=record, signature="s", public_key="k").plain()


def call(model: str = "claude-opus-4-6", **more) -> dict:
    return {
        "model": model,
        "input_tokens": 10,
        "cache_write_tokens": 20,
        "cache_read_tokens": 30,
        "output_tokens": 40,
    } | more


def campaign_folder(root: Path, state: FleetState | None = None) -> Path:
    """With a ledger: two experiments of researcher-1 that told 0.31 and 0.42, one of researcher-2,
    spends, a flag."""
    folder = root / "small"
    Campaign(name="small").save(folder)
    (folder / "server").mkdir()
    ledger = Ledger(folder / "server" / "ledger.sqlite")
    for number, (who, improved, level) in enumerate(
        [("1", True, 0.31), ("2", False, 0.31), ("1", True, 0.42)], start=1
    ):
        ledger.append(
            "submission", f"researcher-{who}", submission(number, improved=improved, level=level)
        )
    ledger.append(
        "spend",
        "researcher-1",
        {"wall_s": 1800.0, "cpu_s": 900.0, "usd": None, "call": None, "id": "j-1"},
    )
    ledger.append(
        "spend",
        "researcher-1",
        {"wall_s": 0.0, "cpu_s": 0.0, "usd": 1.25, "call": call(), "id": "j-2"},
    )
    ledger.append(
        "flag",
        "evaluator",
        {
            "detector": "near copies",
            "submitter": "researcher-2",
            "receipts": [],
            "evidence": HOSTILE,
        },
    )
    ledger.append("campaign", "operator", {"event": "started"})
    ledger.close()
    if state:
        state.write(folder)
    return folder
