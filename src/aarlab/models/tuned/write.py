"""`python -m aarlab.models.tuned.write --config FILE`: write the critiques of a `WriteJob`, and
keep each batch at once."""

import argparse
import json
import os
from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.files import write_whole
from aarlab.core.lifeline import end_when_cut
from aarlab.models.critic import MISCONFIGURED, WriteJob, read_items, texts
from aarlab.models.tuned.critique import critique_prompts
from aarlab.models.tuned.generation import writer

AT_ONCE = 128  # items between two writes to the disk


def write(job: WriteJob) -> None:
    """Append the missing rows' texts to the job's file, in batches; say beside it who wrote."""
    from transformers import AutoTokenizer

    questions, _ = read_items(job.folder)
    recipe, path = job.recipe, job.folder / f"{job.name}.jsonl"
    rows = [row for row in job.rows if row not in texts(job.folder)]
    prompts = critique_prompts(
        [questions[row] for row in rows],
        AutoTokenizer.from_pretrained(job.models.strong, local_files_only=True),
        max_tokens=recipe.prompt_tokens,
    )
    _end_at_a_line(path)
    places = {"device": job.models.device, "dtype": job.models.dtype}
    # a cut prompt, tokenised again, may be a few tokens longer
    most = recipe.prompt_tokens + recipe.new_tokens + 64
    with (
        writer(job.models.strong, rank=recipe.rank, max_tokens=most, **places) as made,
        path.open("ab") as out,
    ):
        write_whole(job.folder / f"{job.name}.by.json", json.dumps({"by": made.by}).encode())
        for start in range(0, len(rows), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            how = {"n": 1, "max_new_tokens": recipe.new_tokens, "temperature": recipe.temperature}
            written = made.write(
                prompts[some], seed=job.seed + rows[start], adapter=job.adapter, **how
            )
            for row, (text,) in zip(rows[some], written, strict=True):
                out.write(f"{json.dumps({'row': row, 'text': text})}\n".encode())
            out.flush()
            os.fsync(out.fileno())


def _end_at_a_line(path: Path) -> None:
    """Drop a last line that a kill has cut off."""
    if path.exists():
        whole = path.read_bytes()
        os.truncate(path, whole.rfind(b"\n") + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--config", type=Path, required=True, help="a file with a WriteJob, as JSON"
    )
    parser.add_argument("--lifeline", type=int, help="a file descriptor: end when it does")
    a = parser.parse_args()
    if a.lifeline is not None:
        end_when_cut(a.lifeline)
    try:
        write(WriteJob.model_validate_json(a.config.read_bytes()))
    except Misconfigured as error:
        parser.exit(MISCONFIGURED, f"{error}\n")


if __name__ == "__main__":
    main()
