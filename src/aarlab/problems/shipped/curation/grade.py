import json

from bytes_model import bits_per_byte, train

from aarlab.core.author import PUBLIC, Invalid

BUDGET = 60_000  # bytes of the selected documents together


def read_pool():
    rows = map(json.loads, (PUBLIC / "pool.jsonl").read_text().splitlines())
    return {row["id"]: row["text"] for row in rows}


def check(submission):
    pool, chosen = read_pool(), read(submission)
    if unknown := set(chosen) - pool.keys():
        raise Invalid(f"{len(unknown)} ids are not in the pool, e.g. {min(unknown)[:40]!r}")
    if len(set(chosen)) < len(chosen):
        raise Invalid("an id occurs twice")
    if (size := sum(len(pool[name].encode()) for name in chosen)) > BUDGET:
        raise Invalid(f"the documents have {size:,} bytes together; at most {BUDGET:,} may be used")


def read(submission):
    """The selected ids.

    Raises:
        Invalid: selection.json is missing, or no list of ids.
    """
    file = submission / "selection.json"
    if not file.is_file():
        raise Invalid("there is no selection.json")
    try:
        chosen = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise Invalid("selection.json is no JSON") from error
    if not isinstance(chosen, list) or not all(isinstance(name, str) for name in chosen):
        raise Invalid("selection.json is no list of ids")
    return chosen


def grade(submission, secret, trial):
    pool = read_pool()
    model = train(pool[name] for name in read(submission))
    hidden = json.loads((secret / "documents.json").read_text())
    return {"bits": {unit: bits_per_byte(model, text) for unit, text in hidden.items()}}
