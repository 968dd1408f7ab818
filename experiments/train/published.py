"""The study's sizes and times, and what a roofline says of each rung. Nothing here was measured by
this benchmark."""

from dataclasses import dataclass

ITEMS, EPOCHS, BATCH = 6_826, 5, 32  # chat: training items of a ceiling or a method's run
MEAN_TOKENS = 1_000  # estimated, 800 to 1,200; seconds are proportional to it
TEST_ITEMS, TEST_MEAN_TOKENS = 1_263, 930
TEACHER_ITEMS = 2_245

# published cached results, chat ceiling, mean of 16 seeds (6,169 to 6,369), micro-batch 32
RUN_S = 6_282
# the same job at micro-batch 8 x 4: the critic idea's step 11, mean of 5 seeds
FASTER_RUN_S = 4_603
TEACHER_RUN_S = 463  # the 0.5B teacher, with two evaluations by vLLM

RUN_TOKENS = ITEMS * EPOCHS * MEAN_TOKENS
TEST_TOKENS = TEST_ITEMS * TEST_MEAN_TOKENS  # of one prediction pass


@dataclass(frozen=True)
class Computed:
    """A roofline's answer for one H200: microseconds a useful token at mean length 1,000."""

    name: str
    us_a_token: float

    @property
    def run_s(self) -> float:
        return self.us_a_token * 1e-6 * RUN_TOKENS


# GEMMs at 87 % of 790 TFLOP/s, flash attention 2 at 220 (forward) and 200 TFLOP/s, 4.3 TB/s for all
# that is elementwise.
COMPUTED = {
    "b": Computed("packed, label logits, checkpointing, plain PEFT", 91.5),
    "b1": Computed("no checkpointing", 66.3),
    "b2": Computed("lean LoRA", 50.1),
    "b3": Computed("compiled", 37.6),
}
