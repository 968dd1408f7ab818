"""SmolLM2-135M-Instruct, frozen, with what a submission adds to it; and which of two answers it
would rather give.

Legend: b rows of a batch, w its width in tokens, D = 576 width.
"""

import copy

import torch
from artifact import SHAPES, Artifact
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM
from transformers.utils import logging

from aarlab.core.processor import computes_bfloat16

DEFAULT = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
LEAD = "The answer is"  # how the model's turn begins
BEGIN, END = 1, 2  # <|im_start|>, <|im_end|>
BATCH = 25  # rows


class Steered:
    """The model in `weights` with an artifact. `vectors` and `lora` may be changed, and hold
    tensors that need gradients, at any time."""

    def __init__(self, weights, artifact=None):
        torch.set_num_threads(1)  # beside other work, several wait for each other
        logging.disable_progress_bar()
        logging.set_verbosity_error()
        artifact = artifact or Artifact()
        self.tokenizer = Tokenizer.from_file(str(weights / "tokenizer.json"))
        self.tokenizer.encode_special_tokens = True  # nobody's text has one
        dtype = torch.bfloat16 if computes_bfloat16() else torch.float32
        self.model = LlamaForCausalLM.from_pretrained(weights, dtype=dtype).eval()
        self.model.requires_grad_(False)
        self.vectors = {n: torch.tensor(v) for n, v in artifact.vectors.items()}
        self.lora = {at: tuple(map(torch.tensor, ab)) for at, ab in artifact.lora.items()}
        text = DEFAULT if artifact.prompt is None else artifact.prompt
        self.system = [BEGIN, *self.ids(f"system\n{text}"), END, *self.ids("\n")]
        self._hook()

    def ids(self, text):
        """The tokens of a text."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def _hook(self):
        for number, layer in enumerate(self.model.model.layers, 1):
            layer.register_forward_hook(lambda _m, _i, out, n=number: self._add(n, out))
            of = {**dict(layer.self_attn.named_children()), **dict(layer.mlp.named_children())}
            for matrix in SHAPES:
                of[f"{matrix}_proj"].register_forward_hook(
                    lambda _m, i, out, at=(number, matrix): self._change(at, i[0], out)
                )

    def _add(self, layer, out):
        vector_D = self.vectors.get(layer)
        return out if vector_D is None else out + vector_D.to(out.dtype)

    def _change(self, at, x, out):
        if at not in self.lora:
            return out
        a, b = (m.to(x.dtype) for m in self.lora[at])
        return out + (x @ a.T) @ b.T

    def row(self, text, right, wrong):
        """The tokens after the system's turn, up to where two answers to a user's text differ, and
        the two tokens with which they go on."""
        first, second = (self.ids(f" {answer}.") for answer in (right, wrong))
        same = 0
        while first[same] == second[same]:
            same += 1
        asked = [BEGIN, *self.ids(f"user\n{text}"), END, *self.ids("\n")]
        begun = [BEGIN, *self.ids(f"assistant\n{LEAD}"), *first[:same]]
        return asked + begun, first[same], second[same]

    def margins(self, asked):
        """For each (text, right, wrong) the logit of the right answer minus that of the wrong one,
        at the first token where they differ."""
        rows, found = [self.row(*one) for one in asked], [0.0] * len(asked)
        order = sorted(range(len(rows)), key=lambda n: len(rows[n][0]))
        with torch.inference_mode():
            # by place: transformers has given the argument of a cache two names
            read = self.model.model(torch.tensor([self.system]), use_cache=True)[1]
            for at in range(0, len(order), BATCH):
                some = order[at : at + BATCH]
                before = copy.deepcopy(read)
                before.batch_repeat_interleave(len(some))
                logits_b = self.differences([rows[n] for n in some], before)
                for n, margin in zip(some, logits_b.tolist(), strict=True):
                    found[n] = margin
        return found

    def differences(self, rows, before=None):
        """The same of one batch of what `row` returns, (b,). `before`: what the model has read of
        the system's turn; without it, it is read here, and gradients pass."""
        begin = [] if before is not None else self.system
        width = max(len(row) for row, _, _ in rows)
        padded = torch.tensor([begin + row + [END] * (width - len(row)) for row, _, _ in rows])
        used = before is not None
        states_bwD = self.model.model(padded, None, None, before, use_cache=used)[0]
        last = torch.tensor([len(begin) + len(row) - 1 for row, _, _ in rows])
        states_bD = states_bwD[torch.arange(len(rows)), last].float()
        pairs = torch.tensor([[right, wrong] for _, right, wrong in rows])
        heads_b2D = self.model.lm_head.weight[pairs].float()
        logits_b2 = torch.einsum("bD,bcD->bc", states_bD, heads_b2D)
        return logits_b2[:, 0] - logits_b2[:, 1]
