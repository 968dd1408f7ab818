"""What an operation of the lab is: one row of the table in `operations`."""

import re
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import quote, urlencode

from pydantic.fields import FieldInfo

from aarlab.core import operation_records as records
from aarlab.core.operation_records import Role
from aarlab.core.records import Record

PREFIX = "/api/v1"


IDS: dict[str, Any] = {  # what stands in a path
    "snapshot": records.SnapshotId,
    "receipt": records.ReceiptId,
    "ticket": records.TicketId,
    "finding": records.FindingId,
    "name": records.Name,
}


class Operation(NamedTuple):
    """One row of the table. `words` is what models and people read about it."""

    name: str
    method: Literal["GET", "POST", "DELETE"]
    path: str  # under PREFIX; {names} are ids
    roles: tuple[Role, ...]
    takes: Any  # a record: the query of a GET, the body of a POST; None: nothing
    gives: type[Record]
    words: str = ""
    status: int = 200  # of an answer that is no refusal
    command: str = ""  # of `aar lab`; "": only through another operation's tool
    tool: str = ""  # the MCP tool, where it has another operation's name
    inside: type[Record] | None = None  # what its tool inside a sandbox takes, where that differs
    on_grid: bool = False  # the reply leaves on the grid of `lab.reply_times`
    reads: bool = False  # a POST that changes nothing
    repeats: bool = True  # done twice, it is as if it were done once

    def says(self, words: str) -> Self:
        """The same with what models and people read about it."""
        return self._replace(words=words)

    @property
    def ids(self) -> dict[str, FieldInfo]:
        """The ids in the path, by name."""
        return {
            name: FieldInfo.from_annotation(IDS[name]) for name in re.findall(r"{(\w+)}", self.path)
        }

    @property
    def query(self) -> dict[str, FieldInfo]:
        """The fields of the query, by name."""
        return self.takes.model_fields if self.method == "GET" and self.takes is not None else {}

    @property
    def arguments(self) -> dict[str, FieldInfo]:
        """What a caller of the tool gives over MCP, by name: ids, then the fields of the query or
        the body."""
        return self.ids | (self.takes.model_fields if self.takes is not None else {})

    @property
    def arguments_inside(self) -> dict[str, FieldInfo]:
        """What a caller inside a sandbox gives, by name."""
        return self.arguments if self.inside is None else self.inside.model_fields

    @property
    def hints(self) -> dict[str, bool]:
        """What MCP says to a client about the tool (the fields of ToolAnnotations)."""
        return {
            "read_only_hint": self.method == "GET" or self.reads,
            "destructive_hint": False,
            "idempotent_hint": self.repeats,
            "open_world_hint": False,
        }

    def request(self, given: Mapping[str, Any]) -> tuple[str, str, Any]:
        """(method, path with query, body) of a request with these arguments; None stands for an
        argument that is not given."""
        fields = {name: value for name, value in given.items() if value is not None}
        path = PREFIX + self.path.format_map(
            {name: quote(str(fields.pop(name)), safe="") for name in self.ids}
        )
        if self.method == "POST":
            return self.method, path, fields
        return self.method, path + (f"?{urlencode(fields)}" if fields else ""), None


def parameters(
    fields: Mapping[str, FieldInfo], kind: Callable[[FieldInfo], Any]
) -> list[Parameter]:
    """The parameters of a function with these arguments, each annotated with what `kind` makes of
    its field."""
    return [
        Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            annotation=kind(field),
            default=Parameter.empty
            if field.is_required()
            else field.get_default(call_default_factory=True),
        )
        for name, field in fields.items()
    ]
