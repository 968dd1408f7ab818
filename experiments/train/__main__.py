"""What our fine-tuning saves, rung by rung, against the study's way of doing it; and whether both
compute the same.

Run: `make bench-train` (CPU, some minutes), `make bench-train-gpu` (H200 or H100, nine). Exits with
1 if arms disagree. What the rungs are, what is counted and what was found: docs/training.md.
"""

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path


def main() -> int:
    asked = _arguments()
    # one, or Trainer would spread a batch over all; and packs differ in size, which fragments
    # memory
    if asked.gpu:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
        os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    else:
        os.environ["OMP_NUM_THREADS"] = str(asked.threads)
    warnings.filterwarnings(
        "ignore", category=FutureWarning, message=".*gradient_checkpointing"
    )  # peft's and transformers' own
    import torch
    import transformers

    from experiments.train.run import on_cpu, on_gpu

    torch.set_num_threads(asked.threads)
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        return (on_gpu if asked.gpu else on_cpu)(asked, Path(folder))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m experiments.train", description=__doc__)
    parser.add_argument("--preset", choices=("cpu", "ci", "h200"), default="cpu")
    parser.add_argument(
        "--spread", choices=("study", "rm-bench"), default="study", help="of lengths (lengths.py)"
    )
    parser.add_argument(
        "--threads", type=int, default=1, help="more beside other jobs spin against each other"
    )
    parser.add_argument("--out", type=Path, help="a JSON file for all that was found")
    asked = parser.parse_args()
    asked.gpu = asked.preset == "h200"
    return asked


if __name__ == "__main__":
    sys.exit(main())
