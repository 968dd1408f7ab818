"""`python -m aarlab.runs.make_inside`: inside a sandbox, `prepare(seed, public, sealed, secret)` of
a problem, `submit(public, inputs, out, seed)` of a baseline or a researcher's code, or
`ablate(seed, public)` of a problem, which changes the files of `public`.

`inputs` is the file with the items to be answered, and None where no predictions are submitted.
`submit` returns predictions, {item id: value}, or writes the files of a program or an artifact into
the folder `out` and returns None.
"""

import argparse
import json
from pathlib import Path

from aarlab.core import author
from aarlab.runs.grade_inside import load, plain

PREDICTIONS = "predictions.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--code", type=Path, required=True, help="the file with the function")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--public", type=Path, required=True)
    parser.add_argument("--sealed", type=Path, help="prepare: for the inputs of `final`")
    parser.add_argument("--secret", type=Path, help="prepare: for the grader's secrets")
    parser.add_argument("--inputs", type=Path, help="submit: the file with the split's items")
    parser.add_argument("--out", type=Path, help="submit: for its files")
    parser.add_argument("--ablate", action="store_true", help="change the public data")
    parser.add_argument("--weights", type=Path, default=author.WEIGHTS, help="a frozen model")
    parser.add_argument("--begun", type=Path, help="made before the code runs")
    a = parser.parse_args()
    if a.begun is not None:
        a.begun.touch()
    if a.out is not None:
        a.out.mkdir(exist_ok=True)
    author.WEIGHTS = a.weights
    module = load(a.code)
    if a.secret is not None:
        module.prepare(a.seed, a.public, a.sealed, a.secret)
        return
    if a.ablate:
        module.ablate(a.seed, a.public)
        return
    if not hasattr(module, "submit"):
        raise AttributeError(f"{a.code.name} defines no submit(public, inputs, out, seed)")
    found = module.submit(a.public, a.inputs, a.out, a.seed)
    if found is not None:
        (a.out / PREDICTIONS).write_text(json.dumps(found, default=plain))


if __name__ == "__main__":
    main()
