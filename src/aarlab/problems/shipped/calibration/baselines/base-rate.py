import json


def submit(public, inputs, out, seed):
    rows = [json.loads(line) for line in (public / "train.jsonl").read_text().splitlines()]
    rate = sum(row["event"] for row in rows) / len(rows)
    return {json.loads(line)["id"]: rate for line in inputs.read_text().splitlines()}
