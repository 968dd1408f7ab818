"""In distribution: one or two positive integers. `q` is a divisor or a digit, `c` a digit as a character."""

from aarlab.problems.code_catalogue.family import Family, conditions, each
from aarlab.problems.code_catalogue.kinds import INT

DIGITS = conditions({"even": "q % 2 == 0", "odd": "q % 2 == 1", "greater than 4": "q > 4", "less than 3": "q < 3"})
STEPS = [
    {"words": "squares", "code": "i * i"},
    {"words": "cubes", "code": "i * i * i"},
    {"words": "doubles", "code": "i * 2"},
    {"words": "successors", "code": "i + 1"},
]

ONE = [
    Family(
        INT,
        "the sum of the $words of the integers from 1 to n",
        """
        return sum($code for i in range(1, n + 1))

        return sum([$code for i in range(n + 1) if i > 0])

        total = 0
        for i in range(1, n + 1):
            total += $code
        return total

        total = 0
        while n > 0:
            i = n
            total += $code
            n -= 1
        return total
        """,
        STEPS,
    ),
    Family(
        INT,
        "the sum of the integers below n that are divisible by $k",
        """
        return sum(range(0, n, $k))

        return sum(i for i in range(n) if i % $k == 0)

        total = 0
        for i in range(n):
            if i % $k == 0:
                total += i
        return total
        """,
        each("k", 2, 3, 4, 5),
    ),
    Family(
        INT,
        "the number of integers from 1 to n that are divisible by $k",
        """
        return n // $k

        return sum(1 for i in range(1, n + 1) if i % $k == 0)

        count = 0
        for i in range(1, n + 1):
            if i % $k == 0:
                count += 1
        return count
        """,
        each("k", 2, 3, 4),
    ),
    Family(
        INT,
        "the sum of the digits of n that are $words",
        """
        return sum(q for q in map(int, str(n)) if $code)

        digits = [int(c) for c in str(n)]
        return sum(q for q in digits if $code)

        total = 0
        for c in str(n):
            q = int(c)
            if $code:
                total += q
        return total
        """,
        DIGITS,
    ),
    Family(
        INT,
        "the number of digits of n that are $words",
        """
        return len([q for q in map(int, str(n)) if $code])

        return sum(1 for c in str(n) if (lambda q: $code)(int(c)))

        count = 0
        while n > 0:
            q = n % 10
            if $code:
                count += 1
            n //= 10
        return count
        """,
        DIGITS,
    ),
    Family(
        INT,
        "the $words digit of n",
        """
        return $call(int(c) for c in str(n))

        return int($call(str(n)))

        best = n % 10
        while n > 0:
            best = $call(best, n % 10)
            n //= 10
        return best
        """,
        [{"words": "largest", "call": "max"}, {"words": "smallest", "call": "min"}],
    ),
    Family(
        INT,
        "the integer with the digits of n in reversed order",
        """
        return int(str(n)[::-1])

        return int(''.join(reversed(str(n))))

        result = 0
        while n > 0:
            result = result * 10 + n % 10
            n //= 10
        return result
        """,
    ),
    Family(
        INT,
        "the number of divisors of n",
        """
        return sum(1 for q in range(1, n + 1) if n % q == 0)

        return len([q for q in range(1, n + 1) if n % q == 0])

        count = 0
        for q in range(1, n + 1):
            if n % q == 0:
                count += 1
        return count
        """,
    ),
    Family(
        INT,
        "the sum of the divisors of n that are smaller than n",
        """
        return sum(q for q in range(1, n) if n % q == 0)

        divisors = [q for q in range(1, n) if n % q == 0]
        return sum(divisors)

        total = 0
        for q in range(1, n):
            if n % q == 0:
                total += q
        return total
        """,
    ),
    Family(
        INT,
        "the smallest divisor of n that is greater than 1, or 1 if n is 1",
        """
        return next((q for q in range(2, n + 1) if n % q == 0), 1)

        return min([q for q in range(2, n + 1) if n % q == 0], default=1)

        for q in range(2, n + 1):
            if n % q == 0:
                return q
        return 1
        """,
    ),
    Family(
        INT,
        "the largest divisor of n that is smaller than n, or 0 if n is 1",
        """
        return max([q for q in range(1, n) if n % q == 0], default=0)

        return next((q for q in range(n - 1, 0, -1) if n % q == 0), 0)

        best = 0
        for q in range(1, n):
            if n % q == 0:
                best = q
        return best
        """,
    ),
    Family(
        INT,
        "True if n is a prime number, else False",
        """
        return n > 1 and all(n % q != 0 for q in range(2, n))

        return sum(1 for q in range(1, n + 1) if n % q == 0) == 2

        if n < 2:
            return False
        for q in range(2, n):
            if n % q == 0:
                return False
        return True
        """,
    ),
    Family(
        INT,
        "the Fibonacci number with index n, where those with index 0 and 1 are 0 and 1",
        """
        from functools import reduce
        return reduce(lambda pair, _: (pair[1], pair[0] + pair[1]), range(n), (0, 1))[0]

        a, b = (0, 1)
        for _ in range(n):
            a, b = (b, a + b)
        return a

        values = [0, 1]
        for i in range(2, n + 1):
            values.append(values[i - 1] + values[i - 2])
        return values[n]
        """,
    ),
    Family(
        INT,
        "the largest integer whose $words is at most n",
        """
        return max(i for i in range(n + 1) if $power <= n)

        return len([i for i in range(1, n + 1) if $power <= n])

        i = 0
        while $next <= n:
            i += 1
        return i
        """,
        [
            {"words": "square", "power": "i * i", "next": "(i + 1) * (i + 1)"},
            {"words": "cube", "power": "i ** 3", "next": "(i + 1) ** 3"},
        ],
    ),
    Family(
        INT,
        "the number of $words in the binary form of n",
        """
        return bin(n)[2:].count('$bit')

        return sum(1 for c in bin(n)[2:] if c == '$bit')

        count = 0
        while n > 0:
            if n % 2 == $bit:
                count += 1
            n //= 2
        return count
        """,
        [{"words": "ones", "bit": 1}, {"words": "zeros", "bit": 0}],
    ),
    Family(
        INT,
        "the number of times that n can be divided by 2 without a remainder",
        """
        return max(i for i in range(n) if n % 2 ** i == 0) if n > 1 else 0

        return len(bin(n)) - len(bin(n).rstrip('0'))

        count = 0
        while n % 2 == 0:
            n //= 2
            count += 1
        return count
        """,
    ),
    Family(
        INT,
        "the list of the integers from n down to $k",
        """
        return list(range(n, $k - 1, -1))

        return [n - i for i in range(n - $k + 1)]

        result = []
        while n >= $k:
            result.append(n)
            n -= 1
        return result
        """,
        each("k", 1, 2, 5),
    ),
    Family(
        INT,
        "the number of steps to reach 1 from n, halving even and tripling plus one odd numbers",
        """
        return 0 if n == 1 else 1 + f(n // 2 if n % 2 == 0 else n * 3 + 1)

        count = 0
        while n != 1:
            n = n // 2 if n % 2 == 0 else 3 * n + 1
            count += 1
        return count
        """,
    ),
]
