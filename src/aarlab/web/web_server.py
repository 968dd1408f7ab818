"""The server of the pages: on loopback alone, until it is stopped.

`python -m aarlab.web.web_server --home DIR --begin-at PAGE --parent-pipe FD` serves beside a run,
on a free port, and prints each login link.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import uvicorn

from aarlab.core.http import configured, listen, serve
from aarlab.core.layout import Home
from aarlab.core.parent_pipe import end_with_parent
from aarlab.web.access import BrowserSessions, PagesAccess
from aarlab.web.actions_view import Resume
from aarlab.web.web_app import Pages, application

KEEP_ALIVE_S = 75
STOP_S = 2  # for answers that are under way when it is stopped


class WebServer(uvicorn.Server):
    """uvicorn, which ends the streams of events first when it is asked to stop."""

    def __init__(self, config: uvicorn.Config, pages: Pages) -> None:
        super().__init__(config)
        self._pages = pages

    async def shutdown(self, sockets: list | None = None) -> None:
        self._pages.ending = True
        await super().shutdown(sockets)


def run(
    home: Home,
    port: int,
    say: Callable[[str], None],
    begin_at: str = "/",
    resume: Resume | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM. `say` is given each login link, the first when requests are
    taken; `begin_at`: the page that a link leads to; `resume`: starts a campaign again, where the
    operator's actions are to be taken.

    Raises:
        Misconfigured: the port is taken.
    """
    sockets = listen(port)
    number = sockets[0].getsockname()[1]
    pages = Pages(home, resume)
    sessions = BrowserSessions(
        lambda token: say(f"http://127.0.0.1:{number}/login?token={token}"), begin_at
    )
    app = PagesAccess(application(pages), sessions, number, acts=resume is not None)
    config = configured(app, keep_alive_s=KEEP_ALIVE_S, stop_s=STOP_S)

    async def announce(_: str) -> None:
        sessions.open_link()

    try:
        asyncio.run(serve(WebServer(config, pages), sockets, announce))
    finally:
        pages.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the state folder")
    parser.add_argument("--begin-at", default="/", help="the page that a login link leads to")
    parser.add_argument("--parent-pipe", type=int, help="a file descriptor: end when it does")
    a = parser.parse_args()
    if a.parent_pipe is not None:
        end_with_parent(a.parent_pipe)
    run(Home(a.home), 0, _print, a.begin_at)


def _print(link: str) -> None:
    sys.stdout.write(f"{link}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
