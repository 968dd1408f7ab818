"""In distribution: a list of integers and an integer; two lists of integers."""

from aarlab.problems.code_catalogue.family import Family
from aarlab.problems.code_catalogue.kinds import INTS_INT, TWO_LISTS

COMPARISONS = [
    {"than": "greater than", "op": ">"},
    {"than": "less than", "op": "<"},
    {"than": "equal to", "op": "=="},
    {"than": "at least", "op": ">="},
    {"than": "at most", "op": "<="},
]

LISTS_AND_INTEGERS = [
    Family(
        INTS_INT,
        "the number of elements that are $than the given integer",
        """
        return sum(1 for x in xs if x $op k)

        return len([x for x in xs if x $op k])

        count = 0
        for x in xs:
            if x $op k:
                count += 1
        return count
        """,
        COMPARISONS,
    ),
    Family(
        INTS_INT,
        "the sum of the elements that are $than the given integer",
        """
        return sum(x for x in xs if x $op k)

        kept = filter(lambda x: x $op k, xs)
        return sum(kept)

        total = 0
        for x in xs:
            if x $op k:
                total += x
        return total
        """,
        COMPARISONS,
    ),
    Family(
        INTS_INT,
        "the list of the elements that are not $than the given integer",
        """
        return [x for x in xs if not x $op k]

        return list(filter(lambda x: not x $op k, xs))

        result = []
        for x in xs:
            if not x $op k:
                result.append(x)
        return result
        """,
        COMPARISONS[:3],
    ),
    Family(
        INTS_INT,
        "the list with the given integer $words each element",
        """
        return [x $op k for x in xs]

        return list(map(lambda x: x $op k, xs))

        result = []
        for x in xs:
            result.append(x $op k)
        return result
        """,
        [
            {"words": "added to", "op": "+"},
            {"words": "subtracted from", "op": "-"},
            {"words": "multiplied with", "op": "*"},
        ],
    ),
    Family(
        INTS_INT,
        "the list rotated to the left by the given number of places",
        """
        return xs[k % len(xs):] + xs[:k % len(xs)] if xs else []

        return [xs[(i + k) % len(xs)] for i in range(len(xs))]

        result = list(xs)
        for _ in range(k):
            result = result[1:] + result[:1]
        return result
        """,
    ),
    Family(
        INTS_INT,
        "the list of every element repeated the given number of times",
        """
        return [x for x in xs for _ in range(k)]

        return sum([[x] * k for x in xs], [])

        result = []
        for x in xs:
            for _ in range(k):
                result.append(x)
        return result
        """,
    ),
    Family(
        INTS_INT,
        "the sum of the elements whose index is $words the given integer",
        """
        return sum(x for i, x in enumerate(xs) if i $op k)

        return sum(xs[i] for i in range(len(xs)) if i $op k)

        total = 0
        for i, x in enumerate(xs):
            if i $op k:
                total += x
        return total
        """,
        [{"words": "less than", "op": "<"}, {"words": "greater than", "op": ">"}, {"words": "at least", "op": ">="}],
    ),
    Family(
        INTS_INT,
        "the element nearest to the given integer, the earliest one if there are several, or None for an empty list",
        """
        return min(xs, key=lambda x: abs(x - k)) if xs else None

        return min(xs, key=lambda x: abs(x - k), default=None)

        best = None
        for x in xs:
            if best is None or abs(x - k) < abs(best - k):
                best = x
        return best
        """,
    ),
]

LIST_PAIRS = [
    Family(
        TWO_LISTS,
        "the list of the elements of the first list that are $words the second",
        """
        return [x for x in xs if x $op ys]

        return list(filter(lambda x: x $op ys, xs))

        result = []
        for x in xs:
            if x $op ys:
                result.append(x)
        return result
        """,
        [{"words": "also in", "op": "in"}, {"words": "missing from", "op": "not in"}],
    ),
    Family(
        TWO_LISTS,
        "the list of $words of elements at the same index, as long as the shorter list",
        """
        return [$code for x, y in zip(xs, ys)]

        return list(map(lambda x, y: $code, xs, ys))

        result = []
        for i in range(min(len(xs), len(ys))):
            x, y = (xs[i], ys[i])
            result.append($code)
        return result
        """,
        [
            {"words": "sums", "code": "x + y"},
            {"words": "differences (first minus second)", "code": "x - y"},
            {"words": "products", "code": "x * y"},
            {"words": "maxima", "code": "max(x, y)"},
        ],
    ),
    Family(
        TWO_LISTS,
        "the sum of $words of elements at the same index, as far as the shorter list goes",
        """
        return sum($code for x, y in zip(xs, ys))

        pairs = zip(xs, ys)
        return sum([$code for x, y in pairs])

        total = 0
        for x, y in zip(xs, ys):
            total += $code
        return total
        """,
        [
            {"words": "products", "code": "x * y"},
            {"words": "minima", "code": "min(x, y)"},
            {"words": "squared differences", "code": "(x - y) ** 2"},
        ],
    ),
    Family(
        TWO_LISTS,
        "the number of indices at which the first list has $words element",
        """
        return sum(1 for x, y in zip(xs, ys) if x $op y)

        return len([i for i in range(min(len(xs), len(ys))) if xs[i] $op ys[i]])

        count = 0
        for x, y in zip(xs, ys):
            if x $op y:
                count += 1
        return count
        """,
        [
            {"words": "the larger", "op": ">"},
            {"words": "the smaller", "op": "<"},
            {"words": "at least as large an", "op": ">="},
        ],
    ),
    Family(
        TWO_LISTS,
        "the $words list, or the $which if they are equally long",
        """
        return xs if len(xs) $op len(ys) else ys

        return $call(xs, ys, key=len)

        result = xs
        if len(xs) $not len(ys):
            result = ys
        return result
        """,
        [
            {"words": "longer", "which": "first", "op": ">=", "call": "max", "not": "<"},
            {"words": "shorter", "which": "first", "op": "<=", "call": "min", "not": ">"},
        ],
    ),
]
