"""Out of distribution: a dict from strings to integers, or a list of strings. `key` and `v` are an entry, `w` a word."""

from aarlab.problems.code_catalogue.family import Family, conditions, each
from aarlab.problems.code_catalogue.kinds import DICT, WORD_LIST

VALUES = conditions(
    {
        "positive": "v > 0",
        "negative": "v < 0",
        "at least 2": "v >= 2",
        "at most 1": "v <= 1",
        "even": "v % 2 == 0",
        "odd": "v % 2 != 0",
    }
)
WORDS = conditions(
    {
        "longer than 2 characters": "len(w) > 2",
        "shorter than 4 characters": "len(w) < 4",
        "exactly 3 characters long": "len(w) == 3",
        "of even length": "len(w) % 2 == 0",
        "starting with 'a'": "w.startswith('a')",
        "ending in 'e' or 'n'": "w[-1:] == 'e' or w[-1:] == 'n'",
        "containing 'o'": "'o' in w",
    }
)

DICTS = [
    Family(
        DICT,
        "the sum of the dict's values that are $words",
        """
        return sum(v for v in d.values() if $code)

        kept = [v for v in d.values() if $code]
        return sum(kept)

        total = 0
        for v in d.values():
            if $code:
                total += v
        return total
        """,
        VALUES,
    ),
    Family(
        DICT,
        "the sorted list of the keys whose value is $words",
        """
        return sorted(key for key, v in d.items() if $code)

        result = [key for key, v in d.items() if $code]
        return sorted(result)

        result = []
        for key in sorted(d):
            v = d[key]
            if $code:
                result.append(key)
        return result
        """,
        VALUES,
    ),
    Family(
        DICT,
        "the dict without the entries whose value is $words",
        """
        return {key: v for key, v in d.items() if not $code}

        return dict([(key, v) for key, v in d.items() if not $code])

        result = {}
        for key, v in d.items():
            if not $code:
                result[key] = v
        return result
        """,
        VALUES,
    ),
    Family(
        DICT,
        "the number of entries whose value is $words",
        """
        return sum(1 for v in d.values() if $code)

        return len([v for v in d.values() if $code])

        count = 0
        for v in d.values():
            if $code:
                count += 1
        return count
        """,
        VALUES[1:5],
    ),
    Family(
        DICT,
        "the key with the $words value, the earliest of several, or None for an empty dict",
        """
        return $call(d, key=lambda key: d[key], default=None)

        return $call(d, key=d.get) if d else None

        best = None
        for key, v in d.items():
            if best is None or v $op d[best]:
                best = key
        return best
        """,
        [{"words": "largest", "call": "max", "op": ">"}, {"words": "smallest", "call": "min", "op": "<"}],
    ),
    Family(
        DICT,
        "the dict with each value $words",
        """
        return {key: $code for key, v in d.items()}

        return dict(((key, $code) for key, v in d.items()))

        result = {}
        for key, v in d.items():
            result[key] = $code
        return result
        """,
        conditions({"doubled": "v * 2", "increased by 1": "v + 1", "squared": "v * v"}),
    ),
    Family(
        DICT,
        "the dict from each value to the list of keys that have it",
        """
        return {v: [key for key in d if d[key] == v] for v in d.values()}

        result = {}
        for key, v in d.items():
            result.setdefault(v, []).append(key)
        return result

        result = {v: [] for v in d.values()}
        for key, v in d.items():
            result[v].append(key)
        return result
        """,
    ),
    Family(
        DICT,
        "the sum of the lengths of the keys whose value is $words",
        """
        return sum(len(key) for key, v in d.items() if $code)

        return len(''.join(key for key, v in d.items() if $code))

        total = 0
        for key, v in d.items():
            if $code:
                total += len(key)
        return total
        """,
        VALUES[:3],
    ),
    Family(
        DICT,
        "the keys in order of their values, the $words first",
        """
        return sorted(d, key=lambda key: $code)

        pairs = sorted(d.items(), key=lambda pair: $pair)
        return [key for key, v in pairs]

        result = []
        for v in $values:
            for key in d:
                if d[key] == v:
                    result.append(key)
        return result
        """,
        [
            {"words": "smallest", "code": "d[key]", "pair": "pair[1]", "values": "sorted(set(d.values()))"},
            {"words": "largest", "code": "-d[key]", "pair": "-pair[1]", "values": "sorted(set(d.values()))[::-1]"},
        ],
    ),
    Family(
        DICT,
        "the $words of the dict's values, or 0 for an empty dict",
        """
        return $call(d.values(), default=0)

        return sorted(d.values())[$i] if d else 0

        best = None
        for v in d.values():
            if best is None or v $op best:
                best = v
        return best or 0
        """,
        [
            {"words": "maximum", "call": "max", "i": -1, "op": ">"},
            {"words": "minimum", "call": "min", "i": 0, "op": "<"},
        ],
    ),
]

WORD_LISTS = [
    Family(
        WORD_LIST,
        "the number of strings that are $words",
        """
        return sum(1 for w in words if $code)

        return len([w for w in words if $code])

        count = 0
        for w in words:
            if $code:
                count += 1
        return count
        """,
        WORDS,
    ),
    Family(
        WORD_LIST,
        "the list of the strings that are $words",
        """
        return [w for w in words if $code]

        return list(filter(lambda w: $code, words))

        result = []
        for w in words:
            if $code:
                result.append(w)
        return result
        """,
        WORDS,
    ),
    Family(
        WORD_LIST,
        "the strings that are $words, joined with '$by'",
        """
        return '$by'.join(w for w in words if $code)

        kept = [w for w in words if $code]
        return '$by'.join(kept)

        result = []
        for w in words:
            if $code:
                result += [w]
        return '$by'.join(result)
        """,
        [{**values, "by": by} for values, by in zip(WORDS[:4], "-+/,", strict=True)],
    ),
    Family(
        WORD_LIST,
        "the total length of the strings that are $words",
        """
        return sum(len(w) for w in words if $code)

        return len(''.join(w for w in words if $code))

        total = 0
        for w in words:
            if $code:
                total += len(w)
        return total
        """,
        WORDS[1:6],
    ),
    Family(
        WORD_LIST,
        "the $words string, the earliest of several, or an empty string if there is none",
        """
        return $call(words, key=len, default='')

        return sorted(words, key=lambda w: $key)[0] if words else ''

        if not words:
            return ''
        best = words[0]
        for w in words:
            if len(w) $op len(best):
                best = w
        return best
        """,
        [
            {"words": "longest", "call": "max", "key": "-len(w)", "op": ">"},
            {"words": "shortest", "call": "min", "key": "len(w)", "op": "<"},
        ],
    ),
    Family(
        WORD_LIST,
        "a dict from each string to $words",
        """
        return {w: $short for w in words}

        return dict(zip(words, [$short for w in words]))

        result = {}
        for i, w in enumerate(words):
            result[w] = $long
        return result
        """,
        [
            {"words": "its length", "short": "len(w)", "long": "len(w)"},
            {"words": "the number of its occurrences", "short": "words.count(w)", "long": "result.get(w, 0) + 1"},
        ],
    ),
    Family(
        WORD_LIST,
        "the list of the strings' $words, an empty string left out",
        """
        return [w[$i] for w in words if w != '']

        return list(map(lambda w: w[$i], filter(None, words)))

        result = []
        for w in words:
            if len(w) > 0:
                result.append(w[$i])
        return result
        """,
        [{"words": "first characters", "i": 0}, {"words": "last characters", "i": -1}],
    ),
    Family(
        WORD_LIST,
        "the list of each string together with its $words, joined without a space",
        """
        return [w + $code for w in words]

        return list(map(lambda w: w + $code, words))

        result = []
        for w in words:
            result.append(w + $code)
        return result
        """,
        conditions({"length": "str(len(w))", "reversal": "w[::-1]", "upper case form": "w.upper()"}),
    ),
    Family(
        WORD_LIST,
        "the list of the strings without the first $k",
        """
        return words[$k:]

        return [w for i, w in enumerate(words) if i >= $k]

        result = []
        for i in range($k, len(words)):
            result.append(words[i])
        return result
        """,
        each("k", 1, 2),
    ),
    Family(
        WORD_LIST,
        "the number of strings that are equal to the one before them or shorter than 2 characters",
        """
        return sum(1 for i, w in enumerate(words) if len(w) < 2 or (i > 0 and w == words[i - 1]))

        return len([i for i, w in enumerate(words) if i > 0 and words[i - 1] == w or len(w) < 2])

        count = 0
        for i, w in enumerate(words):
            if len(w) < 2 or (i > 0 and words[i - 1] == w):
                count += 1
        return count
        """,
    ),
]
