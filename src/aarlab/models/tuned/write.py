"""`python -m aarlab.models.tuned.write --config FILE`: write the critiques of a `WriteJob`, and
keep each batch at once."""

import json
import os
from pathlib import Path

from aarlab.core.files import write_whole
from aarlab.models.critic import WriteJob, read_items, run_job, texts
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
            how = {"max_new_tokens": recipe.new_tokens, "temperature": recipe.temperature}
            written = made.write(
                prompts[some], seed=job.seed + rows[start], adapter=job.adapter, **how
            )
            for row, text in zip(rows[some], written, strict=True):
                out.write(f"{json.dumps({'row': row, 'text': text})}\n".encode())
            out.flush()
            os.fsync(out.fileno())


def _end_at_a_line(path: Path) -> None:
    """Drop a last line that a kill has cut off."""
    if path.exists():
        whole = path.read_bytes()
        os.truncate(path, whole.rfind(b"\n") + 1)


def main() -> None:
    run_job(WriteJob, write, __doc__)


if __name__ == "__main__":
    main()
