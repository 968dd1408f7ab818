"""`aar ledger`: is the record what it was when it was told, and where does a figure come from?"""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

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
