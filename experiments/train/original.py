"""Arm a: the way of the study's released code, in plain transformers and PEFT (not Unsloth, whose
fused kernels are faster).

Random batches padded to their longest item, logits of the whole vocabulary at every position, every
layer recomputed in the backward pass. Legend: N items, B items of a micro-batch, T tokens, S steps.
"""

import gc
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import peft
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor, nn

from aarlab.models.preset import Recipe
from aarlab.models.tuned.job import rate_share
from experiments.train.clock import Steps
from experiments.train.lengths import MICRO_BATCH
from experiments.train.random_items import EOS, NO, PAD, YES, RandomItems

IGNORED = -100
FALL_BACK = (32, 8, 4, 2)


@dataclass(frozen=True)
class Trained:
    """Loss of each step (mean over its label tokens), seconds of each but the first, and how it was
    cut."""

    losses_S: list[float]
    seconds: list[float]
    micro_batch: int


class Original:
    """A causal model under PEFT's adapters, as `transformers.Trainer` trains it. `begin` are the
    adapters it starts from."""

    what = "transformers Trainer and PEFT: padded, all logits, layers recomputed"

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        *,
        device: str,
        dtype: torch.dtype,
        recompute: bool = True,
    ) -> None:
        self.recipe, self.device, self.dtype = recipe, device, dtype
        base = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, attn_implementation="sdpa"
        ).to(device)
        config = peft.LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            target_modules=list(recipe.targets),
            lora_dropout=0.0,
            use_rslora=True,
            task_type="CAUSAL_LM",
        )
        if recompute:
            base.gradient_checkpointing_enable(
                gradient_checkpointing_kwargs={"use_reentrant": False}
            )
            base.enable_input_require_grads()
        base.config.use_cache = False
        self.model = peft.get_peft_model(base, config)
        self.begin = {
            name: value.clone()
            for name, value in peft.get_peft_model_state_dict(self.model).items()
        }

    def adopt(self, folder: Path) -> None:
        """Begin from the adapters of that folder, in PEFT's format."""
        found = peft.load_peft_weights(str(folder), device=self.device)
        if apart := sorted(set(found) ^ set(self.begin)):
            raise ValueError(f"Adapters that only one of the two has: {apart[:3]}")
        self.begin = found
        self.reset()

    def reset(self) -> None:
        peft.set_peft_model_state_dict(self.model, self.begin)

    def train(self, items: RandomItems, *, micro_batch: int | None = None) -> Trained:
        """One epoch over the items in their order, 32 items a step; a smaller micro-batch where
        memory runs out."""
        for size in (
            [micro_batch] if micro_batch else [s for s in FALL_BACK if s <= self.recipe.batch]
        ):
            self.reset()
            try:
                return self._train(items, size)
            except torch.OutOfMemoryError:
                if size == FALL_BACK[-1]:
                    raise
            gc.collect()  # outside of the handler, which holds the frames and with them the tensors
            torch.cuda.empty_cache()
        raise AssertionError("the last size returns or raises")

    def _train(self, items: RandomItems, micro_batch: int) -> Trained:
        with tempfile.TemporaryDirectory() as folder:
            asked = transformers.TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=micro_batch,
                gradient_accumulation_steps=self.recipe.batch // micro_batch,
                num_train_epochs=1,
                max_grad_norm=self.recipe.clip,
                bf16=self.dtype == torch.bfloat16,
                use_cpu=self.device == "cpu",
                logging_strategy="no",
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                dataloader_pin_memory=self.device != "cpu",
            )
            steps = Steps(self.device)
            trainer = _Trainer(
                model=self.model,
                args=asked,
                train_dataset=_rows(items),
                data_collator=collate,
                optimizers=self._optimizer(-(-len(items.ids) // self.recipe.batch)),
                callbacks=[_Marks(steps)],
            )
            trainer.remove_callback(transformers.PrinterCallback)
            trainer.train()
        parts = self.recipe.batch // micro_batch
        losses = torch.stack(trainer.losses).float().cpu().numpy()
        return Trained(
            np.add.reduceat(losses, np.arange(0, len(losses), parts)).tolist(),
            steps.seconds,
            micro_batch,
        )

    def _optimizer(
        self, steps: int
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        recipe, trained = self.recipe, [p for p in self.model.parameters() if p.requires_grad]
        fused = self.device != "cpu"
        optimizer = torch.optim.AdamW(
            trained, lr=recipe.rate, weight_decay=recipe.weight_decay, fused=fused
        )
        share = lambda step: rate_share(min(step, steps - 1), steps, recipe.warmup)  # noqa: E731
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, share)

    def gradients(
        self, items: RandomItems, micro_batch: int = MICRO_BATCH
    ) -> dict[str, NDArray[np.float32]]:
        """Of every adapter, from one step over the items, before clipping; by PEFT's names."""
        self.model.train()
        self.model.zero_grad()
        for at in range(0, len(items.ids), micro_batch):
            batch = {
                k: v.to(self.device)
                for k, v in collate(_rows(items[at : at + micro_batch])).items()
            }
            with torch.autocast(
                self.device.split(":")[0], torch.bfloat16, enabled=self.dtype == torch.bfloat16
            ):
                loss = self.model(**batch, num_items_in_batch=torch.tensor(2 * len(items.ids))).loss
            loss.backward()
        found = {
            n: p.grad.float().cpu().numpy()
            for n, p in self.model.named_parameters()
            if p.grad is not None
        }
        self.model.zero_grad()
        return found

    @torch.no_grad()
    def logits(self, items: RandomItems, batch: int = MICRO_BATCH) -> NDArray[np.float64]:
        """z (N,): the whole vocabulary at every position of padded batches, of which two numbers an
        item are read."""
        self.model.eval()
        parts = []
        for at in range(0, len(items.ids), batch):
            part = items[at : at + batch]
            rows, mask = pad([torch.from_numpy(row).long() for row in part.ids])
            logits = self.model(
                input_ids=rows.to(self.device), attention_mask=mask.to(self.device)
            ).logits
            last = logits[torch.arange(len(part.ids)), torch.from_numpy(part.lengths_N - 1)]
            parts.append((last[:, YES].double() - last[:, NO].double()).cpu())
        return torch.cat(parts).numpy()


def pad(rows: list[Tensor], value: int = PAD) -> tuple[Tensor, Tensor]:
    """Rows (B, T) padded on the right, and the mask of their tokens."""
    padded_BT = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)
    lengths_B = torch.tensor([len(row) for row in rows])
    return padded_BT, (torch.arange(padded_BT.shape[1]) < lengths_B[:, None]).long()


def collate(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    ids, mask = pad([row["input_ids"] for row in rows])
    labels, _ = pad([row["labels"] for row in rows], IGNORED)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def _rows(items: RandomItems) -> list[dict[str, Tensor]]:
    """Prompt, label word and end of text; the loss is on the last two."""
    rows = []
    for ids, label in zip(items.ids, items.labels_N, strict=True):
        said = torch.tensor([YES if label else NO, EOS])
        prompt = torch.from_numpy(ids).long()
        rows.append(
            {
                "input_ids": torch.cat([prompt, said]),
                "labels": torch.cat([torch.full_like(prompt, IGNORED), said]),
            }
        )
    return rows


class _Trainer(transformers.Trainer):
    """Keeps the loss of each micro-batch, and takes the items in the order given: they are
    random already."""

    def __init__(self, **arguments: object) -> None:
        super().__init__(**arguments)
        self.losses: list[Tensor] = []

    def training_step(self, *arguments: object, **named: object) -> Tensor:
        loss = super().training_step(*arguments, **named)
        self.losses.append(loss)
        return loss

    def _get_train_sampler(self, *_: object) -> torch.utils.data.Sampler:
        return torch.utils.data.SequentialSampler(self.train_dataset)


class _Marks(transformers.TrainerCallback):
    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def on_step_end(self, *_: object, **__: object) -> None:
        self.steps.mark()
