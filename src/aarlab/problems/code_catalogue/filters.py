"""In distribution: one list of integers and a condition. `x` is an element, `i` an index."""

from aarlab.problems.code_catalogue.family import Family, conditions
from aarlab.problems.code_catalogue.kinds import INTS

CONDITIONS = conditions(
    {
        "even": "x % 2 == 0",
        "odd": "x % 2 != 0",
        "positive": "x > 0",
        "negative": "x < 0",
        "not negative": "x >= 0",
        "greater than 3": "x > 3",
        "less than 4": "x < 4",
        "at least 2": "x >= 2",
        "at most 1": "x <= 1",
        "divisible by 3": "x % 3 == 0",
        "not divisible by 3": "x % 3 != 0",
        "between 1 and 5 inclusive": "1 <= x <= 5",
        "even and positive": "x % 2 == 0 and x > 0",
        "odd or negative": "x % 2 == 1 or x < 0",
    }
)
FILTERS = [
    Family(
        INTS,
        "the sum of the elements that are $words",
        """
        return sum(x for x in xs if $code)

        kept = [x for x in xs if $code]
        return sum(kept)

        total = 0
        for x in xs:
            if $code:
                total += x
        return total
        """,
        CONDITIONS,
    ),
    Family(
        INTS,
        "the number of elements that are $words",
        """
        return sum(1 for x in xs if $code)

        return len([x for x in xs if $code])

        count = 0
        for x in xs:
            if $code:
                count += 1
        return count
        """,
        CONDITIONS,
    ),
    Family(
        INTS,
        "the list of the elements that are $words",
        """
        return [x for x in xs if $code]

        return list(filter(lambda x: $code, xs))

        result = []
        for x in xs:
            if $code:
                result.append(x)
        return result
        """,
        CONDITIONS[1:],
    ),
    Family(
        INTS,
        "True if any element is $words, else False",
        """
        return any($code for x in xs)

        return len([x for x in xs if $code]) > 0

        for x in xs:
            if $code:
                return True
        return False

        found = False
        for x in xs:
            if $code:
                found = True
        return found
        """,
        CONDITIONS[3:9],
    ),
    Family(
        INTS,
        "True if every element is $words, else False",
        """
        return all($code for x in xs)

        return len([x for x in xs if $code]) == len(xs)

        for x in xs:
            if not ($code):
                return False
        return True

        count = 0
        for x in xs:
            if $code:
                count += 1
        return count == len(xs)
        """,
        CONDITIONS[:6],
    ),
    Family(
        INTS,
        "the first element that is $words, or 0 if there is none",
        """
        return next((x for x in xs if $code), 0)

        kept = [x for x in xs if $code]
        return kept[0] if kept else 0

        for x in xs:
            if $code:
                return x
        return 0
        """,
        CONDITIONS[5:11],
    ),
    Family(
        INTS,
        "the last element that is $words, or 0 if there is none",
        """
        kept = [x for x in xs if $code]
        return kept[-1] if kept else 0

        return next((x for x in reversed(xs) if $code), 0)

        last = 0
        for x in xs:
            if $code:
                last = x
        return last
        """,
        CONDITIONS[:5],
    ),
    Family(
        INTS,
        "the index of the first element that is $words, or -1 if there is none",
        """
        return next((i for i, x in enumerate(xs) if $code), -1)

        for i, x in enumerate(xs):
            if $code:
                return i
        return -1

        i = 0
        for x in xs:
            if $code:
                return i
            i += 1
        return -1
        """,
        CONDITIONS[4:9],
    ),
    Family(
        INTS,
        "the product of the elements that are $words",
        """
        import math
        return math.prod(x for x in xs if $code)

        import math
        kept = [x for x in xs if $code]
        return math.prod(kept)

        product = 1
        for x in xs:
            if $code:
                product *= x
        return product
        """,
        CONDITIONS[5:10],
    ),
    Family(
        INTS,
        "the largest element that is $words, or 0 if there is none",
        """
        return max([x for x in xs if $code], default=0)

        kept = sorted(x for x in xs if $code)
        return kept[-1] if kept else 0

        kept = [x for x in xs if $code]
        if not kept:
            return 0
        return max(kept)
        """,
        CONDITIONS[:4],
    ),
    Family(
        INTS,
        "the list of indices of the elements that are $words",
        """
        return [i for i, x in enumerate(xs) if $code]

        return [i for i in range(len(xs)) if (lambda x: $code)(xs[i])]

        result = []
        for i, x in enumerate(xs):
            if $code:
                result.append(i)
        return result
        """,
        CONDITIONS[6:10],
    ),
]
