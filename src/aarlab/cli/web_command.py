"""`aar web`: pages that show campaigns live in a browser. Without `--act` it only reads."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from aarlab.core.errors import AarError, Misconfigured
from aarlab.core.held_folder import HeldFolder
from aarlab.core.process import Child
from aarlab.core.settings import environment, home
from aarlab.core.standard_output import only_showing
from aarlab.core.untrusted import clean
from aarlab.fleet.campaign import begun

START_S = 30.0


@only_showing()
def web(
    name: Annotated[
        str | None, typer.Argument(help="the campaign to begin with [the list of all]")
    ] = None,
    *,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="port on 127.0.0.1; 0 picks a free one")
    ] = 0,
    act: Annotated[
        bool,
        typer.Option(
            "--act", help="a browser that logs in may also stop campaigns and resume them"
        ),
    ] = False,
) -> None:
    """Show campaigns in a browser, live: level, researchers, board, code, forum, integrity.

    Prints a login link that works once; a new one is printed when it was used. The server listens
    on 127.0.0.1 alone. To see it from another machine, forward its port, for example 8000:
    ssh -L 8000:127.0.0.1:8000 MACHINE.
    """
    if name is not None:
        begun(home().campaigns, name)

    from aarlab.web.web_server import run  # half a second of imports

    first = threading.Event()

    def say(link: str) -> None:
        words = "another login link" if first.is_set() else "open this login link, once"
        first.set()
        print(f"{words}: {link}", flush=True)

    print(f"campaigns of {home().root}. Ctrl-C stops.", flush=True)
    run(home(), port, say, _page(name), resumed_in_background if act else None)


def resumed_in_background(name: str, minutes: float | None) -> str:
    """Resume a campaign in a process that outlives the pages; what that said.

    Raises:
        Misconfigured: it could not be started; the message is that of `aar run`.
    """
    more = [] if minutes is None else ["--minutes", f"{minutes:g}"]
    program = "from aarlab.cli.main import main; main()"
    argv = [sys.executable, "-c", program, "run", "--resume", name, "--detach", *more]
    env = environment() | {"AAR_HOME": str(home().root)}
    done = subprocess.run(
        argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=START_S * 4
    )
    if done.returncode:
        words = clean(done.stderr or done.stdout).strip()
        raise Misconfigured(f"The campaign was not resumed: {words[-2_000:]}")
    return done.stdout.split("\n")[0]


def _page(name: str | None) -> str:
    """Where a login leads: a campaign's live page, or the list of all."""
    return f"/campaign/{name}/live" if name else "/"


@contextmanager
def pages_beside(name: str, say: Callable[[str], None]) -> Iterator[None]:
    """A context in which another process shows a campaign that is run, and ends with it. The link
    is said; where the pages cannot be served, that is said, and the run goes on."""
    argv = [sys.executable, "-m", "aarlab.web.web_server", "--home", str(home().root)]
    with HeldFolder() as held:  # of the owner alone: a link lets whoever has it look on
        log = held.path / "links"
        server = Child("server of the pages", [*argv, "--begin-at", _page(name)], log=log)
        try:
            server.start()
            server.wait_until(lambda: "\n" in log.read_text(), START_S)
            link = log.read_text().splitlines()[0]
            say(f"pages, live: {link} (works once; `aar web {name}` prints another)")
        except AarError as error:
            say(f"pages: {error}")
        try:
            yield
        finally:
            server.stop()
