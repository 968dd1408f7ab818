"""What this machine's processor can do."""

import re
from functools import cache
from pathlib import Path

BFLOAT16 = re.compile(r"\b(?:avx512_bf16|amx_bf16|bf16)\b")  # x86 and ARM, as Linux names them


@cache
def computes_bfloat16(described: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies bfloat16 itself. One that does not is seven times as slow
    with it as with float32, which then computes the same up to rounding (LOG.md, 2026-11-30).
    False where the system does not say it."""
    try:
        return bool(BFLOAT16.search(described.read_text()))
    except OSError:
        return False
