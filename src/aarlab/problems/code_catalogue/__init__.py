"""The catalogue of small-code: what a function may be asked to do, with right bodies. Add a family, and it takes part."""

from aarlab.problems.code_catalogue import (
    dicts,
    filters,
    list_pairs,
    lists,
    number_pairs,
    numbers,
    string_pairs,
    strings,
    whole_lists,
)
from aarlab.problems.code_catalogue.family import Description, Family

FAMILIES: list[Family] = [
    *filters.FILTERS,
    *lists.PLAIN,
    *whole_lists.WHOLE,
    *numbers.ONE,
    *number_pairs.INTEGERS,
    *list_pairs.LISTS_AND_INTEGERS,
    *list_pairs.LIST_PAIRS,
    *strings.ONE,
    *string_pairs.TWO,
    *dicts.DICTS,
    *dicts.WORD_LISTS,
]
CATALOGUE: list[Description] = [d for family in FAMILIES for d in family.descriptions]
