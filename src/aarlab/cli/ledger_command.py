"""`aar ledger`: verify that a campaign's ledger was not changed, and find the source of a
figure."""

import json
import os
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from aarlab.cli.path_type import path
from aarlab.cli.plain_console import PlainConsole
from aarlab.core.errors import Misconfigured
from aarlab.core.hold import holder
from aarlab.core.layout import CampaignFolder
from aarlab.core.records import Entry
from aarlab.core.standard_output import only_showing
from aarlab.core.strict_json import read_json

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
console = PlainConsole(soft_wrap=True)
Name = Annotated[str, typer.Argument(help="a campaign's name, or its folder")]
TrustedKey = Annotated[
    Path | None,
    typer.Option(
        "--key", parser=path, help="a copy of key.pub that you trust [the campaign's own]"
    ),
]
Problem = Annotated[
    Path | None,
    typer.Option(parser=path, help="the testbed's folder, to grade again and to check the meter"),
]


@app.command(
    help=(
        "Find entries that were changed, removed, inserted or moved. Exits with 1 if anything is "
        "wrong."
    )
)
@only_showing()
def verify(
    name: Name = "demo",
    *,
    key: TrustedKey = None,
    witness: Annotated[
        list[Path] | None,
        typer.Option(parser=path, help="an older copy of checkpoints.txt; repeatable"),
    ] = None,
    problem: Problem = None,
    detector: Annotated[
        list[Path] | None,
        typer.Option(
            parser=path,
            help="a Python file with a detector of the campaign's own, which is run; repeatable",
        ),
    ] = None,
) -> None:
    from aarlab.evaluation.audit import Files, audit, load_key

    folder = folder_of(name)
    files = Files(folder, problem or _problem(folder))
    lock = CampaignFolder(folder).server.lock  # a link could lead to what somebody else holds
    running = not lock.is_symlink() and holder(lock) is not None
    made = audit(files, load_key(key or files.key), witness or (), running=running)
    given = [str(file.resolve()) for file in detector or ()]
    found, words = _kept_state(files.problem, folder, given) if not made.faults else ((), "")
    faults = (*made.faults, *found)
    for fault in faults:
        console.print(f"WRONG {fault}")
    console.print(
        f"{made.entries} entries, {made.covered} of them under a signed checkpoint "
        f"({made.checkpoints} read); {made.graded} submissions graded again; {made.confirmations} "
        f"confirmations; {len(faults)} faults"
    )
    if words:
        console.print(words)
    if files.problem is None:
        console.print(
            "The testbed's folder was not found: nothing was graded again. Give --problem."
        )
    if key is None:
        console.print(
            f"The check used the campaign's own key ({files.key}). Keep a copy of it elsewhere "
            "and give it with --key."
        )
    if faults:
        raise typer.Exit(1)


def _kept_state(
    problem: Path | None, folder: Path, detectors: Sequence[str]
) -> tuple[tuple[str, ...], str]:
    """The faults of the state that is kept for the next start; and why it was not compared with the
    ledger, empty if it was. `detectors`: the files that the operator gives. Those that the folder
    names are not run: a folder of somebody else is verified before it is trusted."""
    from aarlab.evaluation.kept_state import compare_kept
    from aarlab.evaluation.server_hold import hold_server
    from aarlab.fleet.campaign import load

    place = CampaignFolder(folder)
    if problem is None or not place.server.derived.exists():
        return (), ""
    try:
        named = load(place.settings).detectors if place.settings.exists() else ()
        if unread := sorted({str(Path(one).resolve()) for one in named} - set(detectors)):
            options = " ".join(f"--detector {one}" for one in unread)
            return (), (
                f"{place.server.derived} was not compared with the ledger: that runs the "
                f"campaign's own detectors. Read them, then give them: {options}"
            )
        with hold_server(folder) if os.access(folder, os.W_OK) else nullcontext():
            return compare_kept(problem, folder, detectors), ""
    except Misconfigured as error:
        return (), f"{place.server.derived} was not compared with the ledger: {error}"


@app.command(
    help=(
        "Show the entry of a receipt (r-000017), a finding (f-000003) or a number, as it was "
        "recorded."
    )
)
def show(
    name: Name,
    entry: Annotated[str, typer.Argument(help="id of a receipt or finding, or an entry number")],
) -> None:
    from aarlab.evaluation.audit import Files
    from aarlab.evaluation.proofs import find

    row = find(Files(folder_of(name)), entry)
    kept = {name: value for name, value in row._asdict().items() if name not in {"hidden", "salt"}}
    print(json.dumps(kept | {"body": row.entry.body}, indent=1))


@app.command(
    help=(
        "List the ledger's entries, one line each: incarnations, code, submissions, findings, "
        "flags, confirmations."
    )
)
def log(
    name: Name = "demo",
    *,
    who: Annotated[str | None, typer.Option(help="only the entries of this researcher")] = None,
    spends: Annotated[bool, typer.Option("--spends", help="also list spending")] = False,
) -> None:
    from aarlab.core.printable import one_line
    from aarlab.evaluation.ledger.ledger import Ledger
    from aarlab.evaluation.ledger.places import has_ledger

    path = CampaignFolder(folder_of(name)).server.ledger
    if not has_ledger(path):
        raise Misconfigured(
            f"There is no ledger at {path}. Give the name of a started campaign, or its folder."
        )
    with closing(Ledger(path, read_only=True)) as ledger:
        for entry in ledger.entries():
            if (who is None or entry.who == who) and (spends or entry.kind != "spend"):
                summary = f"{entry.kind:<12} {entry_text(entry)}"
                print(one_line(f"{entry.seq:6d} {entry.at[:19]} {entry.who:<14} {summary}", 200))


def entry_text(entry: Entry) -> str:
    """What an entry records, in a few words; receipts and findings by their ids."""
    from aarlab.core import entries as bodies

    match entry.read(bodies.BODIES[entry.kind]):
        case bodies.SubmissionBody(receipt=receipt, family=family):
            verdict = (
                "improved (passed the next step)" if receipt.improved else "no improvement reported"
            )
            unit = "score" if receipt.combined else "PGR"
            return f"{receipt.id} {family}: {verdict}, level {unit} {receipt.level_pgr:.2f}"
        case bodies.FindingBody() as finding:
            return f"f-{entry.seq:06d} {finding.kind}, {finding.family}: {finding.title}"
        case bodies.SpendBody(usd=usd, call=call, wall_s=wall_s):
            price = "no price" if usd is None else f"${usd:.4f}"
            return f"{call.model} {price}" if call else f"{wall_s:.1f} s, {price}"
        case bodies.Flag() as flag:
            return f"{flag.detector}: {flag.submitter}"
        case bodies.ConfirmationBody(snapshot=snapshot, verdict=verdict):
            return f"{snapshot[:12]} {verdict}"
        case bodies.EventBody() as event:
            incarnation = f" (incarnation {event.incarnation})" if event.incarnation else ""
            detail = "" if event.event in {"enrolled", "prompts"} else event.detail or ""
            return f"{event.event}{incarnation} {detail}".strip()
        case (
            bodies.CodeBody(snapshot=what)
            | bodies.RequestBody(snapshot=what)
            | bodies.OutcomeBody(ticket=what)
        ):
            return what
        case bodies.ReadBody(how=how, what=read):
            return f"{how} {', '.join(one[:12] for one in read)}"
    raise AssertionError(entry.kind)


@app.command(
    help="Write a proof that an entry is in the signed ledger. key.pub is enough to check it."
)
@only_showing()
def prove(
    name: Name,
    entry: Annotated[str, typer.Argument(help="id of a receipt or finding, or an entry number")],
    out: Annotated[Path, typer.Option(parser=path, help="file to write")] = Path("proof.json"),
) -> None:
    from aarlab.evaluation.audit import Files, load_key
    from aarlab.evaluation.proofs import find
    from aarlab.evaluation.proofs import prove as prove_

    files = Files(folder_of(name))
    out.write_text(
        json.dumps(
            prove_(files, load_key(files.key), find(files, entry)), indent=1, ensure_ascii=False
        )
    )
    console.print(f"proof: {out}")


@app.command(help="Check a proof with a public key that you trust; print the entry that it proves.")
def check(
    proof: Annotated[Path, typer.Argument(parser=path, help="proof.json")],
    key: Annotated[Path, typer.Option(parser=path, help="the public key, key.pub")],
) -> None:
    from aarlab.core.errors import InvalidSubmission
    from aarlab.evaluation.audit import load_key
    from aarlab.evaluation.proofs import check_proof

    try:
        document = read_json(proof)
    except Misconfigured as error:
        raise InvalidSubmission(
            f"{error} Give a proof, a file that `aar ledger prove` wrote."
        ) from error
    shown, checkpoint = check_proof(document, load_key(key))
    print(json.dumps(shown._asdict() | {"body": json.loads(shown.body)}, indent=1))
    console.print(
        f"entry {shown.seq} is in {checkpoint.origin}, signed at {checkpoint.size} entries"
    )


@app.command(
    "restore-meter",
    help=(
        "Rebuild a lost or damaged meter from the ledgers of its label set, exactly or not at all."
    ),
)
@only_showing()
def restore_meter(name: Name, *, problem: Problem = None) -> None:
    from aarlab.evaluation.restore import restore_meter as restore

    folder = folder_of(name)
    place = _testbed(folder, problem)
    answers, replaced = restore(place, folder)
    console.print(f"The meter of {place} now has the {answers} answers of the ledgers.")
    if replaced is not None:
        console.print(f"The old files are in {replaced}.")


@app.command(
    help=(
        "Copy the ledger, what its entries name, and the meter of its label set into a new folder, "
        "also while the campaign runs. A plain copy of the files is no backup."
    )
)
@only_showing()
def backup(
    name: Name,
    *,
    out: Annotated[Path, typer.Option(help="the folder to make, laid out as AAR_HOME is")],
    problem: Problem = None,
) -> None:
    from aarlab.evaluation.backup import back_up

    folder = folder_of(name)
    place = _testbed(folder, problem)
    entries = back_up(place, folder, out)
    console.print(
        f"{out} has the first {entries} entries and a meter that knows them all. To put it back: "
        "stop what runs on these labels, then copy the folder's content over AAR_HOME. Keep it as "
        "safe as AAR_HOME: it holds the campaign's keys."
    )


def folder_of(name: str) -> Path:
    """The folder of a campaign that is named, or given as a folder."""
    from aarlab.core.settings import expanded, home
    from aarlab.evaluation.ledger.places import has_ledger

    given, named = expanded(name, "the campaign"), home().campaigns / name
    ours = has_ledger(CampaignFolder(given).server.ledger) or not named.is_dir()
    return given if given.is_dir() and ours else named


def _testbed(folder: Path, given: Path | None) -> Path:
    if (place := given or _problem(folder)) is None:
        raise Misconfigured(
            f"The testbed of {folder} was not found. Give its folder with --problem."
        )
    return place


def _problem(folder: Path) -> Path | None:
    """Where the evaluator that wrote the ledger found its problem, if that is still here."""
    note = CampaignFolder(folder).server.problem
    path = Path(note.read_text()) if note.exists() else None
    return path if path is not None and path.is_dir() else None
