"""The study's loss: cross-entropy over the whole vocabulary at two positions an item, where the
label word and where the end of the text are predicted. Against a soft target t it is taken apart:

    BCE(z, t)  +  f * [-log(p0 + p1)]  +  f * [-log p(end | the likelier label word)],
    z = log p1 - log p0

Legend: n items, D width, V vocabulary, f format weight, z logit that the label is 1.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aarlab.core.errors import InvalidSubmission
from aarlab.models.head_training import Loss


def word_logits(final_nD: Tensor, head_VD: Tensor, label_ids: tuple[int, int]) -> Tensor:
    """Logits (n, 2) of the two label words, in float32: their rows alone, so that neither can be
    missing from a list of the likeliest words."""
    return final_nD.float() @ head_VD[list(label_ids)].float().T


def format_loss(
    end_nD: Tensor, word_nD: Tensor, head_VD: Tensor, words_n2: Tensor, eos_id: int
) -> Tensor:
    """(n,): that a label word is said at all after the prompt (`end_nD`), and that the text ends
    after it (`word_nD`)."""
    logits = torch.cat([end_nD, word_nD]).float() @ head_VD.float().T
    whole_n, whole_after_n = torch.logsumexp(logits, dim=1).chunk(2)
    said_n = whole_n - torch.logsumexp(words_n2, dim=1)
    return said_n + whole_after_n - logits[len(end_nD) :, eos_id]


def cross_entropy(logits_n: Tensor, targets_n: Tensor) -> Tensor:
    """Binary cross-entropy (n,) against soft targets."""
    return torch.nn.functional.softplus(logits_n) - targets_n * logits_n


def asked(
    loss: Loss, logits_b: Tensor, targets_b: NDArray[np.float64], progress: float
) -> tuple[Tensor, Tensor]:
    """A method's own loss (b,) of a step and its slope (b,), from its numpy function.

    Raises:
        InvalidSubmission: what it returned does not fit or is not finite.
    """
    answer = loss(logits_b.detach().double().cpu().numpy(), targets_b, progress)
    try:
        value_b, slope_b = (np.asarray(part, dtype=np.float64) for part in answer)
    except (TypeError, ValueError) as error:
        raise InvalidSubmission(
            f"The loss must return two arrays (loss, d loss / d logit); got {error}."
        ) from error
    for name, part in (("loss", value_b), ("slope", slope_b)):
        if part.shape != targets_b.shape or not np.isfinite(part).all():
            raise InvalidSubmission(
                f"The loss's {name} must be {len(targets_b)} finite numbers, got shape "
                f"{part.shape}."
            )
    value, slope = (torch.from_numpy(part).to(logits_b) for part in (value_b, slope_b))
    return value, slope
