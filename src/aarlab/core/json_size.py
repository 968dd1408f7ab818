"""How much is in a JSON text, counted before it is read: a value may take a hundred times its bytes
of memory."""

from aarlab.core.errors import InvalidSubmission

PIECE = 1 << 20  # bytes that are looked at at once


def refuse_many_values(
    body: bytes, values: int, nested: int, remedy: str, *, status: int = 422
) -> None:
    """Raise where a JSON body has more values in its lists and objects, or more of those, without
    reading it: each is a comma or a bracket outside of strings. `remedy` and `status` are the
    refusal's.

    Raises:
        InvalidSubmission: it has.
    """
    if sum(map(body.count, (b",", b"[", b"{"))) <= min(values, nested):
        return
    commas, lists, objects = _marks(body)
    found, inner = commas + lists + objects, lists + objects
    if inner > nested or found > values:
        words = (
            f"The body has {found:,} values in {inner:,} lists and objects; {values:,} in "
            f"{nested:,} are taken here"
        )
        raise InvalidSubmission(f"{words}. {remedy}", status=status)


def _marks(body: bytes) -> list[int]:
    """How many commas, square and curly brackets are outside of strings."""
    import numpy as np  # a fifth of the gateway's start, and only large bodies need it

    plain, counts, inside = body.replace(b"\\\\", b"").replace(b'\\"', b""), [0, 0, 0], False
    for start in range(0, len(plain), PIECE):
        text = np.frombuffer(plain, np.uint8, min(PIECE, len(plain) - start), start)
        inside_B = np.bitwise_xor.accumulate(text == ord('"')) ^ inside
        inside = bool(inside_B[-1])
        counts = [
            n + int(np.count_nonzero((text == ord(mark)) & ~inside_B))
            for n, mark in zip(counts, ",[{", strict=True)
        ]
    return counts
