"""Which items share a forward pass. Without torch."""

from collections.abc import Sequence


def pack(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Positions of `lengths`, each exactly once, in packs whose lengths add up to `budget` at most;
    a longer item stands alone.

    First-fit decreasing (Johnson 1973): at most 11/9 of the fewest possible packs, and 6/9 of one.
    """
    packs: list[list[int]] = []
    room: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        fits = next((p for p, left in enumerate(room) if lengths[i] <= left), None)
        if fits is None:
            packs.append([i])
            room.append(budget - lengths[i])
        else:
            packs[fits].append(i)
            room[fits] -= lengths[i]
    return packs
