"""In distribution: two positive integers."""

from aarlab.problems.code_catalogue.family import Family
from aarlab.problems.code_catalogue.kinds import TWO_INTS

INTEGERS = [
    Family(
        TWO_INTS,
        "the $words of the two integers",
        """
        return $call(a, b)

        return a if a $op b else b

        if a $op b:
            result = a
        else:
            result = b
        return result
        """,
        [{"words": "larger", "call": "max", "op": ">"}, {"words": "smaller", "call": "min", "op": "<"}],
    ),
    Family(
        TWO_INTS,
        "the difference of the two integers without its sign",
        """
        return abs(a - b)

        return max(a, b) - min(a, b)

        if a > b:
            result = a - b
        else:
            result = b - a
        return result
        """,
    ),
    Family(
        TWO_INTS,
        "the greatest common divisor of the two integers",
        """
        return a if b == 0 else f(b, a % b)

        return max(q for q in range(1, a + 1) if a % q == 0 and b % q == 0)

        while b > 0:
            r = a % b
            a = b
            b = r
        return a
        """,
    ),
    Family(
        TWO_INTS,
        "the least common multiple of the two integers",
        """
        return min(i for i in range(a, a * b + 1, a) if i % b == 0)

        import math
        return a * b // math.gcd(a, b)

        result = a
        while result % b != 0:
            result += a
        return result

        result = max(a, b)
        while result % a != 0 or result % b != 0:
            result += 1
        return result
        """,
    ),
    Family(
        TWO_INTS,
        "the first integer to the power of the second",
        """
        return a ** b

        return 1 if b == 0 else a * f(a, b - 1)

        result = 1
        for _ in range(b):
            result *= a
        return result
        """,
    ),
    Family(
        TWO_INTS,
        "the product of the two integers, computed by repeated addition",
        """
        return sum(a for _ in range(b))

        return sum([b] * a)

        total = 0
        for _ in range(b):
            total += a
        return total
        """,
    ),
    Family(
        TWO_INTS,
        "the first integer divided by the second, rounded $words",
        """
        return $short

        quotient, r = divmod(a, b)
        return $result

        quotient = 0
        while a $op b:
            a -= b
            quotient += 1
        return $last
        """,
        [
            {"words": "down", "short": "a // b", "result": "quotient", "op": ">=", "last": "quotient"},
            {
                "words": "up",
                "short": "(a + b - 1) // b",
                "result": "quotient + 1 if r > 0 else quotient",
                "op": ">",
                "last": "quotient + 1",
            },
        ],
    ),
    Family(
        TWO_INTS,
        "the remainder of the first integer divided by the second",
        """
        return a % b

        return a - a // b * b

        while a >= b:
            a -= b
        rest = a
        return rest
        """,
    ),
    Family(
        TWO_INTS,
        "True if the $one integer is a divisor of the $other, else False",
        """
        return $y % $x == 0

        return $y // $x * $x == $y

        for i in range(1, $y + 1):
            if i * $x == $y:
                return True
        return False
        """,
        [{"one": "first", "other": "second", "x": "a", "y": "b"}, {"one": "second", "other": "first", "x": "b", "y": "a"}],
    ),
    Family(
        TWO_INTS,
        "the sum of the integers from the first to the second inclusive, or 0 if the first is larger",
        """
        return sum(range(a, b + 1))

        return sum([i for i in range(b + 1) if i >= a])

        total = 0
        while a <= b:
            total += a
            a += 1
        return total
        """,
    ),
    Family(
        TWO_INTS,
        "the list of the first $k multiples of the first integer that are not multiples of the second plus one",
        """
        return [i * a for i in range(1, $k + 1) if i * a % b != 1]

        multiples = range(a, a * $k + 1, a)
        return [i for i in multiples if i % b != 1]

        result = []
        for i in range(1, $k + 1):
            if i * a % b != 1:
                result.append(i * a)
        return result
        """,
        [{"k": 4}],
    ),
    Family(
        TWO_INTS,
        "the sum of the squares of the two integers, minus $words",
        """
        return a * a + b * b - $code

        return a ** 2 + b ** 2 - $code

        total = -$code
        for i in (a, b):
            total += i * i
        return total
        """,
        [{"words": "their product", "code": "a * b"}, {"words": "1", "code": "1"}],
    ),
]
