"""A method's code without one of its components at a time, as far as its components are known: a
recipe of the built-in search has a choice in each dimension, other code calls parts of the library.
What a researcher wrote is read as words, and never parsed or run here."""

from collections.abc import Iterator, Mapping

from aarlab.core.records import Family
from aarlab.diversity.source import joined, normalised
from aarlab.evaluation.confirmation.winner_components import Without
from aarlab.methods.neutral_parts import NEUTRAL
from aarlab.researchers.recipe import PLAIN, Recipe, recipe_in, source_of
from aarlab.runs.engine import METHOD_FILE


def components_of(files: Mapping[str, str]) -> list[Without]:
    """What can be taken out of a method, in the order of the method; [] where nothing is known."""
    recipe = recipe_in(files.get(METHOD_FILE, ""))
    if recipe is not None and _is_its_code(files, recipe):
        return list(_of_recipe(recipe))
    return list(_of_parts(files))


def _is_its_code(files: Mapping[str, str], recipe: Recipe) -> bool:
    """Whether the code is what the recipe stands for: a line that names a recipe can be written
    above any code."""
    made = _code(recipe).partition("\n")[2]
    return len(files) == 1 and files[METHOD_FILE].partition("\n")[2] == made


def _code(recipe: Recipe) -> str:
    return source_of(recipe, family=Family.OTHER, author="aarlab, to see what a component does")


def _of_recipe(recipe: Recipe) -> Iterator[Without]:
    """Each choice that is not naive's, replaced by naive's."""
    for dimension, plain in PLAIN.items():
        if (chosen := recipe[dimension]) != plain:
            files = {METHOD_FILE: _code(recipe | {dimension: plain})}
            yield Without(f"without {dimension}", f"{chosen}, replaced by {plain}", files)


def _of_parts(files: Mapping[str, str]) -> Iterator[Without]:
    """Each part of the library that the code names, replaced by what does nothing."""
    called = {*normalised(joined(files))}
    own = next(n for n in map("whole_{}.py".format, range(len(files) + 1)) if n not in files)
    for name, (words, _) in NEUTRAL.items():
        if METHOD_FILE in files and name in called:
            rest = {path: code for path, code in files.items() if path != METHOD_FILE}
            made = {METHOD_FILE: _wrapped(name, own), own: files[METHOD_FILE], **rest}
            yield Without(f"without {name}", f"parts.{name}, replaced by {words}", made)


def _wrapped(part: str, own: str) -> str:
    return (
        f"# The submitted code, {own}, without parts.{part}.\n\n"
        "from aarlab.methods.neutral_parts import code_without\n\n"
        f'exec(globals().pop("code_without")("{part}", __file__, "{own}"))\n'
    )
