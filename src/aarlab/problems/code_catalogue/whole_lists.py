"""In distribution: one list of integers with at least two elements. `x` is an element, `i` an index."""

from aarlab.problems.code_catalogue.family import Family
from aarlab.problems.code_catalogue.kinds import FULL

WHOLE = [
    Family(
        FULL,
        "the largest element",
        """
        return max(xs)

        return sorted(xs)[-1]

        best = xs[0]
        for x in xs:
            if x > best:
                best = x
        return best
        """,
    ),
    Family(
        FULL,
        "the smallest element",
        """
        return min(xs)

        return sorted(xs)[0]

        best = xs[0]
        for x in xs[1:]:
            if x < best:
                best = x
        return best
        """,
    ),
    Family(
        FULL,
        "the index of the largest element, the first one if there are several",
        """
        return xs.index(max(xs))

        return max(range(len(xs)), key=lambda i: xs[i])

        best = 0
        for i in range(1, len(xs)):
            if xs[i] > xs[best]:
                best = i
        return best
        """,
    ),
    Family(
        FULL,
        "the index of the smallest element, the last one if there are several",
        """
        return max(i for i, x in enumerate(xs) if x == min(xs))

        return len(xs) - 1 - xs[::-1].index(min(xs))

        best = 0
        for i in range(len(xs)):
            if xs[i] <= xs[best]:
                best = i
        return best
        """,
    ),
    Family(
        FULL,
        "the difference between the largest and the smallest element",
        """
        return max(xs) - min(xs)

        ordered = sorted(xs)
        return ordered[-1] - ordered[0]

        low, high = (xs[0], xs[0])
        for x in xs:
            low = min(low, x)
            high = max(high, x)
        return high - low
        """,
    ),
    Family(
        FULL,
        "the second largest element, repeated elements counted separately",
        """
        return sorted(xs)[-2]

        rest = sorted(xs, reverse=True)
        return rest[1]

        rest = list(xs)
        rest.remove(max(rest))
        best = max(rest)
        return best
        """,
    ),
    Family(
        FULL,
        "the sum of the largest and the smallest element",
        """
        return max(xs) + min(xs)

        ordered = sorted(xs)
        return ordered[0] + ordered[-1]

        low = high = xs[0]
        for x in xs[1:]:
            low = min(x, low)
            high = max(x, high)
        return low + high
        """,
    ),
    Family(
        FULL,
        "the $which element minus the $other element",
        """
        return xs[$i] - xs[$j]

        head, tail = (xs[$i], xs[$j])
        return head - tail

        result = xs[$i]
        other = xs[$j]
        result -= other
        return result
        """,
        [
            {"which": "last", "other": "first", "i": -1, "j": 0},
            {"which": "first", "other": "second", "i": 0, "j": 1},
            {"which": "second", "other": "last", "i": 1, "j": -1},
        ],
    ),
    Family(
        FULL,
        "the mean of the elements, rounded down",
        """
        return sum(xs) // len(xs)

        total = sum(xs)
        return total // len(xs)

        total = 0
        for x in xs:
            total += x
        return total // len(xs)
        """,
    ),
    Family(
        FULL,
        "the median of the sorted elements, the upper one of two",
        """
        return sorted(xs)[len(xs) // 2]

        ordered = sorted(xs, reverse=True)
        return ordered[(len(xs) - 1) // 2]

        ordered = sorted(xs)
        while len(ordered) > 2:
            ordered = ordered[1:-1]
        return ordered[-1]
        """,
    ),
    Family(
        FULL,
        "the element that occurs most often, the earliest one if there are several",
        """
        return max(xs, key=xs.count)

        return max(xs, key=lambda x: xs.count(x))

        best = xs[0]
        for x in xs:
            if xs.count(x) > xs.count(best):
                best = x
        return best
        """,
    ),
    Family(
        FULL,
        "the number of elements equal to the $which element",
        """
        return xs.count(xs[$i])

        return sum(1 for x in xs if x == xs[$i])

        count = 0
        for x in xs:
            if x == xs[$i]:
                count += 1
        return count
        """,
        [{"which": "first", "i": 0}, {"which": "last", "i": -1}],
    ),
    Family(
        FULL,
        "the number of elements $than the $which element",
        """
        return sum(1 for x in xs if x $op xs[$i])

        return len([x for x in xs if x $op xs[$i]])

        count = 0
        for x in xs:
            if x $op xs[$i]:
                count += 1
        return count
        """,
        [
            {"than": "greater", "which": "first", "op": ">", "i": 0},
            {"than": "smaller", "which": "last", "op": "<", "i": -1},
            {"than": "smaller", "which": "second", "op": "<", "i": 1},
        ],
    ),
    Family(
        FULL,
        "the longest run of equal neighbours, as its length",
        """
        from itertools import groupby
        return max(len(list(group)) for _, group in groupby(xs))

        best = length = 1
        for i in range(1, len(xs)):
            length = length + 1 if xs[i] == xs[i - 1] else 1
            best = max(best, length)
        return best
        """,
    ),
    Family(
        FULL,
        "the largest difference between two neighbouring elements, without its sign",
        """
        return max(abs(x - y) for x, y in zip(xs, xs[1:]))

        return max(abs(xs[i] - xs[i + 1]) for i in range(len(xs) - 1))

        best = 0
        for i in range(1, len(xs)):
            gap = abs(xs[i] - xs[i - 1])
            best = max(best, gap)
        return best
        """,
    ),
    Family(
        FULL,
        "the list with the $which element moved to the other end",
        """
        return $short

        result = list(xs)
        result.$insert
        return result

        result = list(xs)
        moved = result.pop($i)
        result = $join
        return result
        """,
        [
            {
                "which": "first",
                "short": "xs[1:] + xs[:1]",
                "insert": "append(result.pop(0))",
                "i": 0,
                "join": "result + [moved]",
            },
            {
                "which": "last",
                "short": "xs[-1:] + xs[:-1]",
                "insert": "insert(0, result.pop())",
                "i": -1,
                "join": "[moved] + result",
            },
        ],
    ),
]
