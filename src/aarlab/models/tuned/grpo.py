"""`python -m aarlab.models.tuned.grpo --config FILE`: train the critic of a `TrainJob` by GRPO,
through TRL.

The strong model writes critiques of items whose label is known; one is worth what it helps the weak
model to the true label (after Saunders et al. 2022, arXiv:2206.05802, and McAleese et al. 2024,
arXiv:2407.00215). Texts are written by vLLM in this process where it is installed (not run where
this was written), else by transformers. Legend: N items, b critiques of a step.
"""

import contextlib
import importlib.util
import json
import logging
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import log_expit

from aarlab.core.files import write_whole
from aarlab.core.layout import CriticFolder
from aarlab.models.critic import TrainJob, read_items, run_job
from aarlab.models.head_training import Array
from aarlab.models.preset import Hardware
from aarlab.models.student_contract import Question
from aarlab.models.tuned.critique import critique_prompts, without_verdict
from aarlab.models.tuned.tokens import tokenise
from aarlab.models.tuned.tunable import Tunable

if TYPE_CHECKING:
    from trl import GRPOConfig, GRPOTrainer

log = logging.getLogger("aarlab.critic")


class Reward:
    """log P(true label | item, critique) - log P(true label | item) to the weak model as it came,
    in nats; the critique is read without its verdict, so that one which says nothing else is worth
    0."""

    __name__ = "teacher"  # what TRL calls it in its log

    def __init__(
        self,
        judge: Tunable,
        questions: Sequence[Question],
        labels: Sequence[int],
        *,
        max_tokens: int,
    ) -> None:
        self._judge, self._questions, self._max_tokens = judge, questions, max_tokens
        self._signs_N = 2 * np.array(labels) - 1
        self.before_N = log_expit(self._signs_N * self._logits(questions))

    def __call__(self, completions: list[str], row: list[int], **others: Any) -> list[float]:
        """One reward a critique; `row` says of which item it is."""
        del others
        read = [
            Question(q.question, q.choices, without_verdict(text, len(q.choices)))
            for q, text in zip((self._questions[r] for r in row), completions, strict=True)
        ]
        after_b = log_expit(self._signs_N[row] * self._logits(read))
        return (after_b - self.before_N[row]).tolist()

    def _logits(self, questions: Sequence[Question]) -> Array:
        tokens = tokenise(questions, self._judge.tokenizer, max_tokens=self._max_tokens)
        return self._judge.logits(tokens, adapters=False)


def train(job: TrainJob) -> None:
    """Train, or resume from the last checkpoint; the adapters are in `folder`/adapter when
    `folder`/critic.json is there."""
    began = time.monotonic()
    with dropped_names():
        trainer = _trainer(job)
    last = last_checkpoint(job.folder / "trainer")
    if last is not None:
        log.info("going on from %s", last.name)
    with dropped_names():
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
    trainer.model.save_pretrained(CriticFolder(job.folder).adapter)
    rewards = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
    tenth = max(1, len(rewards) // 10)
    said = {
        "steps": trainer.state.global_step,
        "reward_first": float(np.mean(rewards[:tenth])),
        "reward_last": float(np.mean(rewards[-tenth:])),
        "seconds": time.monotonic() - began,
        "by": f"vllm {version('vllm')}"
        if trainer.args.use_vllm
        else f"transformers {version('transformers')}",
        "trl": version("trl"),
    }
    write_whole(CriticFolder(job.folder).trained, json.dumps(said).encode())


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of TRL's, or None. One that a kill has cut off lacks the state,
    which is written last, and is removed."""
    whole = []
    for found in folder.glob("checkpoint-*"):
        if _readable(found / "trainer_state.json"):
            whole.append(found)
        else:
            shutil.rmtree(found)
    return max(whole, key=lambda p: int(p.name.rpartition("-")[2]), default=None)


def _readable(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return True


def _trainer(job: TrainJob) -> "GRPOTrainer":
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOTrainer

    class StepReport(TrainerCallback):
        """Says after each step how far the training is."""

        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            said = {"step": state.global_step, "of": state.max_steps}
            write_whole(CriticFolder(job.folder).progress, json.dumps(said).encode())

    questions, labels = read_items(job.folder)
    hardware = Hardware(dtype=job.models.dtype, compile=False)
    judge = Tunable(job.models.weak, device=job.models.device, hardware=hardware, log=log.info)
    tokenizer = AutoTokenizer.from_pretrained(
        job.models.strong, padding_side="left", split_special_tokens=True, local_files_only=True
    )
    prompts = critique_prompts(questions, tokenizer, max_tokens=job.recipe.prompt_tokens)
    model = AutoModelForCausalLM.from_pretrained(
        job.models.strong, dtype=getattr(torch, job.models.dtype), local_files_only=True
    )
    recipe = job.recipe
    return GRPOTrainer(
        model=model,
        reward_funcs=Reward(judge, questions, labels, max_tokens=job.judge_tokens),
        args=_arguments(job, len(questions)),
        train_dataset=Dataset.from_list([{"prompt": p, "row": r} for r, p in enumerate(prompts)]),
        processing_class=tokenizer,
        callbacks=[StepReport()],
        peft_config=LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            use_rslora=True,
            target_modules=list(recipe.targets),
            task_type="CAUSAL_LM",
        ),
    )


@contextlib.contextmanager
def dropped_names() -> Iterator[None]:
    """Without the warnings of TRL's and peft's own use of names that transformers is about to
    drop."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", category=FutureWarning, message=".*gradient_checkpointing` is deprecated"
        )
        yield


def _arguments(job: TrainJob, items: int) -> "GRPOConfig":
    from trl import GRPOConfig

    recipe, cuda = job.recipe, job.models.device.startswith("cuda")
    critiques = min(recipe.prompts, items) * recipe.group
    micro = recipe.micro if critiques % recipe.micro == 0 else recipe.group
    return GRPOConfig(
        output_dir=str(job.folder / "trainer"),
        seed=job.seed,
        learning_rate=recipe.rate,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.most_steps or -1,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=critiques // micro,
        num_generations=recipe.group,
        max_completion_length=recipe.new_tokens,
        temperature=recipe.temperature,
        gradient_checkpointing=cuda,
        bf16=job.models.dtype == "bfloat16",
        use_cpu=not cuda,
        save_steps=recipe.keep_every,
        save_total_limit=2,
        logging_steps=1,
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=cuda,
        use_vllm=cuda and importlib.util.find_spec("vllm") is not None,
        vllm_mode="colocate",
        vllm_gpu_memory_utilization=recipe.vllm_share,
        vllm_enable_sleep_mode=True,
        vllm_max_model_length=recipe.prompt_tokens + recipe.new_tokens + 64,
    )


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    run_job(TrainJob, train, __doc__)


if __name__ == "__main__":
    main()
