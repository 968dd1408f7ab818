"""What a node runs that lies about results: put in place of `aarlab.runs.node_worker` on that node,
it says that its aarlab is the right one, runs the job, and changes the result before it signs."""

from pathlib import Path

TRUE = Path(__file__).parents[2] / "src" / "aarlab" / "runs" / "node_worker.py"
LIE = """

_true_run = run


def run(request, *others, **named):
    global whole_code
    from aarlab.runs.run_jobs import checked, packed
    import json, types
    whole_code = lambda: types.SimpleNamespace(digest=json.loads(request)["code"])
    head, result = checked(_true_run(request, *others, **named))
    return packed(head) if result is None else packed(head, b"!" + result[1:])
"""


def write_liar(path: Path) -> Path:
    """The module with its lie."""
    path.write_text(TRUE.read_text() + LIE)
    return path


def in_place(liar: Path) -> list[str]:
    """Words before a command, whose process then has the liar in place of the module: nobody else
    does."""
    words = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", words, "lie", str(liar), str(TRUE)]
