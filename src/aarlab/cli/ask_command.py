"""What an operator asks of a campaign that runs: `aar pause`, `continue`, `extend`, `message`,
`hide`. Each is an entry of the ledger."""

from typing import Annotated

import typer

from aarlab.core.settings import home
from aarlab.core.standard_output import only_showing
from aarlab.fleet.campaign import begun

Name = Annotated[str, typer.Argument(help="the campaign's name")]


@only_showing()
def pause(name: Name) -> None:
    """Pause a running campaign: its researchers end in order, its clock stands still, and all that
    was submitted is kept."""
    _ask(name, "pause")


@only_showing()
def go_on(name: Name) -> None:
    """Let a paused campaign go on: each researcher in the same home and the same session."""
    _ask(name, "continue")


@only_showing()
def extend(
    name: Name,
    limits: Annotated[
        list[str],
        typer.Argument(
            help="the new limit in all: minutes=60, experiments=80, budget.usd=5 (of each), "
            "campaign_budget.hours=20"
        ),
    ],
) -> None:
    """Raise limits of a campaign while it runs."""
    _ask(name, "extend", limits=" ".join(limits))


@only_showing()
def message(
    name: Name,
    researcher: Annotated[str, typer.Argument(help="for example researcher-3, or all")],
    text: Annotated[str, typer.Argument(help="what to say")],
) -> None:
    """Write to a researcher: it reads it under the answer of its next call of a lab's tool."""
    _ask(name, "message", researcher=researcher, text=text)


@only_showing()
def hide(
    name: Name,
    finding: Annotated[str, typer.Argument(help="for example f-000123")],
    undo: Annotated[bool, typer.Option("--undo", help="show it again")] = False,
) -> None:
    """Hide a finding from the researchers. The ledger keeps it, and the pages mark it."""
    _ask(name, "show" if undo else "hide", finding=finding)


def confirm_later(name: str, snapshot: str) -> None:
    """Put a snapshot before the leaders that are confirmed once the fleet has ended."""
    _ask(name, "confirm", snapshot=snapshot)


def _ask(name: str, act: str, **given: str) -> None:
    from aarlab.fleet.operator_orders import ask_for  # takes half a second

    begun(home().campaigns, name)
    print(ask_for(home().campaigns / name, act, given))
