"""Where a fine-tuning stands, on disk, so that it goes on after a kill as if nothing had been."""

import hashlib
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from aarlab.core.errors import Misconfigured
from aarlab.core.files import open_whole
from aarlab.models.tuned.job import TrainingJob

FILE = "fine_tuning.pt"


def job_hash(job: TrainingJob) -> str:
    """What a checkpoint is of. The order of the items and the start of the adapters follow from the
    seed; of a method's own loss only that there is one."""
    facts = [
        job.tokens.label_ids,
        job.tokens.eos_id,
        job.recipe.model_dump(),
        job.seed,
        job.loss is None,
    ]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for array in (
        job.tokens.lengths_N,
        np.concatenate(job.tokens.ids),
        job.targets_N,
        job.weights_N,
    ):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class JobCheckpoint:
    """A folder with the last written state of one job; whole or not there."""

    folder: Path
    job: str

    def write(
        self,
        step: int,
        adapters: list[nn.Parameter],
        optimiser: torch.optim.Optimizer,
        loss_S: list[float],
    ) -> None:
        """Steps done, adapters and the optimiser's moments."""
        state = {
            "job": self.job,
            "step": step,
            "loss_S": loss_S,
            "optimiser": optimiser.state_dict(),
        }
        with open_whole(self.folder / FILE) as stream:
            torch.save({**state, "adapters": [p.detach() for p in adapters]}, stream)

    def read(
        self, adapters: list[nn.Parameter], optimiser: torch.optim.Optimizer
    ) -> tuple[int, list[float]] | None:
        """Put adapters and optimiser where they were; (steps done, their losses), or None where
        nothing was written.

        Raises:
            Misconfigured: the file is damaged, or of another job.
        """
        path = self.folder / FILE
        if not path.exists():
            return None
        state = _load(path)
        if state["job"] != self.job:
            raise Misconfigured(
                f"{path} is the checkpoint of another fine-tuning. Delete it, or name another "
                "folder."
            )
        with torch.no_grad():
            for parameter, kept in zip(adapters, state["adapters"], strict=True):
                parameter.copy_(kept)
        optimiser.load_state_dict(state["optimiser"])
        return state["step"], state["loss_S"]


def _load(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise Misconfigured(
            f"{path} is damaged ({str(error)[:100]}). Delete it to start again."
        ) from error
