"""`aar ledger`: is the record what it was when it was told, and where does a figure come from?"""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from aarlab.core.errors import Misconfigured
from aarlab.core.records import Entry

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
console = Console(highlight=False, soft_wrap=True)
Name = Annotated[str, typer.Argument(help="a campaign's name, or its folder")]
TrustedKey = Annotated[
    Path | None, typer.Option("--key", help="a copy of key.pub that you trust; the campaign's own if not given")
]
Problem = Annotated[Path | None, typer.Option(help="the published problem's folder, to grade again and to look at the meter")]


@app.command(help="Find any entry that was changed, dropped, inserted or moved. Exits with 1 if anything is wrong.")
def verify(
    name: Name = "demo",
    *,
    key: TrustedKey = None,
    witness: Annotated[list[Path] | None, typer.Option(help="an older copy of checkpoints.txt; repeatable")] = None,
    problem: Problem = None,
) -> None:
    from aarlab.evaluation.audit import Files, audit, load_key

    folder = _folder(name)
    files = Files(folder, problem or _problem(folder))
    made = audit(files, load_key(key or files.key), witness or ())
    for fault in made.faults:
        console.print(f"WRONG {fault}")
    console.print(
        f"{made.entries} entries, {made.covered} of them under a signed checkpoint ({made.checkpoints} read); "
        f"{made.graded} submissions graded again; {made.confirmations} confirmations; {len(made.faults)} faults"
    )
    if files.problem is None:
        console.print("The problem's folder is not here: nothing was graded again. Give --problem.")
    if key is None:
        console.print(f"The key was the campaign's own ({files.key}): keep a copy elsewhere and give it with --key.")
    if made.faults:
        raise typer.Exit(1)


@app.command(help="Show the entry of a receipt (r-000017), a finding (f-000003) or a number, as it was recorded.")
def show(name: Name, entry: Annotated[str, typer.Argument(help="receipt, finding or number")]) -> None:
    from aarlab.evaluation.audit import Files, find

    row = find(Files(_folder(name)), entry)
    print(json.dumps(row._asdict() | {"body": json.loads(row.body)}, indent=1))


@app.command(help="What happened, a line an entry: lives, code, submissions, findings, flags, confirmations.")
def log(
    name: Name = "demo",
    *,
    who: Annotated[str | None, typer.Option(help="of one researcher")] = None,
    spends: Annotated[bool, typer.Option("--spends", help="what was charged, too")] = False,
) -> None:
    from aarlab.core.printable import one_line
    from aarlab.evaluation.ledger import Ledger

    path = _folder(name) / "server" / "ledger.sqlite"
    if not path.exists():
        raise Misconfigured(f"There is no ledger at {path}. Name a campaign that was begun, or its folder.")
    ledger = Ledger(path, read_only=True)
    try:
        for entry in ledger.entries():
            if (who is None or entry.who == who) and (spends or entry.kind != "spend"):
                words = f"{entry.kind:<12} {in_words(entry)}"
                print(one_line(f"{entry.seq:6d} {entry.at[:19]} {entry.who:<14} {words}", 200))
    finally:
        ledger.close()


def in_words(entry: Entry) -> str:
    """What an entry records, in a few words; receipts and findings by their ids."""
    body = entry.body
    if entry.kind == "submission":
        receipt = body["receipt"]
        verdict = "improved" if receipt["improved"] else "no improvement told"
        return f"{receipt['id']} {body['family']}: {verdict}, level PGR {receipt['level_pgr']:.2f}"
    if entry.kind == "finding":
        return f"f-{entry.seq:06d} {body['kind']}, {body['family']}: {body['title']}"
    if entry.kind == "spend":
        usd = "no price" if body.get("usd") is None else f"${body['usd']:.4f}"
        call = body.get("call")
        return f"{call['model']} {usd}" if call else f"{body.get('wall_s', 0.0):.1f} s, {usd}"
    if entry.kind == "flag":
        return f"{body['detector']}: {body['submitter']}"
    if entry.kind == "confirmation":
        return f"{body['snapshot'][:12]} {body.get('verdict', '')}"
    life = f" (life {body['incarnation']})" if body.get("incarnation") else ""
    told = "" if body.get("event") in {"enrolled", "prompts"} else str(body.get("detail") or "")
    return f"{body.get('event', body.get('snapshot', body.get('ticket', '')))}{life} {told}".strip()


@app.command(help="Write a proof that an entry is in the signed ledger; whoever has key.pub can check it without the ledger.")
def prove(
    name: Name,
    entry: Annotated[str, typer.Argument(help="receipt, finding or number")],
    out: Annotated[Path, typer.Option(help="file to write")] = Path("proof.json"),
) -> None:
    from aarlab.evaluation.audit import Files, find, load_key
    from aarlab.evaluation.audit import prove as prove_

    files = Files(_folder(name))
    out.write_text(json.dumps(prove_(files, load_key(files.key), find(files, entry)), indent=1, ensure_ascii=False))
    console.print(f"proof: {out}")


@app.command(help="Check a proof against a public key that you trust; prints the entry that it proves.")
def check(
    proof: Annotated[Path, typer.Argument(help="proof.json")], key: Annotated[Path, typer.Option(help="key.pub")]
) -> None:
    from aarlab.core.errors import InvalidSubmission
    from aarlab.evaluation.audit import check_proof, load_key

    try:
        document = json.loads(proof.read_text())
    except (OSError, ValueError) as error:
        raise InvalidSubmission(
            f"{proof} is no proof that can be read ({error}). Give the file of `aar ledger prove`."
        ) from error
    row, checkpoint = check_proof(document, load_key(key))
    print(json.dumps(row._asdict() | {"body": json.loads(row.body)}, indent=1))
    console.print(f"entry {row.seq} is in {checkpoint.origin} as it was signed at {checkpoint.size} entries")


def _folder(name: str) -> Path:
    from aarlab.core.settings import home

    return Path(name) if Path(name).is_dir() else home().campaigns / name


def _problem(folder: Path) -> Path | None:
    """Where the evaluator that wrote the ledger found its problem, if that is still here."""
    note = folder / "server" / "problem.txt"
    path = Path(note.read_text()) if note.exists() else None
    return path if path is not None and path.is_dir() else None
