"""The zero-shot judgement of every rated snippet, which small-chat draws its pairs by.

`.venv/bin/python -m experiments.zero_shot` reads all 23,408 snippets with SmolLM2-135M-Instruct
(about ten minutes on two cores) and says how far its logits are from those that ship; `--write`
replaces the file.
"""

import argparse
import json

import numpy as np

from aarlab.core.settings import home
from aarlab.models.smollm import read_snippets
from aarlab.models.smollm_weights import ensure_weights
from aarlab.problems.rated_snippets import fetch
from aarlab.problems.small_chat import ZERO_SHOT, texts_digest, zero_shot_logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace the file that ships")
    parser.add_argument("--workers", type=int, default=2)
    a = parser.parse_args()
    cache = home().cache
    snippets, weights = fetch(cache), ensure_weights(cache)
    asked = [("", s.text) for s in snippets]
    read_T = read_snippets(asked, weights=weights, cache=cache, workers=a.workers).zero_shot_logit_T
    if a.write:
        np.savez_compressed(
            ZERO_SHOT,
            texts_sha256=texts_digest(snippets),
            weights_sha256=json.loads((weights / "source.json").read_text())["weights_sha256"],
            milli_logit_T=np.round(read_T * 1000).astype(np.int16),
        )
    kept_T = zero_shot_logits(snippets)
    apart_T = np.abs(read_T - kept_T)
    print(f"{len(snippets)} snippets, weights {weights}")
    print(f"largest difference from {ZERO_SHOT.name} {apart_T.max():.4f}")
    print(f"correlation {np.corrcoef(read_T, kept_T)[0, 1]:.6f}")


if __name__ == "__main__":
    main()
