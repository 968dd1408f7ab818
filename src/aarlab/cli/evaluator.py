"""`aar evaluator` and `aar token`: the judge and the forum alone, for any harness, and who may speak to them. No torch."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from aarlab.core.errors import Misconfigured
from aarlab.core.settings import home
from aarlab.evaluation.policies import DEFAULT_POLICY
from aarlab.server.identity import Role, Tokens

console = Console(highlight=False, soft_wrap=True)
ALONE = "campaign"  # the campaign's folder inside a folder that is served alone


def evaluator(
    folder: Annotated[Path, typer.Argument(help="holds private/answers.json and private/ruler.json, or what set-up wrote")],
    *,
    policy: Annotated[str, typer.Option(help="what a submitter is told about a score")] = DEFAULT_POLICY,
    port: Annotated[int, typer.Option(min=0, max=65535, help="on 127.0.0.1; 0 picks a free one")] = 0,
    socket: Annotated[list[Path] | None, typer.Option(help="a unix socket to listen on as well; repeatable")] = None,
) -> None:
    """Serve an evaluator and a forum alone: REST under /api/v1, MCP at /mcp. Its record is kept in FOLDER/campaign.

    private/answers.json is {"feedback": {item id: 0 or 1}, "final": {item id: 0 or 1}}; private/ruler.json is
    {"weak", "ceiling", "start"}, accuracies on feedback; public/problem.json, if there is one, is shown to researchers.
    """
    from aarlab.server.serve import run

    if not folder.is_dir():
        raise Misconfigured(f"There is no folder {folder}. Make it, with private/answers.json and private/ruler.json in it.")
    campaign = folder / ALONE
    expected = outlook(folder, policy)

    def ready(url: str) -> None:
        console.print(f"evaluator: {url} (REST under /api/v1, MCP at /mcp, description at /openapi.json). Ctrl-C stops.")
        console.print(f"operator's token: {campaign / 'server' / 'operator.token'}")
        console.print(f"add a researcher: aar token NAME --campaign {folder}")
        console.print(expected)

    run(folder, campaign, policy=policy, port=port, paths=socket or [], ready=ready)


def outlook(folder: Path, policy: str) -> str:
    """What submitters can expect of this label set before anything was told, in one line.

    Raises:
        Misconfigured: the folder's labels or ruler cannot be read, or there is no such policy.
    """
    from aarlab.evaluation import metered as _metered  # noqa: F401 - registers the default policies
    from aarlab.evaluation.answers import load_answers, load_ruler
    from aarlab.evaluation.policies import POLICIES, start

    n, begin = len(load_answers(folder, "feedback")["feedback"]), load_ruler(folder).start
    expected = POLICIES[policy].outlook(start(begin, n), "the first researcher")
    if expected.price_bits is None:
        return f"{n} feedback items are too few for '{policy}': no improvement will ever be told. See `aar simulate --n {n}`."
    cap = "no cap" if expected.cap_bits is None else f"{expected.cap_bits:.0f} bits in all"
    return f"{n} feedback items, policy '{policy}': {cap}, an improvement is told from accuracy {expected.next_step:.3f}"


def token(
    name: Annotated[str | None, typer.Argument(help="of the researcher; without it, those who have a token are listed")] = None,
    *,
    campaign: Annotated[Path, typer.Option(help="a campaign's name or folder, or a folder of `aar evaluator`")] = Path("demo"),
    role: Annotated[str, typer.Option(help="researcher, reader (submits nothing) or operator")] = "researcher",
    hours: Annotated[float | None, typer.Option(min=0.001, max=100_000, help="until it ends; never if not given")] = None,
    revoke: Annotated[bool, typer.Option("--revoke", help="end the token of NAME instead")] = False,
) -> None:
    """Issue a token (printed once, alone) or end one; a server that runs heeds it at once. A new one ends the old one."""
    tokens = Tokens(server_folder(campaign))
    if name is None:
        for issued in tokens.all():
            until = "" if issued.expires is None else time.strftime(" until %F %T UTC", time.gmtime(issued.expires))
            print(f"{issued.name} ({issued.role}){until}")
    elif revoke:
        tokens.revoke(name)
        print(f"The token of {name} has ended.", file=sys.stderr)
    else:
        print(tokens.issue(name, _role(role), seconds=None if hours is None else hours * 3600))
        print(f"It stands for {name} ({role}); send it as 'Authorization: Bearer TOKEN'.", file=sys.stderr)


def _role(word: str) -> Role:
    if word not in ("researcher", "reader", "operator"):
        raise Misconfigured(f"There is no role '{word}'. Known: researcher, reader, operator.")
    return word


def server_folder(campaign: Path) -> Path:
    """Where the tokens of a campaign lie.

    Raises:
        Misconfigured: it is no campaign.
    """
    if (campaign / "private" / "answers.json").exists():
        return campaign / ALONE / "server"
    for folder in (campaign, home().campaigns / campaign):
        if (folder / "server").is_dir():
            return folder / "server"
    raise Misconfigured(f"'{campaign}' is no campaign that was begun and no folder of `aar evaluator`. Start its server first.")
