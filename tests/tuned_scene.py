"""Items and models of one's own at a tiny shape: a weak and a strong model that know a language to
a different degree, and a preset of both, on the CPU."""

import random
from pathlib import Path

import numpy as np
import yaml

from aarlab.models.student_contract import Question
from aarlab.problems.generated_chat import _snippet
from aarlab.problems.small_chat_easy import make_items

SIZES = {
    ("teacher", "id"): 48,
    ("student", "id"): 48,
    ("feedback", "id"): 24,
    ("final", "id"): 60,
    ("final", "ood"): 60,
}

OWN_LOSS = """
from scipy.special import expit
from aarlab.methods.loss_function import reverse_kl_loss


def run(task, seed):
    labels = expit(task.strong.judge("student"))
    tuned = task.strong.fine_tune(labels, seed=seed, loss=reverse_kl_loss)
    return expit(task.strong.judge("test") + tuned.test_logits_M)
"""


def generated(seed, sizes):
    rng = random.Random(seed)
    sources = ["movieReviewSnippets"] * 1600 + ["tweets"] * 700
    return make_items([_snippet(rng, source, i) for i, source in enumerate(sources)], seed, sizes)


def tuned_scene(folder: Path) -> Path:
    """The folder, with mine.jsonl and tiny.yaml."""
    import torch

    from tests.models.tiny_models import make_tiny, teach_language

    torch.set_num_threads(1)
    items = generated(1, SIZES)
    (folder / "mine.jsonl").write_text("".join(f"{i.model_dump_json()}\n" for i in items))
    lessons = generated(2, {("student", "id"): 600})
    questions = [Question(i.prompt, i.choices) for i in lessons]
    labels = np.array([i.label for i in lessons])
    texts = [text for q in questions for text in (q.question, *q.choices)]
    strong = make_tiny(folder / "strong", seed=0, layers=2, width=32, texts=texts)
    weak = make_tiny(
        folder / "weak", seed=1, layers=1, width=16, texts=texts, kind="qwen2", chat=True
    )
    teach_language(strong, questions, labels, seed=0, epochs=6, rate=4e-3)
    teach_language(weak, questions[:300], labels[:300], seed=0, epochs=3, rate=4e-3)
    recipe = {"rank": 4, "alpha": 4, "batch": 8, "epochs": 2, "rate": 2e-3, "max_tokens": 256}
    preset = {
        "name": "tiny",
        "weak": {"name": "tiny-weak", "folder": str(weak)},
        "strong": {"name": "tiny-strong", "folder": str(strong)},
        "recipe": recipe,
        "seeds": 2,
        "critic_recipe": {
            "prompts": 2,
            "group": 2,
            "micro": 2,
            "most_steps": 1,
            "rank": 4,
            "new_tokens": 4,
        },
        "hardware": {"dtype": "float32", "devices": ["cpu"], "pack_tokens": 4096},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(preset))
    return folder
