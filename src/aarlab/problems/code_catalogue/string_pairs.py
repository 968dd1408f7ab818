"""Out of distribution: two strings. `b` and `c` are characters, `i` an index."""

from aarlab.problems.code_catalogue.family import Family
from aarlab.problems.code_catalogue.kinds import TWO_TEXTS

TWO = [
    Family(
        TWO_TEXTS,
        "True if the first string $words the second, else False",
        """
        return $short

        return $other

        if $code:
            result = True
        else:
            result = False
        return result
        """,
        [
            {"words": "starts with", "short": "s.startswith(t)", "other": "s[:len(t)] == t", "code": "s.find(t) == 0"},
            {"words": "ends with", "short": "s.endswith(t)", "other": "s[::-1][:len(t)] == t[::-1]", "code": "s.endswith(t)"},
            {"words": "contains", "short": "t in s", "other": "s.find(t) >= 0", "code": "t in s"},
            {
                "words": "has more characters than",
                "short": "len(s) > len(t)",
                "other": "len(t) < len(s)",
                "code": "len(s) > len(t)",
            },
            {"words": "is alphabetically before", "short": "s < t", "other": "t > s", "code": "s < t"},
        ],
    ),
    Family(
        TWO_TEXTS,
        "the string of the first string's characters that are $words the second",
        """
        return ''.join(c for c in s if c $op t)

        return ''.join([c for c in s if t.count(c) $many])

        result = ''
        for c in s:
            if c $op t:
                result += c
        return result
        """,
        [{"words": "also in", "op": "in", "many": "> 0"}, {"words": "missing from", "op": "not in", "many": "== 0"}],
    ),
    Family(
        TWO_TEXTS,
        "the number of positions at which the two strings have $words character",
        """
        return sum(1 for b, c in zip(s, t) if b $op c)

        return len([i for i in range(min(len(s), len(t))) if s[i] $op t[i]])

        count = 0
        for b, c in zip(s, t):
            if b $op c:
                count += 1
        return count
        """,
        [{"words": "the same", "op": "=="}, {"words": "a different", "op": "!="}],
    ),
    Family(
        TWO_TEXTS,
        "the number of characters at the start that the two strings have in common",
        """
        return next((i for i, (b, c) in enumerate(zip(s, t)) if b != c), min(len(s), len(t)))

        return sum(1 for i in range(min(len(s), len(t))) if s[:i + 1] == t[:i + 1])

        count = 0
        for b, c in zip(s, t):
            if b != c:
                break
            count += 1
        return count
        """,
    ),
    Family(
        TWO_TEXTS,
        "the $words of the two strings, or the first if they are equally long",
        """
        return s if len(s) $op len(t) else t

        return $call(s, t, key=len)

        if len(s) $op len(t):
            result = s
        else:
            result = t
        return result
        """,
        [{"words": "longer", "op": ">=", "call": "max"}, {"words": "shorter", "op": "<=", "call": "min"}],
    ),
    Family(
        TWO_TEXTS,
        "the two strings joined, the $words written in upper case",
        """
        return $one + $two

        return ''.join([$one, $two])

        result = $one
        other = $two
        result = result + other
        return result
        """,
        [
            {
                "words": "first",
                "case": "upper case",
                "short": "s.upper() + t",
                "parts": "s.upper(), t",
                "one": "s.upper()",
                "two": "t",
            },
            {
                "words": "second",
                "case": "upper case",
                "short": "s + t.upper()",
                "parts": "s, t.upper()",
                "one": "s",
                "two": "t.upper()",
            },
        ],
    ),
    Family(
        TWO_TEXTS,
        "True if the two strings have the same characters equally often, else False",
        """
        return sorted(s) == sorted(t)

        return all(s.count(c) == t.count(c) for c in s + t)

        for c in s + t:
            if s.count(c) != t.count(c):
                return False
        return True
        """,
    ),
    Family(
        TWO_TEXTS,
        "the number of different characters that occur in $words",
        """
        return len(set(s) $op set(t))

        kept = set(s).$call(t)
        return len(kept)

        seen = set()
        for c in s + t:
            if $code:
                seen.add(c)
        return len(seen)
        """,
        [
            {"words": "both strings", "op": "&", "call": "intersection", "code": "c in s and c in t"},
            {"words": "at least one of the strings", "op": "|", "call": "union", "code": "c in s or c in t"},
        ],
    ),
]
