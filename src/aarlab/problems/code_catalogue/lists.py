"""In distribution: one list of integers, without a condition. `x` is an element, `i` an index."""

from aarlab.problems.code_catalogue.family import Family, each
from aarlab.problems.code_catalogue.kinds import INTS

MAPS = [
    {"words": "doubled", "code": "x * 2"},
    {"words": "squared", "code": "x * x"},
    {"words": "increased by 1", "code": "x + 1"},
    {"words": "decreased by 2", "code": "x - 2"},
    {"words": "with its sign changed", "code": "-x"},
    {"words": "multiplied by 3 and increased by 1", "code": "x * 3 + 1"},
]

PLAIN = [
    Family(
        INTS,
        "the list with each element $words",
        """
        return [$code for x in xs]

        return list(map(lambda x: $code, xs))

        result = []
        for x in xs:
            result.append($code)
        return result
        """,
        MAPS,
    ),
    Family(
        INTS,
        "the sum of the elements, each $words",
        """
        return sum($code for x in xs)

        values = [$code for x in xs]
        return sum(values)

        total = 0
        for x in xs:
            total += $code
        return total
        """,
        MAPS[1:],
    ),
    Family(
        INTS,
        "the list without its first $k elements",
        """
        return xs[$k:]

        return [x for i, x in enumerate(xs) if i >= $k]

        result = []
        for i, x in enumerate(xs):
            if i >= $k:
                result.append(x)
        return result
        """,
        each("k", 2, 3),
    ),
    Family(
        INTS,
        "the list of the first $k elements",
        """
        return xs[:$k]

        return [x for i, x in enumerate(xs) if i < $k]

        result = []
        for x in xs:
            if len(result) < $k:
                result.append(x)
        return result
        """,
        each("k", 2, 3, 4),
    ),
    Family(
        INTS,
        "the sum of the last $k elements",
        """
        return sum(xs[-$k:])

        return sum(x for i, x in enumerate(xs) if i >= len(xs) - $k)

        total = 0
        for i, x in enumerate(xs):
            if i >= len(xs) - $k:
                total += x
        return total
        """,
        each("k", 2, 3),
    ),
    Family(
        INTS,
        "every second element, starting at index $k",
        """
        return xs[$k::2]

        return [xs[i] for i in range($k, len(xs), 2)]

        result = []
        for i in range($k, len(xs)):
            if i % 2 == $k % 2:
                result.append(xs[i])
        return result
        """,
        each("k", 0, 1),
    ),
    Family(
        INTS,
        "the list in reversed order",
        """
        return xs[::-1]

        return list(reversed(xs))

        result = []
        for x in xs:
            result = [x] + result
        return result
        """,
    ),
    Family(
        INTS,
        "the list sorted from the largest to the smallest element",
        """
        return sorted(xs, reverse=True)

        return sorted(xs)[::-1]

        result = sorted(xs)
        for i in range(len(xs) // 2):
            j = len(xs) - 1 - i
            result[i], result[j] = (result[j], result[i])
        return result
        """,
    ),
    Family(
        INTS,
        "the list of running sums",
        """
        return [sum(xs[:i + 1]) for i in range(len(xs))]

        return [sum(xs[:i]) for i in range(1, len(xs) + 1)]

        result = []
        total = 0
        for x in xs:
            total += x
            result.append(total)
        return result
        """,
    ),
    Family(
        INTS,
        "the list of differences between each element and the one before",
        """
        return [y - x for x, y in zip(xs, xs[1:])]

        return [xs[i] - xs[i - 1] for i in range(1, len(xs))]

        result = []
        for i in range(len(xs) - 1):
            result.append(xs[i + 1] - xs[i])
        return result
        """,
    ),
    Family(
        INTS,
        "the list of products of neighbouring elements",
        """
        return [x * y for x, y in zip(xs, xs[1:])]

        return [xs[i] * xs[i + 1] for i in range(len(xs) - 1)]

        result = []
        for i in range(1, len(xs)):
            result.append(xs[i - 1] * xs[i])
        return result
        """,
    ),
    Family(
        INTS,
        "the distinct elements in the order in which they first occur",
        """
        return list(dict.fromkeys(xs))

        return [x for i, x in enumerate(xs) if x not in xs[:i]]

        result = []
        for x in xs:
            if x not in result:
                result.append(x)
        return result
        """,
    ),
    Family(
        INTS,
        "the number of distinct elements",
        """
        return len(set(xs))

        return sum(1 for i, x in enumerate(xs) if x not in xs[:i])

        seen = set()
        for x in xs:
            seen.add(x)
        return len(seen)
        """,
    ),
    Family(
        INTS,
        "the list of elements that occur exactly $words",
        """
        return [x for x in xs if xs.count(x) == $k]

        return list(filter(lambda x: xs.count(x) == $k, xs))

        result = []
        for x in xs:
            if xs.count(x) == $k:
                result.append(x)
        return result
        """,
        [{"words": "once", "k": 1}, {"words": "twice", "k": 2}],
    ),
    Family(
        INTS,
        "True if some element occurs more than once, else False",
        """
        return len(set(xs)) < len(xs)

        return any(xs.count(x) > 1 for x in xs)

        seen = []
        for x in xs:
            if x in seen:
                return True
            seen.append(x)
        return False
        """,
    ),
    Family(
        INTS,
        "True if $words its neighbour to the left, else False",
        """
        return all(x $op y for x, y in zip(xs, xs[1:]))

        return all(xs[i - 1] $op xs[i] for i in range(1, len(xs)))

        for i in range(len(xs) - 1):
            if not xs[i] $op xs[i + 1]:
                return False
        return True
        """,
        [
            {"words": "no element is smaller than", "op": "<="},
            {"words": "every element is greater than", "op": "<"},
            {"words": "no element is greater than", "op": ">="},
        ],
    ),
    Family(
        INTS,
        "the number of elements that are $than their neighbour to the left",
        """
        return sum(1 for x, y in zip(xs, xs[1:]) if y $op x)

        return len([i for i in range(1, len(xs)) if xs[i] $op xs[i - 1]])

        count = 0
        for i in range(1, len(xs)):
            if xs[i] $op xs[i - 1]:
                count += 1
        return count
        """,
        [{"than": "greater than", "op": ">"}, {"than": "smaller than", "op": "<"}, {"than": "equal to", "op": "=="}],
    ),
    Family(
        INTS,
        "the sum of the elements at $words indices",
        """
        return sum(xs[$k::2])

        return sum(x for i, x in enumerate(xs) if i % 2 == $k)

        total = 0
        for i in range($k, len(xs), 2):
            total += xs[i]
        return total
        """,
        [{"words": "even", "k": 0}, {"words": "odd", "k": 1}],
    ),
    Family(
        INTS,
        "the sum of each element times its index",
        """
        return sum(i * x for i, x in enumerate(xs))

        return sum(xs[i] * i for i in range(len(xs)))

        total = 0
        for i, x in enumerate(xs):
            total += i * x
        return total
        """,
    ),
    Family(
        INTS,
        "the alternating sum: first element minus second plus third and so on",
        """
        return sum(xs[::2]) - sum(xs[1::2])

        return sum(x if i % 2 == 0 else -x for i, x in enumerate(xs))

        total = 0
        for i in range(len(xs)):
            if i % 2 == 0:
                total += xs[i]
            else:
                total -= xs[i]
        return total
        """,
    ),
    Family(
        INTS,
        "the list with every $words replaced by $new",
        """
        return [$new if $code else x for x in xs]

        return list(map(lambda x: $new if $code else x, xs))

        result = list(xs)
        for i, x in enumerate(xs):
            if $code:
                result[i] = $new
        return result
        """,
        [
            {"words": "negative element", "code": "x < 0", "new": 0},
            {"words": "element greater than 5", "code": "x > 5", "new": 5},
            {"words": "element equal to 2", "code": "x == 2", "new": 1},
        ],
    ),
    Family(
        INTS,
        "the number of elements before the first $words one, or all if there is none",
        """
        return next((i for i, x in enumerate(xs) if $code), len(xs))

        from itertools import takewhile
        return len(list(takewhile(lambda x: not ($code), xs)))

        count = 0
        for x in xs:
            if $code:
                break
            count += 1
        return count
        """,
        [{"words": "negative", "code": "x < 0"}, {"words": "even", "code": "x % 2 == 0"}],
    ),
]
