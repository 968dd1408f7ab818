"""Are two final answers of a competition problem the same? A stated normaliser, as it is used for
the truth of qwen-math.

It is careful rather than clever: an answer that it does not know to be equal counts as different,
and an item is only kept where a person's judgement of the worked solution says the same.
"""

import re
from fractions import Fraction

DROPPED = re.compile(
    r"\\[!,;:]|\\left|\\right|\\(?:text|mathrm|mbox|textbf)\b|\\(?:displaystyle|quad)"
    r"|\^\{?\\circ\}?|degrees?|[\s${}~]"
)
FRACTION = re.compile(r"\\[dtc]?frac(?:\{([^{}]+)\}\{([^{}]+)\}|(\d)(\d))")
THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?:\D|$))")


def normalised(answer: str) -> str:
    r"""The answer without what does not change it: spaces, `\left`, `\text`, `$`, degrees, units of
    money, a last full stop.

    `\frac{a}{b}` (and `\dfrac`, `\tfrac`, `\frac12`) becomes `a/b`, `x = 3` becomes `3`, `12{,}000`
    becomes `12000`.
    """
    text = answer.strip().rstrip(".")
    text = FRACTION.sub(lambda m: f"({m[1] or m[3]})/({m[2] or m[4]})", text)
    text = DROPPED.sub("", text).replace("\\%", "").replace("%", "").replace("\\", "")
    text = re.sub(r"^[a-zA-Z]=", "", text)
    text = re.sub(r"\((-?\w+)\)/\((\w+)\)", r"\1/\2", text)
    return THOUSANDS.sub("", text).lower()


def same_answer(one: str, other: str) -> bool:
    """Whether two answers are the same after normalisation, or are the same rational number."""
    a, b = normalised(one), normalised(other)
    return a == b or (_number(a) is not None and _number(a) == _number(b))


def _number(text: str) -> Fraction | None:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None
