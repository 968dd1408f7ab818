"""What a processor says that it can do."""

import pytest

from aarlab.core.processor import computes_bfloat16


@pytest.mark.parametrize(
    ("said", "does"),
    [
        ("flags\t\t: fpu sse avx2 avx512_bf16 fma\n", True),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", True),
        ("Features\t: fp asimd sve bf16 i8mm\n", True),
        ("flags\t\t: fpu sse avx avx2 fma avx512f avx512_fp16\n", False),
        ("Features\t: fp asimd svebf16\n", False),
        ("", False),
    ],
)
def test_bfloat16_is_used_where_the_processor_names_it(said, does, tmp_path):
    (tmp_path / "cpuinfo").write_text(said)
    assert computes_bfloat16(tmp_path / "cpuinfo") is does


def test_a_system_that_says_nothing_gets_float32(tmp_path):
    assert computes_bfloat16(tmp_path / "missing") is False
