"""`-v` and `-q`: how much of its progress a command shows. They may also stand before the
command."""

import logging
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from math import inf
from typing import Annotated, Any

import typer

Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="show progress more often, and what is logged")
]
Quiet = Annotated[
    bool, typer.Option("-q", "--quiet", help="no progress: headings, warnings and results only")
]
_EVERY_S = {-1: inf, 0: 10.0, 1: 2.0}  # without a terminal, between two lines
_detail = 0  # of the command that runs: -1, 0 or 1


def set_detail(*, verbose: bool, quiet: bool) -> None:
    """What was said before the command."""
    global _detail
    _detail = verbose - quiet


def shows_progress(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes both options."""

    @wraps(command)
    def with_options(*given: Any, verbose: bool, quiet: bool, **named: Any) -> None:
        global _detail
        _detail = max(-1, min(1, _detail + verbose - quiet))
        command(*given, **named)

    both = {"verbose": Verbose, "quiet": Quiet}
    before = signature(command)
    with_options.__signature__ = before.replace(  # type: ignore[attr-defined]
        parameters=[
            *before.parameters.values(),
            *(
                Parameter(name, Parameter.KEYWORD_ONLY, default=False, annotation=option)
                for name, option in both.items()
            ),
        ]
    )
    with_options.__annotations__ = command.__annotations__ | both
    return with_options


def quiet() -> bool:
    """Whether the command that runs shows no progress."""
    return _detail < 0


def line_every_s() -> float:
    """Where there is no terminal, the seconds between two lines of progress."""
    return _EVERY_S[_detail]


def log_if_verbose() -> None:
    """With `-v`, show on stderr what aarlab logs."""
    if _detail > 0:
        logging.basicConfig(format="%(name)s: %(message)s")
        logging.getLogger("aarlab").setLevel(logging.INFO)
