"""`aar metrics`: campaigns as Prometheus metrics, on loopback."""

from typing import Annotated

import typer

from aarlab.core.settings import home
from aarlab.core.standard_output import only_showing


@only_showing()
def metrics(
    *,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="port on 127.0.0.1; 0 picks a free one")
    ] = 9465,
) -> None:
    """Serve the campaigns of this state folder as Prometheus metrics at /metrics: states, reported
    levels, bits, spending, alarms. No exact score is among them.

    The server listens on 127.0.0.1 alone and only reads. Whoever may open a connection on this
    machine may read it.
    """
    from aarlab.programs.fleet_metrics import run

    run(home(), port, lambda url: print(f"metrics: {url} (Ctrl-C stops)", flush=True))
