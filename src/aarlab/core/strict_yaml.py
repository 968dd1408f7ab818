"""The one reader of text, YAML, JSON and JSON Lines that come from outside: settings, items,
labels, proofs. All of it is UTF-8 (a byte order mark is taken off), no key stands twice in one
mapping (other readers keep the last one silently), no text holds half of a surrogate pair, and
what is wrong is said with file, line and key.

YAML is that of version 1.2, as JSON has it: 1e2 is a number, a date or 010 is a text, a key is
a text; of version 1.1 the words yes, no, on and off remain. Where a record wants a text, a word
such as 7 or on is that text.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import ValidationError

from aarlab.core.errors import Misconfigured
from aarlab.core.plain_text import half_of_pair, read_text
from aarlab.core.records import Record, validated

R = TypeVar("R", bound=Record)
Loc = tuple[int | str, ...]

_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_TRUE, _FALSE = ("yes", "true", "on"), ("no", "false", "off")
_BOOL = re.compile("|".join(f"{w}|{w.capitalize()}|{w.upper()}" for w in (*_TRUE, *_FALSE)))
_NULL = re.compile(r"~|null|Null|NULL|")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Composes nodes, in C where PyYAML was built with libyaml; with the tags of above."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


for _name, _pattern, _starts in (
    ("bool", _BOOL, "yYnNtTfFoO"),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+0123456789."),
    ("null", _NULL, ["~", "n", "N", ""]),
    ("merge", re.compile("<<"), "<"),
):
    _Loader.add_implicit_resolver(
        f"{_TAG}{_name}", re.compile(rf"(?:{_pattern.pattern})\Z"), list(_starts)
    )


class Document:
    """A YAML text: its plain value, and where its parts stand."""

    def __init__(self, text: str, where: str) -> None:
        """`where`: as messages call the text.

        Raises:
            Misconfigured: it is not one YAML document.
        """
        self._where = where
        try:
            self._root: yaml.Node | None = yaml.compose(text, _Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            words = ", ".join(filter(None, (error.context, error.problem)))
            raise self._wrong(words, mark) from error
        except (yaml.YAMLError, RecursionError) as error:
            words = "it is nested too deeply" if isinstance(error, RecursionError) else f"{error}"
            raise self._wrong(" ".join(words.split())) from error

    @classmethod
    def of(cls, words: Mapping[str, str], where: str) -> "Document":
        """A mapping whose values are YAML texts of their own, such as FIELD=VALUE arguments."""
        made, pairs = cls("{}", where), []
        for name, word in words.items():
            part = cls(word, f"{where} {name}")
            part.value()  # what is wrong with it names the field
            pairs.append(
                (
                    yaml.ScalarNode(f"{_TAG}str", name),
                    part._root or yaml.ScalarNode(f"{_TAG}null", ""),
                )
            )
        made._root = yaml.MappingNode(f"{_TAG}map", pairs)
        return made

    def value(self, texts: Iterable[Loc] = ()) -> Any:
        """The plain value; what stands at one of the places `texts` is read as a text.

        Raises:
            Misconfigured: a key stands twice, or something has no plain value; with its line.
        """
        as_text = {id(node) for loc in texts if (node := self._at(loc)[1]) is not None}
        try:
            return None if self._root is None else self._value(self._root, as_text, {}, ())
        except RecursionError as error:
            raise self._wrong("it is nested too deeply") from error

    def line(self, loc: Loc) -> int | None:
        """The line, from 1, of the key or the entry at that place of the value."""
        node, _ = self._at(loc)
        return None if node is None or node.start_mark is None else node.start_mark.line + 1

    def _at(self, loc: Loc) -> tuple[yaml.Node | None, yaml.Node | None]:
        """(the key or entry at that place, its value). Names that are no keys are passed over:
        pydantic puts the branches of a union among them."""
        key, node = None, self._root
        for step in loc:
            if isinstance(node, yaml.MappingNode):
                found = [(k, v) for k, v in node.value if k.value == str(step)]
                key, node = found[-1] if found else (key, node)
            elif isinstance(node, yaml.SequenceNode) and step in range(len(node.value)):
                key = node = node.value[step]
        return key, node

    def _value(
        self, node: yaml.Node, texts: set[int], known: dict[int, Any], above: tuple[int, ...]
    ) -> Any:
        if id(node) in above:
            raise self._wrong("it holds itself", node.start_mark)
        if id(node) in known:  # an alias
            return known[id(node)]
        inside = (*above, id(node))
        if isinstance(node, yaml.ScalarNode):
            made = self._scalar(node, texts)
        elif isinstance(node, yaml.SequenceNode):
            made = [self._value(n, texts, known, inside) for n in node.value]
        else:
            made = self._mapping(node, texts, known, inside)
        known[id(node)] = made
        return made

    def _mapping(
        self, node: yaml.Node, texts: set[int], known: dict[int, Any], above: tuple[int, ...]
    ) -> dict[str, Any]:
        made: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._wrong("a key is no text", key.start_mark)
            if key.tag == f"{_TAG}merge":
                found = self._value(value, texts, known, above)
                for one in reversed(found if isinstance(found, list) else [found]):
                    if not isinstance(one, dict):
                        raise self._wrong("'<<' takes mappings", key.start_mark)
                    merged |= one
                continue
            name = self._sayable(key)
            if name in made:
                at = f"in line {lines[name]} and in line {key.start_mark.line + 1}"
                raise self._wrong(f"the key {name!r} stands twice ({at})")
            lines[name] = key.start_mark.line + 1 if key.start_mark else 1
            made[name] = self._value(value, texts, known, above)
        return merged | made

    def _scalar(self, node: yaml.ScalarNode, texts: set[int]) -> Any:
        kind, text = node.tag.removeprefix(_TAG), node.value
        plain = text.replace("_", "").lower()
        if kind == "str" or (id(node) in texts and kind in {"int", "float", "bool"}):
            return self._sayable(node)
        if kind == "null":
            return None
        try:
            if kind == "bool" and plain in (*_TRUE, *_FALSE):
                return plain in _TRUE
            if kind == "int":
                made = int(plain, 0)
                str(made)  # raises for one that no message could name
                return made
            if kind == "float":
                return float(plain.replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError as error:
            raise self._wrong(f"{text[:40]!r} is no number: {error}", node.start_mark) from error
        raise self._wrong(f"{text[:40]!r} cannot be read as {node.tag}", node.start_mark)

    def _sayable(self, node: yaml.ScalarNode) -> str:
        if half := half_of_pair(node.value):
            words = f"{half}. Write both halves, or remove it"
            raise self._wrong(words, node.start_mark)
        return str(node.value)

    def _wrong(self, words: str, mark: yaml.Mark | None = None) -> Misconfigured:
        at = "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
        return Misconfigured(f"{self._where} is not valid YAML: {words}{at}.")


def parse_yaml(text: str, where: str) -> Any:
    """The plain value that a YAML text stands for.

    Raises:
        Misconfigured: it is not YAML, or a key stands twice; the message names `where` and the
            line.
    """
    return Document(text, where).value()


def record_of(
    kind: type[R],
    document: Document,
    where: str,
    *,
    shape: Callable[[Any], Any] = lambda value: value,
    lines: bool = True,
) -> R:
    """A record from a YAML document. `shape`: what is done to the plain value before; `lines`:
    whether messages give them.

    Raises:
        Misconfigured: a field is missing, unknown or out of range. The message names `where`, the
            field and its line.
    """
    try:
        return kind.model_validate(shape(document.value()))
    except ValidationError as error:
        texts = [e["loc"] for e in error.errors() if e["type"] in {"string_type", "path_type"}]
    fields = shape(document.value(texts))
    return validated(kind, fields, where, line=document.line if lines else None)


def read_record(
    kind: type[R],
    path: Path,
    *,
    remedy: str = "",
    what: str = "",
    shape: Callable[[Any], Any] = lambda value: value,
) -> R:
    """A record from its YAML file. `remedy`: a sentence for who named a file that cannot be read;
    `what`: the name of the file, as text.

    Raises:
        Misconfigured: the file cannot be read, see `parse_yaml`; or a field is missing, unknown or
            out of range. The message names file, field and line.
    """
    text = read_text(path, remedy, what)
    return record_of(kind, Document(text, str(path)), str(path), shape=shape)
