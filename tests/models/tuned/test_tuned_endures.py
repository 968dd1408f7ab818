"""A fine-tuning that is killed, that runs out of memory; and what a tiny model can learn."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import packed_oracle as plain
import pytest
import torch
from transformers import AutoTokenizer

from aarlab.core.errors import Misconfigured
from aarlab.models.preset import Hardware, Recipe
from aarlab.models.student_contract import Question
from aarlab.models.tuned import lean_lora, training
from aarlab.models.tuned.checkpoint import FILE
from aarlab.models.tuned.job import TrainingJob
from aarlab.models.tuned.tokens import Tokenised, tokenise
from aarlab.models.tuned.tunable import Tunable
from tests.models.tiny_models import make_tiny, teach_language

pytestmark = pytest.mark.process

EVERY_STEP = Hardware(dtype="float32", pack_tokens=400, checkpoint_s=1e-9)
RECIPE = Recipe(rank=4, alpha=8, epochs=3, batch=8, rate=3e-3)
ASKED = plain.questions(20)
SOFT = np.random.default_rng(2).random(len(ASKED))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return make_tiny(
        tmp_path_factory.mktemp("model"), seed=3, layers=3, width=32, texts=plain.texts(ASKED)
    )


@pytest.fixture
def tunable(folder: Path) -> Tunable:
    return Tunable(folder, hardware=EVERY_STEP)


@pytest.fixture
def tokens(tunable: Tunable) -> Tokenised:
    return tokenise(ASKED, tunable.tokenizer, max_tokens=512)


def matrices(tunable: Tunable) -> list[torch.Tensor]:
    return [p.detach().clone() for p in lean_lora.trained(tunable.engine.adapted)]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import packed_oracle as plain
import test_tuned_endures as here
import torch
torch.set_num_threads(1)
tunable = here.Tunable(Path(sys.argv[2]), hardware=here.EVERY_STEP)
tokens = here.tokenise(here.ASKED, tunable.tokenizer, max_tokens=512)
def at_step_5(step):
    if step.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
given = {"recipe": here.RECIPE, "checkpoint": Path(sys.argv[3]), "progress": at_step_5}
tunable.fine_tune(tokens, here.SOFT, seed=1, **given)
"""


@pytest.mark.long
def test_a_killed_fine_tuning_goes_on_to_the_same_last_bit(
    folder: Path, tunable: Tunable, tokens: Tokenised, tmp_path: Path
) -> None:
    arguments = [str(Path(__file__).parent), str(folder), str(tmp_path / "kept")]
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    # had it died while writing
    (tmp_path / "kept" / f"{FILE}.partial").write_bytes(b"half a checkpo")
    seen: list[int] = []
    given = {"recipe": RECIPE, "seed": 1, "checkpoint": tmp_path / "kept"}
    resumed = tunable.fine_tune(tokens, SOFT, **given, progress=lambda step: seen.append(step.step))
    assert seen == [6, 7, 8, 9]
    after = matrices(tunable)
    whole = tunable.fine_tune(tokens, SOFT, recipe=RECIPE, seed=1)
    assert resumed.loss_S == whole.loss_S
    assert all(torch.equal(a, b) for a, b in zip(after, matrices(tunable), strict=True))
    finished = tunable.fine_tune(
        tokens, SOFT, **given, progress=lambda step: pytest.fail("nothing was left to do")
    )
    assert finished.loss_S == whole.loss_S
    assert finished.tokens == 0
    assert all(torch.equal(a, b) for a, b in zip(after, matrices(tunable), strict=True))


def test_a_checkpoint_serves_its_own_job_only(
    tunable: Tunable, tokens: Tokenised, tmp_path: Path
) -> None:
    tunable.fine_tune(tokens, SOFT, recipe=RECIPE, seed=1, checkpoint=tmp_path)
    others = [
        (tokens, SOFT, {"recipe": RECIPE, "seed": 2}),
        (tokens, SOFT[::-1], {"recipe": RECIPE, "seed": 1}),
        (tokens.take([1, 0, *range(2, 20)]), SOFT, {"recipe": RECIPE, "seed": 1}),
        (tokens, SOFT, {"recipe": RECIPE.model_copy(update={"clip": 2.0}), "seed": 1}),
        (tokens, SOFT, {"recipe": RECIPE, "seed": 1, "weights_N": np.arange(20.0)}),
        (tokens, SOFT, {"recipe": RECIPE, "seed": 1, "loss": lambda z, t, p: (z, z)}),
    ]
    for of, targets, given in others:
        with pytest.raises(Misconfigured, match="another fine-tuning"):
            tunable.fine_tune(of, targets, checkpoint=tmp_path, **given)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:1000])
    with pytest.raises(Misconfigured, match="damaged"):
        tunable.fine_tune(tokens, SOFT, recipe=RECIPE, seed=1, checkpoint=tmp_path)


def limited(tunable: Tunable, tokens: int) -> None:
    """A device whose memory ends at packs of so many tokens, in the middle of the model."""

    def check(layer: torch.nn.Module, given: tuple) -> None:
        if given[0].shape[1] > tokens:
            raise torch.cuda.OutOfMemoryError("out of memory. Tried to allocate 1 GiB.")

    tunable.base.layers[1].register_forward_pre_hook(check)


def test_when_memory_runs_out_packs_are_halved_and_said_so(folder: Path, tokens: Tokenised) -> None:
    said: list[str] = []
    roomy, small = (
        Tunable(folder, hardware=EVERY_STEP),
        Tunable(folder, hardware=EVERY_STEP, log=said.append),
    )
    limited(small, 250)
    trained = [one.fine_tune(tokens, SOFT, recipe=RECIPE, seed=1).loss_S for one in (roomy, small)]
    np.testing.assert_allclose(*trained, rtol=1e-5)
    for ours, wanted in zip(matrices(small), matrices(roomy), strict=True):
        torch.testing.assert_close(ours, wanted, atol=2e-4, rtol=1e-3)
    assert small.engine.pack_tokens < 250 < roomy.engine.pack_tokens
    assert said
    assert all(
        "does not fit into memory (out of memory. Tried to allocate 1 GiB.); packs are now of"
        in line
        for line in said
    )
    already, small.engine.pack_tokens = len(said), 400
    np.testing.assert_allclose(small.logits(tokens), roomy.logits(tokens), atol=1e-3)
    np.testing.assert_allclose(small.states(tokens, [3]), roomy.states(tokens, [3]), atol=2e-3)
    assert len(said) > already  # answering has larger packs, and met the limit by itself


def test_a_step_that_ran_out_of_memory_leaves_nothing_behind(
    folder: Path, tokens: Tokenised
) -> None:
    """Its first pack's gradient was there already; counted twice, it would show."""
    roomy, small = (Tunable(folder, hardware=EVERY_STEP) for _ in range(2))
    tight = int(np.sort(tokens.lengths_N)[-2:].sum()) + 1
    found = []
    for one in (roomy, small):
        plain.random_adapters(one, RECIPE)
        job = TrainingJob(tokens, SOFT, np.ones(20), RECIPE, 0, None)
        failing = [] if one is roomy else [3]  # the third pack of the step

        def once(layer: torch.nn.Module, given: tuple, failing: list[int] = failing) -> None:
            if failing:
                failing[0] -= 1
                if not failing[0]:
                    failing.clear()
                    raise torch.cuda.OutOfMemoryError("out of memory")

        one.base.layers[2].register_forward_pre_hook(once)
        one.engine.pack_tokens = tight
        loss = training.gradients(one.engine, job, np.arange(20), progress=1.0)
        found.append((loss, plain.gradients(one.engine.adapted)))
    assert small.engine.pack_tokens < roomy.engine.pack_tokens
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-6)
    assert plain.furthest(found[1][1], found[0][1]) < 1e-5


def test_one_item_that_does_not_fit_is_said_with_the_remedy(
    tunable: Tunable, tokens: Tokenised
) -> None:
    limited(tunable, int(tokens.lengths_N.max()) - 1)
    for ask in (
        lambda: tunable.fine_tune(tokens, SOFT, recipe=RECIPE, seed=1),
        lambda: tunable.logits(tokens, adapters=False),
    ):
        with pytest.raises(Misconfigured, match="Lower the recipe's max_tokens"):
            ask()


def test_adapters_of_another_shape_take_the_place_of_the_last(
    folder: Path, tunable: Tunable, tokens: Tokenised
) -> None:
    """A worker's model serves recipes of several shapes, one after the other, as if each were the
    first."""
    other = RECIPE.model_copy(update={"rank": 2, "targets": ("q_proj", "down_proj")})
    tunable.fine_tune(tokens, SOFT, recipe=other, seed=1)
    assert len(matrices(tunable)) == 3 * 2 * 2  # layers x targets x (A, B)
    bare = tunable.logits(tokens, adapters=False)
    tunable.fine_tune(tokens, SOFT, recipe=RECIPE, seed=1)
    fresh = Tunable(folder, hardware=EVERY_STEP)
    fresh.fine_tune(tokens, SOFT, recipe=RECIPE, seed=1)
    assert (tunable.logits(tokens) == fresh.logits(tokens)).all()
    np.testing.assert_allclose(fresh.logits(tokens, adapters=False), bare, atol=1e-6)
    with pytest.raises(Misconfigured, match=r"no linear map \['gate'\]"):
        tunable.fine_tune(
            tokens, SOFT, recipe=RECIPE.model_copy(update={"targets": ("gate",)}), seed=1
        )
    with pytest.raises(Misconfigured, match="it has no config.json"):
        Tunable(folder.parent, hardware=EVERY_STEP)


def test_a_taught_model_knows_what_words_mean(tmp_path: Path) -> None:
    """It prefers the answer with `sun` in it; drawn weights do not."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, 160)
    asked = []
    for label in labels:
        answers = [" ".join(draw.choice(plain.WORDS, 3)) for _ in range(2)]
        answers[label] += " sun"
        asked.append(Question("", (answers[0], answers[1])))
    folder = make_tiny(tmp_path, seed=0, layers=2, width=32, texts=[*plain.WORDS, "sun"])
    tokens = tokenise(asked, AutoTokenizer.from_pretrained(folder), max_tokens=256)

    def accuracy() -> float:
        logits = Tunable(folder, hardware=EVERY_STEP).logits(
            tokens.take(range(120, 160)), adapters=False
        )
        return float(((logits > 0) == labels[120:]).mean())

    drawn = accuracy()
    teach_language(folder, asked[:120], labels[:120], seed=0, epochs=12)
    assert drawn < 0.75
    assert accuracy() > 0.9
