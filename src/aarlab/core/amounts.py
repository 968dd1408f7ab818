"""Amounts in few characters, for tables that people look at."""


def duration(seconds: float) -> str:
    """`4 s`, `12 m`, `3.5 h`, `2.1 d`."""
    seconds = max(0.0, seconds)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} m"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} d"


def amount(count: float) -> str:
    """`950`, `12.3k`, `4.5M`, `1.2G`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if count >= size:
            return f"{count / (1e3 if unit == 'k' else size):.1f}{unit}"
    return f"{count:.0f}"


def size(n_bytes: float) -> str:
    """`0`, `12 MB`, `1.5 GB`."""
    if n_bytes < 1e6:
        return "0" if n_bytes == 0 else "<1 MB"
    return f"{n_bytes / 1e6:.0f} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:.1f} GB"
