"""Packs against the plain way (packed_oracle): the same logits, loss, gradients and steps, and
nothing leaks."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import packed_oracle as plain
import pytest
import torch
from transformers import get_linear_schedule_with_warmup

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.models import head_training
from aarlab.models.preset import Hardware, Recipe
from aarlab.models.tuned import training
from aarlab.models.tuned.job import TrainingJob, rate_share
from aarlab.models.tuned.tokens import Tokenised, tokenise
from aarlab.models.tuned.tunable import Tunable
from tests.models.tiny_models import make_tiny

pytestmark = pytest.mark.slow

EXACT = Hardware(dtype="float32", pack_tokens=400)
RECIPE = Recipe(rank=4, alpha=8, epochs=2, batch=8, rate=3e-3)
ASKED = plain.questions(20)
HARD = np.random.default_rng(1).integers(0, 2, len(ASKED)).astype(float)
SOFT = np.random.default_rng(2).random(len(ASKED))
Make = Callable[[str], Path]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Make:
    folders: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in folders:
            folder = tmp_path_factory.mktemp(kind)
            folders[kind] = make_tiny(
                folder, seed=3, layers=3, width=32, texts=plain.texts(ASKED), kind=kind
            )
        return folders[kind]

    return make


@pytest.fixture
def tunable(made: Make) -> Tunable:
    return Tunable(made("qwen3"), hardware=EXACT)


@pytest.fixture
def tokens(tunable: Tunable) -> Tokenised:
    return tokenise(ASKED, tunable.tokenizer, max_tokens=512)


def step_gradients(
    tunable: Tunable, tokens: Tokenised, targets_N: np.ndarray, recipe: Recipe = RECIPE, **given
):
    """(loss, gradients) of one step over all items, in packs."""
    weights_N = given.get("weights_N", np.ones(len(tokens)))
    job = TrainingJob(tokens, targets_N, weights_N, recipe, 0, given.get("loss"))
    loss = training.gradients(tunable.engine, job, np.arange(len(tokens)), progress=0.5)
    return loss, plain.gradients(tunable.engine.adapted)


@pytest.mark.parametrize("kind", ["qwen3", "qwen2", "llama"])
def test_packed_is_padded(made: Make, tmp_path: Path, kind: str) -> None:
    """Logits, the study's loss and LoRA's gradients; the other side reads our adapters from peft's
    format."""
    ours = Tunable(made(kind), hardware=EXACT)
    tokens = tokenise(ASKED, ours.tokenizer, max_tokens=512)
    plain.random_adapters(ours, RECIPE)
    theirs = plain.plain_model(made(kind), ours.save(tmp_path))
    rows = plain.label_rows(theirs, tokens)
    no, yes = tokens.label_ids
    np.testing.assert_allclose(
        ours.logits(tokens), (rows[:, yes] - rows[:, no]).detach(), atol=1e-5
    )
    with theirs.disable_adapter():
        bare = plain.label_rows(theirs, tokens)
    np.testing.assert_allclose(
        ours.logits(tokens, adapters=False), (bare[:, yes] - bare[:, no]).detach(), atol=1e-5
    )
    assert np.abs(ours.logits(tokens) - ours.logits(tokens, adapters=False)).max() > 1e-2
    loss, gradients = step_gradients(ours, tokens, HARD)
    wanted = plain.study_loss(theirs, tokens, HARD)
    wanted.backward()
    assert loss == pytest.approx(wanted.item(), rel=1e-5)
    assert plain.furthest(gradients, plain.gradients(theirs)) < 1e-4
    assert len(gradients) == 2 * 7 * 3


def test_steps_are_those_of_a_plain_loop(made: Make, tmp_path: Path) -> None:
    """AdamW, linear warm-up and decay, clip: an independent loop with the other library's
    schedule."""
    ours = Tunable(made("qwen3"), hardware=EXACT)
    tokens = tokenise(ASKED, ours.tokenizer, max_tokens=512)
    # rate 0: the start
    ours.fine_tune(
        tokens.take([0]), HARD[:1], recipe=RECIPE.model_copy(update={"epochs": 1}), seed=5
    )
    theirs = plain.plain_model(made("qwen3"), ours.save(tmp_path / "start"))
    reported: list[training.TrainingStep] = []
    recipe = RECIPE.model_copy(update={"epochs": 5, "clip": 0.05})
    trained = ours.fine_tune(tokens, HARD, recipe=recipe, seed=5, progress=reported.append)
    adapters = [p for p in theirs.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(adapters, lr=recipe.rate, weight_decay=0.0)
    schedule = get_linear_schedule_with_warmup(optimiser, num_warmup_steps=2, num_training_steps=15)
    draw, losses, norms = np.random.default_rng(5), [], []
    for order in (draw.permutation(20) for _ in range(5)):
        for rows in (order[:8], order[8:16], order[16:]):
            loss = plain.study_loss(theirs, tokens.take(rows), HARD[rows])
            optimiser.zero_grad()
            loss.backward()
            norms.append(float(torch.nn.utils.clip_grad_norm_(adapters, 0.05)))
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
    np.testing.assert_allclose(trained.loss_S, losses, rtol=2e-5)
    assert max(norms) > 0.05 > 0  # some steps were clipped
    assert losses[-1] < losses[0]
    assert [(s.step, s.of) for s in reported] == [(n, 15) for n in range(1, 16)]
    assert trained.tokens == 5 * (tokens.lengths_N + 1).sum()
    for mine, other in zip(training.lean_lora.trained(ours.engine.adapted), adapters, strict=True):
        torch.testing.assert_close(mine, other, atol=2e-4, rtol=1e-3)


def test_the_rate_is_the_schedules() -> None:
    for steps, warmup in itertools.product((1, 7, 40), (0.0, 0.1, 0.5)):
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule = get_linear_schedule_with_warmup(
            optimiser, -(-int(steps * warmup * 10) // 10), steps
        )
        rates = []
        for _ in range(steps):
            rates.append(schedule.get_last_lr()[0])
            optimiser.step()
            schedule.step()
        assert [rate_share(s, steps, warmup) for s in range(steps)] == pytest.approx(rates)


def test_a_soft_target_is_the_mixture_of_both_labels_but_for_the_end(
    tunable: Tunable, tokens: Tokenised
) -> None:
    """Over the vocabulary, CE(t) = t CE(1) + (1 - t) CE(0): with the end's term read after the
    likelier word."""
    plain.random_adapters(tunable, RECIPE)
    one = tokens.take([3])
    at = {t: step_gradients(tunable, one, np.array([t]))[0] for t in (0.0, 0.3, 1.0)}
    ends = {
        t: step_gradients(
            tunable, one, np.array([t]), RECIPE.model_copy(update={"format_weight": 0.0})
        )[0]
        for t in at
    }
    # what is not about the label: said, and the end after word 0 or 1
    rest = {t: 2 * at[t] - ends[t] for t in at}
    assert ends[0.3] == pytest.approx(0.7 * ends[0.0] + 0.3 * ends[1.0], rel=1e-5)
    assert rest[0.3] == pytest.approx(rest[0.0], rel=1e-5)
    assert rest[0.0] != pytest.approx(rest[1.0], rel=1e-5)


def test_a_two_row_head_is_binary_cross_entropy(tunable: Tunable, tokens: Tokenised) -> None:
    plain.random_adapters(tunable, RECIPE)
    loss, _ = step_gradients(
        tunable, tokens, SOFT, RECIPE.model_copy(update={"format_weight": 0.0})
    )
    z = torch.from_numpy(tunable.logits(tokens))
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(z, torch.from_numpy(SOFT))
    assert loss == pytest.approx(wanted.item(), rel=1e-5)


def test_weights_count_as_shares_of_the_mean(
    made: Make, tmp_path: Path, tunable: Tunable, tokens: Tokenised
) -> None:
    weights = np.random.default_rng(4).random(len(tokens)) * 5
    weights[3] = 0.0
    plain.random_adapters(tunable, RECIPE)
    theirs = plain.plain_model(made("qwen3"), tunable.save(tmp_path))
    wanted = plain.study_loss(theirs, tokens, HARD, weights)
    wanted.backward()
    loss, gradients = step_gradients(tunable, tokens, HARD, weights_N=weights)
    assert loss == pytest.approx(wanted.item(), rel=1e-5)
    assert plain.furthest(gradients, plain.gradients(theirs)) < 1e-4


@pytest.mark.parametrize("pack_tokens", [400, 100_000])
def test_a_loss_in_numpy_gives_the_gradients_of_the_one_in_torch(
    made: Make, pack_tokens: int
) -> None:
    """In steps of several packs and of one. The loss is called once, with the step's items in their
    order."""
    ours = Tunable(made("qwen3"), hardware=EXACT.model_copy(update={"pack_tokens": pack_tokens}))
    tokens = tokenise(ASKED, ours.tokenizer, max_tokens=512)
    plain.random_adapters(ours, RECIPE)
    calls = []

    def own(logits: np.ndarray, targets: np.ndarray, progress: float):
        calls.append((logits, targets, progress))
        return head_training.cross_entropy(logits, targets, progress)

    loss, gradients = step_gradients(ours, tokens, SOFT)
    same_loss, same = step_gradients(ours, tokens, SOFT, loss=own)
    assert same_loss == pytest.approx(loss, rel=1e-6)
    assert plain.furthest(same, gradients) < 1e-5
    assert len(calls) == 1
    np.testing.assert_allclose(calls[0][0], ours.logits(tokens), atol=1e-6)
    assert (calls[0][1] == SOFT).all()
    assert calls[0][2] == 0.5


def test_a_loss_that_answers_nonsense_is_the_methods_fault(
    tunable: Tunable, tokens: Tokenised
) -> None:
    for nonsense in (
        lambda z, t, p: z,
        lambda z, t, p: (z[:1], z),
        lambda z, t, p: (z, z * np.nan),
        lambda z, t, p: None,
    ):
        with pytest.raises(InvalidSubmission, match="loss"):
            tunable.fine_tune(tokens, SOFT, recipe=RECIPE, seed=0, loss=nonsense)
    with pytest.raises(InvalidSubmission, match="targets must lie"):
        tunable.fine_tune(tokens, SOFT * 2, recipe=RECIPE, seed=0)
    with pytest.raises(InvalidSubmission, match="20 finite numbers"):
        tunable.fine_tune(tokens, SOFT[:4], recipe=RECIPE, seed=0)
    with pytest.raises(InvalidSubmission, match="not all zero"):
        tunable.fine_tune(tokens, SOFT, recipe=RECIPE, seed=0, weights_N=np.zeros(20))
    with pytest.raises(InvalidSubmission, match="No training item"):
        tunable.fine_tune(tokens.take([]), SOFT[:0], recipe=RECIPE, seed=0)


def test_a_neighbour_in_the_pack_changes_nothing(tunable: Tunable, tokens: Tokenised) -> None:
    """Exactly: the other items' tokens are replaced, and the item's logit and gradient stay, to the
    last bit."""
    plain.random_adapters(tunable, RECIPE)
    few = tokens.take(range(4))
    other = Tokenised(
        [few.ids[0], *((ids + 17) % 300 for ids in few.ids[1:])],
        few.cut_N,
        few.label_ids,
        few.eos_id,
    )
    before, after = tunable.logits(few), tunable.logits(other)
    assert before[0] == after[0]
    assert (before[1:] != after[1:]).all()
    alone = np.array([1.0, 0.0, 0.0, 0.0])
    (_, gradients), (_, changed) = (
        step_gradients(tunable, t, SOFT[:4], weights_N=alone) for t in (few, other)
    )
    assert all((gradients[n] == changed[n]).all() for n in gradients)


def test_the_least_likely_label_words_are_read_like_any(made: Make) -> None:
    """A list of the likeliest words would not have them."""
    ours = Tunable(made("llama"), hardware=EXACT)
    tokens = tokenise(ASKED, ours.tokenizer, max_tokens=512)
    final, head_VD = [], ours.base.head_VD
    with torch.no_grad():
        ours.engine.over_packs(
            tokens.ids, lambda rows, p: final.append(ours.engine.final(p, p.ends_n))
        )
        away_D = -torch.cat(final).mean(0)
        head_VD[list(tokens.label_ids)] = torch.stack([50 * away_D, 49 * away_D])
        rows = plain.label_rows(
            ours.base.model.set_attn_implementation("sdpa") or ours.base.model, tokens
        )
        ours.base.model.set_attn_implementation("aar_varlen")
    no, yes = tokens.label_ids
    least = rows.argsort(dim=1)[:, :2].sort(dim=1).values
    assert least.tolist() == [sorted(tokens.label_ids)] * len(tokens)
    np.testing.assert_allclose(
        ours.logits(tokens, adapters=False), rows[:, yes] - rows[:, no], rtol=1e-4, atol=1e-4
    )


def test_states_are_the_librarys(
    made: Make, tunable: Tunable, tokens: Tokenised, tmp_path: Path
) -> None:
    plain.random_adapters(tunable, RECIPE)
    theirs = plain.plain_model(made("qwen3"), tunable.save(tmp_path))
    ids, mask = plain.padded(tokens.ids, tokens.eos_id)
    with theirs.disable_adapter(), torch.no_grad():
        hidden = theirs(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    wanted = np.stack(
        [hidden[layer][torch.arange(20), mask.sum(1) - 1].numpy() for layer in (2, 0, 1)]
    )
    states = tunable.states(tokens, [2, 0, 1])
    assert states.dtype == np.float16
    np.testing.assert_allclose(states, wanted, atol=2e-3)
    with pytest.raises(Misconfigured, match="the model has 3"):
        tunable.states(tokens, [4])


def test_bfloat16_is_as_near_to_float32_as_the_plain_way_in_bfloat16(
    made: Make, tmp_path: Path
) -> None:
    ours = Tunable(made("qwen3"), hardware=EXACT.model_copy(update={"dtype": "bfloat16"}))
    tokens = tokenise(ASKED, ours.tokenizer, max_tokens=512)
    adapted = plain.random_adapters(ours, RECIPE)
    assert {p.dtype for p in training.lean_lora.trained(adapted)} == {torch.float32}
    folder = ours.save(tmp_path)
    loss, gradients = step_gradients(ours, tokens, HARD)
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        theirs = plain.plain_model(made("qwen3"), folder, dtype)
        rows = plain.label_rows(theirs, tokens).detach().float()
        their_loss = plain.study_loss(theirs, tokens, HARD)
        their_loss.backward()
        words = rows[:, tokens.label_ids[1]] - rows[:, tokens.label_ids[0]]
        found[dtype] = words, their_loss.item(), plain.gradients(theirs)
    (exact_z, exact_loss, exact), (plain_z, _, rounded) = (
        found[torch.float32],
        found[torch.bfloat16],
    )
    error, plain_error = (
        float(np.square(z - exact_z.numpy()).mean()) ** 0.5
        for z in (ours.logits(tokens), plain_z.numpy())
    )
    assert error < 1.5 * plain_error < 0.05 * exact_z.std()
    assert loss == pytest.approx(exact_loss, rel=1e-3)

    def away(gradients: dict[str, torch.Tensor]) -> float:
        mine, right = (
            torch.cat([s[n].float().flatten() for n in exact]) for s in (gradients, exact)
        )
        return float((mine - right).norm() / right.norm())

    assert away(gradients) < 1.5 * away(rounded) < 0.15


def test_a_seed_decides_and_nothing_else_does(tunable: Tunable, tokens: Tokenised) -> None:
    def logits(seed: int) -> np.ndarray:
        tunable.fine_tune(tokens, SOFT, recipe=RECIPE, seed=seed)
        return tunable.logits(tokens)

    first, other = logits(0), logits(1)
    torch.manual_seed(99)
    assert (logits(0) == first).all()
    assert (other != first).any()
    with pytest.raises(Misconfigured, match="Call fine_tune first"):
        Tunable(Path(tunable.base.model.config._name_or_path), hardware=EXACT).logits(tokens)
