"""`aar compare NAME RECEIPT RECEIPT`: two submissions of a campaign, with the interval of their
difference."""

import json
from typing import Annotated

import typer
from rich.table import Table

from aarlab.cli.plain_console import PlainConsole
from aarlab.core.settings import home
from aarlab.fleet.campaign import begun


def compare(
    name: Annotated[str, typer.Argument(help="the campaign's name")],
    first: Annotated[str, typer.Argument(help="a receipt, such as r-000012")],
    second: Annotated[str, typer.Argument(help="another receipt")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Compare two submissions of a campaign, for the operator: exact scores that no researcher may
    see. On feedback as submitted, and on final where both were confirmed."""
    campaign, folder = begun(home().campaigns, name), home().campaigns / name

    from aarlab.cli.run_command import show
    from aarlab.evaluation.evaluator import Evaluator
    from aarlab.fleet.prepare import prepared
    from aarlab.fleet.run_folder import served
    from aarlab.report.comparison import comparisons

    bed = (
        served(campaign, home(), show())
        if campaign.in_folder
        else prepared(campaign, home(), show(), again=False)
    )
    with Evaluator(bed.folder, folder, policy=campaign.policy, read_only=True) as evaluator:
        found = comparisons(evaluator, bed, (first, second))
    if as_json:
        print(json.dumps([one.model_dump() for one in found], indent=1))
        return
    table = Table(title=f"{first} and {second} of {name}: exact scores, not for researchers")
    what = "score" if campaign.in_folder else "accuracy"
    for column in ("split", first, second, f"{what} apart", "p"):
        table.add_column(column)
    for one in found:
        scores = [
            " ".join(filter(None, (f"{s.accuracy}", s.pgr and f"(PGR {s.pgr})")))
            for s in (one.first, one.second)
        ]
        table.add_row(one.split, *scores, f"{one.difference}", f"{one.p:.2g}")
    PlainConsole().print(table)
