"""Out of distribution: one string. `c` is a character, `i` an index."""

from aarlab.problems.code_catalogue.family import Family, conditions, each
from aarlab.problems.code_catalogue.kinds import TEXT

CHARACTERS = conditions(
    {
        "a vowel of 'aeiou'": "c in 'aeiou'",
        "a digit": "c.isdigit()",
        "an upper case letter": "c.isupper()",
        "a lower case letter": "c.islower()",
        "a letter": "c.isalpha()",
        "a space": "c == ' '",
        "the letter 'a'": "c == 'a'",
        "not the letter 'b'": "c != 'b'",
        "greater than 'b'": "c > 'b'",
    }
)

ONE = [
    Family(
        TEXT,
        "the number of characters of the string that are $words",
        """
        return sum(1 for c in s if $code)

        return len([c for c in s if $code])

        count = 0
        for c in s:
            if $code:
                count += 1
        return count
        """,
        CHARACTERS,
    ),
    Family(
        TEXT,
        "the string without each character that is $words",
        """
        return ''.join(c for c in s if not $code)

        kept = [c for c in s if not $code]
        return ''.join(kept)

        result = ''
        for c in s:
            if not $code:
                result += c
        return result
        """,
        CHARACTERS,
    ),
    Family(
        TEXT,
        "the index of the first character that is $words, or -1 if there is none",
        """
        return next((i for i, c in enumerate(s) if $code), -1)

        found = [i for i, c in enumerate(s) if $code]
        return found[0] if found else -1

        for i, c in enumerate(s):
            if $code:
                return i
        return -1
        """,
        CHARACTERS[:6],
    ),
    Family(
        TEXT,
        "the last character that is $words, or an empty string if there is none",
        """
        return next((c for c in reversed(s) if $code), '')

        kept = [c for c in s if $code]
        return kept[-1] if kept else ''

        last = ''
        for c in s:
            if $code:
                last = c
        return last
        """,
        CHARACTERS[1:5],
    ),
    Family(
        TEXT,
        "the string with each character that is $words replaced by '$new'",
        """
        return ''.join('$new' if $code else c for c in s)

        return ''.join([c if not $code else '$new' for c in s])

        result = ''
        for c in s:
            result += '$new' if $code else c
        return result
        """,
        [{**values, "new": new} for values, new in zip(CHARACTERS[:6], "*#-x_.", strict=True)],
    ),
    Family(
        TEXT,
        "True if the string reads the same backwards, else False",
        """
        return s == s[::-1]

        return all(s[i] == s[len(s) - 1 - i] for i in range(len(s)))

        for i in range(len(s) // 2):
            if s[i] != s[-1 - i]:
                return False
        return True
        """,
    ),
    Family(
        TEXT,
        "the string in reversed order",
        """
        return s[::-1]

        return ''.join(reversed(s))

        result = ''
        for c in s:
            result = c + result
        return result
        """,
    ),
    Family(
        TEXT,
        "the number of $words in the string, split at white space",
        """
        return len([w for w in s.split() if $code])

        return sum(1 for w in s.split() if $code)

        count = 0
        for w in s.split():
            if $code:
                count += 1
        return count
        """,
        conditions({"words longer than 2 characters": "len(w) > 2", "words of one character": "len(w) == 1"}),
    ),
    Family(
        TEXT,
        "the list of the string's words in $words, split at white space",
        """
        return [w.$call() for w in s.split()]

        return list(map(lambda w: w.$call(), s.split()))

        result = []
        for w in s.split():
            result.append(w.$call())
        return result
        """,
        [{"words": "upper case", "call": "upper"}, {"words": "lower case", "call": "lower"}],
    ),
    Family(
        TEXT,
        "the string without its $words character",
        """
        return $short

        return ''.join(c for i, c in enumerate(s) if i != $i)

        result = ''
        for i in range(len(s)):
            if i != $i:
                result += s[i]
        return result
        """,
        [
            {"words": "first", "short": "s[1:]", "i": 0},
            {"words": "last", "short": "s[:-1]", "i": "len(s) - 1"},
            {"words": "second", "short": "s[:1] + s[2:]", "i": 1},
        ],
    ),
    Family(
        TEXT,
        "the first $k characters of the string in $words",
        """
        return s[:$k].$call()

        return ''.join(c.$call() for c in s[:$k])

        result = ''
        for i, c in enumerate(s):
            if i < $k:
                result += c.$call()
        return result
        """,
        [{"k": 3, "words": "upper case", "call": "upper"}, {"k": 4, "words": "lower case", "call": "lower"}],
    ),
    Family(
        TEXT,
        "every second character of the string, starting at index $k",
        """
        return s[$k::2]

        return ''.join(s[i] for i in range($k, len(s), 2))

        result = ''
        for i, c in enumerate(s):
            if i % 2 == $k:
                result += c
        return result
        """,
        each("k", 0, 1),
    ),
    Family(
        TEXT,
        "the string with each character written $words",
        """
        return ''.join(c * $k for c in s)

        return ''.join([c * $k for c in s])

        result = ''
        for c in s:
            result += c * $k
        return result
        """,
        [{"words": "twice", "k": 2}, {"words": "three times", "k": 3}],
    ),
    Family(
        TEXT,
        "the number of characters that are equal to the one before them",
        """
        return sum(1 for b, c in zip(s, s[1:]) if b == c)

        return sum(1 for i in range(1, len(s)) if s[i] == s[i - 1])

        count = 0
        for i in range(len(s) - 1):
            if s[i] == s[i + 1]:
                count += 1
        return count
        """,
    ),
    Family(
        TEXT,
        "the number of different characters in the string",
        """
        return len(set(s))

        return sum(1 for i, c in enumerate(s) if c not in s[:i])

        seen = []
        for c in s:
            if c not in seen:
                seen.append(c)
        return len(seen)
        """,
    ),
    Family(
        TEXT,
        "the string with only the first occurrence of each character kept",
        """
        return ''.join(dict.fromkeys(s))

        return ''.join(c for i, c in enumerate(s) if c not in s[:i])

        result = ''
        for c in s:
            if c not in result:
                result += c
        return result
        """,
    ),
    Family(
        TEXT,
        "the sum of the digits that occur in the string",
        """
        return sum(int(c) for c in s if c.isdigit())

        digits = [int(c) for c in s if c in '0123456789']
        return sum(digits)

        total = 0
        for c in s:
            if c.isdigit():
                total += int(c)
        return total
        """,
    ),
    Family(
        TEXT,
        "a dict from each character of the string to $words",
        """
        return {c: $short for c in s}

        return dict([(c, $short) for c in s])

        result = {}
        for i, c in enumerate(s):
            result[c] = $long
        return result
        """,
        [
            {"words": "how often it occurs", "short": "s.count(c)", "long": "result.get(c, 0) + 1"},
            {"words": "the index of its last occurrence", "short": "s.rfind(c)", "long": "i"},
        ],
    ),
]
