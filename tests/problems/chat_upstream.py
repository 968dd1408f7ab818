"""Small files in the schemas of the data sets that qwen-chat is built from, in a folder as `--from
DIR` wants it."""

import gzip
import json
import random

import pyarrow
from pyarrow import parquet

VOCABULARY = [
    a + b + c
    for a in ("ba", "ke", "lo", "mu", "si")
    for b in ("rin", "dal", "pok", "mus")
    for c in ("a", "et", "on")
]


def text(rng, words=24):
    return " ".join(rng.choices(VOCABULARY, k=words))


def helpsteer2(rng, split, strength):
    return {
        "split": split,
        "prompt": text(rng),
        "response_1": text(rng, 40),
        "response_2": text(rng, 40),
        "preference_strength": strength,
        "preference_statement": "Response 1 is slightly better.",
        "preference_elaboration": "It says more.",
        "three_most_similar_preferences": [],
        "all_preferences_unprocessed": [],
    }


def helpsteer3(rng, strength, turns=1):
    roles = ("user", "assistant")
    return {
        "domain": "general",
        "language": "english",
        "context": [{"role": roles[i % 2], "content": text(rng)} for i in range(turns)],
        "response1": text(rng, 40),
        "response2": text(rng, 40),
        "overall_preference": strength,
        "individual_preference": [
            {"score": strength, "reasoning": "r", "feedback1": "a", "feedback2": "b"}
        ],
    }


def focus(rng, number, subset="Focus"):
    return {
        "id": str(number),
        "prompt": text(rng),
        "chosen": [text(rng, 40)],
        "rejected": [text(rng, 40) for _ in range(3)],
        "num_correct": 1,
        "num_incorrect": 3,
        "total_completions": 4,
        "models": ["m"] * 4,
        "subset": subset,
    }


def rm_bench(rng, number, domain="chat"):
    return {
        "id": number,
        "prompt": text(rng),
        "chosen": [f"right style{style} {text(rng, 40)}" for style in range(3)],
        "rejected": [f"wrong style{style} {text(rng, 40)}" for style in range(3)],
        "domain": domain,
    }


def strengths(n):
    """Of both signs and all levels, with a tie in seven."""
    return [(-3, 2, -1, 0, 3, -2, 1)[i % 7] for i in range(n)]


def all_rows(seed=0):
    """By path in the folder; rows as upstream."""
    rng = random.Random(seed)
    return {
        "nvidia/HelpSteer2/preference/preference.jsonl.gz": [
            helpsteer2(rng, "train", s) for s in strengths(140)
        ]
        + [helpsteer2(rng, "val", s) for s in strengths(35)],
        "nvidia/HelpSteer3/preference/train.jsonl.gz": [
            helpsteer3(rng, s, 1 + 2 * (i % 2)) for i, s in enumerate(strengths(140))
        ],
        "nvidia/HelpSteer3/preference/validation.jsonl.gz": [
            helpsteer3(rng, s) for s in strengths(70)
        ],
        "allenai/reward-bench-2/data/test-00000-of-00001.parquet": [
            focus(rng, i) for i in range(24)
        ]
        + [focus(rng, 99, subset="Ties")],
        "THU-KEG/RM-Bench/total_dataset.json": [rm_bench(rng, i) for i in range(12)]
        + [rm_bench(rng, 99, domain="code")],
    }


def write(folder, rows_by_path):
    for path, rows in rows_by_path.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        if path.endswith(".gz"):
            target.write_bytes(gzip.compress(lines.encode(), mtime=0))
        elif path.endswith(".parquet"):
            parquet.write_table(pyarrow.Table.from_pylist(rows), target)
        else:
            target.write_text(json.dumps(rows), encoding="utf-8")
    return folder
