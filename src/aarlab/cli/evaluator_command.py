"""`aar evaluator` and `aar token`: serve the evaluator and the forum for any harness, and manage
tokens. No torch."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aarlab.cli.path_type import path
from aarlab.cli.plain_console import PlainConsole
from aarlab.core.errors import Misconfigured
from aarlab.core.layout import CampaignFolder, ProblemFolder, TestbedFolder
from aarlab.core.operation_records import Role
from aarlab.core.settings import home
from aarlab.core.standard_output import only_showing
from aarlab.evaluation.identity import TokenStore
from aarlab.evaluation.scoring.policies import DEFAULT_POLICY

if TYPE_CHECKING:
    from aarlab.runs.served_folder import ServedFolder

console = PlainConsole(soft_wrap=True)
ALONE = "campaign"  # the campaign's folder inside the served folder


@only_showing()
def evaluator(  # long: each parameter is an option with its help
    folder: Annotated[
        Path,
        typer.Argument(
            parser=path,
            help="folder with private/answers.json and private/ruler.json, a testbed, or the "
            "folder of a problem",
        ),
    ],
    *,
    policy: Annotated[
        str, typer.Option(help="what submitters learn about their scores: a name, or mine.py")
    ] = DEFAULT_POLICY,
    detector: Annotated[
        list[Path] | None, typer.Option(help="a Python file with detectors of yours; repeatable")
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="port on 127.0.0.1; 0 picks a free one")
    ] = 0,
    socket: Annotated[
        list[Path] | None,
        typer.Option(parser=path, help="also listen on this unix socket; repeatable"),
    ] = None,
    store: Annotated[
        list[str] | None,
        typer.Option(
            help="keep the ledger in postgresql://USER@HOST:PORT/DATABASE, code in "
            "s3://BUCKET/PREFIX, without passwords; repeatable"
        ),
    ] = None,
    data_seed: Annotated[int, typer.Option(help="of a problem's folder: draws its data")] = 1,
    workers: Annotated[
        int, typer.Option(min=1, help="gradings at once, of a problem's folder")
    ] = 1,
) -> None:
    """Serve an evaluator and a forum without a fleet: REST under /api/v1, MCP at /mcp. The ledger
    is in FOLDER/campaign.

    Of a problem's folder (problem.yaml), submitted code is run and graded here; the state lies
    under the state folder.

    private/answers.json is {"feedback": {item id: 0 or 1}, "final": {item id: 0 or 1}}.
    private/ruler.json is {"weak", "ceiling", "start"}: accuracies on feedback. private/groups.json
    (optional) is {"feedback": {item id: group}}: items of one group have dependent labels.
    public/problem.json (optional) is shown to researchers.
    """
    from aarlab.evaluation.ledger.places import begin, by_part

    served = _set_up(folder, data_seed)
    folder = folder if served is None else served.folder
    expected = outlook(folder, policy)
    begin(folder / ALONE, *by_part(store or ()))
    detectors = [str(path) for path in detector or ()]
    _serve(
        served,
        folder,
        expected,
        workers,
        policy=policy,
        sockets=socket or [],
        port=port,
        detectors=detectors,
    )


def _set_up(folder: Path, data_seed: int) -> "ServedFolder | None":
    """A problem's folder, set up; None of one that is served as it is.

    Raises:
        Misconfigured: there is no such folder, or its problem cannot be set up.
    """
    if ProblemFolder(folder).contract.is_file():
        from aarlab.cli.serve_problem import set_up

        return set_up(folder, data_seed, console)
    if not folder.is_dir():
        raise Misconfigured(
            f"There is no folder {folder}. Create it with private/answers.json and "
            "private/ruler.json."
        )
    return None


def _serve(
    served: "ServedFolder | None", folder: Path, expected: str, workers: int, **options: Any
) -> None:
    """Serve until it is stopped; of a problem's folder, run and grade what is submitted."""
    from aarlab.fleet.evaluator_process import SOON_S, EvaluatorProcess, serve_until_stopped

    campaign = folder / ALONE
    server = EvaluatorProcess(folder, campaign, takeover_s=SOON_S, **options)

    def ready(url: str) -> None:
        console.print(*_address(url, folder, server.apart), expected, sep="\n")

    if served is None:
        serve_until_stopped(server, ready)
        return
    from aarlab.cli.serve_problem import gradings

    with gradings(served, campaign, server, workers, console) as each:
        serve_until_stopped(server, ready, each)


def _address(url: str, folder: Path, apart: str) -> tuple[str, ...]:
    """Where the server is, and what it takes to use it; a line each."""
    return (
        f"evaluator: {url} (REST under /api/v1, MCP at /mcp, description at /openapi.json). "
        "Ctrl-C stops.",
        f"operator's token: {CampaignFolder(folder / ALONE).server.operator_token}",
        f"add a researcher: aar token NAME --campaign {folder}",
        f"the lab is apart from the evaluator by {apart}",
    )


def outlook(folder: Path, policy: str) -> str:
    """One line: what nine honest submitters can expect of this label set under the policy, from its
    start.

    Raises:
        Misconfigured: the folder's labels or anchors cannot be read, or there is no such policy.
    """
    from aarlab.evaluation.scoring.marking import marking_of
    from aarlab.fleet.start_outlook import start_outlook

    marking = marking_of(folder)
    units, pgr_scale = marking.units, marking.pgr_scale
    made = start_outlook(policy, units, pgr_scale, fleets=0 if pgr_scale.combined else None)
    counted = (
        f"The units count as {units.independent:,} independent ones, by the clusters of units.json."
        if pgr_scale.combined
        else f"The items count as {units.independent:,} independent labels; if some labels depend "
        "on each other, list their groups in private/groups.json."
    )
    return " ".join(filter(None, (made.words, made.trouble, counted)))


def token(
    name: Annotated[
        str | None,
        typer.Argument(help="the researcher's name; without it, the names with a token are listed"),
    ] = None,
    *,
    campaign: Annotated[
        Path,
        typer.Option(
            parser=path, help="a campaign's name or folder, or a folder of `aar evaluator`"
        ),
    ] = Path("demo"),
    role: Annotated[
        str, typer.Option(help="researcher, reader (submits nothing) or operator")
    ] = "researcher",
    hours: Annotated[
        float | None,
        typer.Option(min=0.001, max=100_000, help="hours until the token expires [never]"),
    ] = None,
    revoke: Annotated[
        bool, typer.Option("--revoke", help="revoke the token of NAME instead")
    ] = False,
) -> None:
    """Issue a token (printed once) or revoke one. A running server applies it at once. A new
    token replaces the old one."""
    tokens = TokenStore(server_folder(campaign))
    if name is None:
        for issued in tokens.all():
            until = (
                ""
                if issued.expires is None
                else time.strftime(" until %F %T UTC", time.gmtime(issued.expires))
            )
            print(f"{issued.name} ({issued.role}){until}")
    elif revoke:
        tokens.revoke(name)
        print(f"The token of {name} is revoked.", file=sys.stderr)
    else:
        print(tokens.issue(name, _role(role), seconds=None if hours is None else hours * 3600))
        print(
            f"It identifies {name} ({role}); send it as 'Authorization: Bearer TOKEN'.",
            file=sys.stderr,
        )


def _role(word: str) -> Role:
    if word not in ("researcher", "reader", "operator"):
        raise Misconfigured(f"There is no role '{word}'. Use researcher, reader or operator.")
    return word


def server_folder(campaign: Path) -> Path:
    """The folder that holds a campaign's tokens.

    Raises:
        Misconfigured: there is no such campaign.
    """
    if TestbedFolder(campaign).answers.exists() or TestbedFolder(campaign).served.exists():
        return CampaignFolder(campaign / ALONE).server.root
    for folder in (campaign, home().campaigns / campaign):
        if (server := CampaignFolder(folder).server.root).is_dir():
            return server
    raise Misconfigured(
        f"'{campaign}' is no campaign that was begun and no folder of `aar evaluator`. Start its "
        "server first."
    )
