"""Every operation of the table is on every surface, with the table's words and arguments, and
nothing else is."""

import asyncio
import inspect
import json
from pathlib import Path

import pytest
import typer

from aarlab.cli import lab_command as shell
from aarlab.core import operations
from aarlab.core.evaluator_socket import LOCAL, ServingLimits
from aarlab.core.operation import PREFIX, Operation
from aarlab.core.operations import ALL, OPERATIONS, OPERATOR, TOOLS, same_tool
from aarlab.core.records import Receipt
from aarlab.evaluation import handlers
from aarlab.evaluation.evaluator_service import EvaluatorService
from aarlab.evaluation.operator_handlers import OperatorHandlers
from aarlab.gateway.lab_proxy import is_open
from aarlab.lab import mcp_tools
from aarlab.lab.app import create_app
from aarlab.lab.evaluator_client import EvaluatorClient
from aarlab.lab.lab_handlers import LabHandlers
from aarlab.researchers import bridge, lab_tools
from aarlab.researchers.lab_client import Lab
from aarlab.researchers.lab_tools import LabTools
from tests.lab.alone import write_problem

ID = {
    "snapshot": "0" * 64,
    "receipt": "r-000001",
    "ticket": "q-000001",
    "finding": "f-000001",
    "name": "ann",
}
NEW = Operation("weigh", "GET", "/weights", ALL, None, Receipt, "Weigh.", command="weigh")


def functions(kind: type) -> dict[str, inspect.Signature]:
    """The public methods of a class, by name."""
    found = {
        name: act
        for name, act in vars(kind).items()
        if inspect.isfunction(act) and not name.startswith("_")
    }
    return {name: inspect.signature(act) for name, act in found.items()}


@pytest.fixture
def servers(monkeypatch):
    """The MCP servers that are made, in order."""
    made = []

    class Seen(mcp_tools.MCPServer):
        def __init__(self, *given, **more):
            super().__init__(*given, **more)
            made.append(self)

    for module in (mcp_tools, bridge):
        monkeypatch.setattr(module, "MCPServer", Seen)
    return made


@pytest.fixture
def app(tmp_path, servers):
    write_problem(tmp_path / "problem")
    return create_app(EvaluatorClient(tmp_path / "none.sock"), ServingLimits(answers=305))


def test_names_paths_and_words_are_given_once():
    rows = list(OPERATIONS.values())
    assert (
        len(rows)
        == len({row.name for row in rows})
        == len({(row.method, row.path) for row in rows})
    )
    assert all(row.words.endswith(".") and row.roles for row in rows)
    assert {row.tool for row in rows} <= {tool.name for tool in TOOLS} | {""}
    assert all(tool.command for tool in TOOLS)
    assert {
        "researcher" in row.roles
        for row in rows
        if row.name not in {tool.name for tool in TOOLS} and not row.tool
    } == {False}


def test_each_operation_is_a_route_and_each_route_an_operation(app):
    described = app.openapi()["paths"]
    found = {
        (method.upper(), path): what
        for path, methods in described.items()
        for method, what in methods.items()
    }
    assert found.keys() == {(row.method, PREFIX + row.path) for row in OPERATIONS.values()}
    for row in OPERATIONS.values():
        what = found[row.method, PREFIX + row.path]
        assert what["description"] == row.words
        assert {p["name"] for p in what.get("parameters", [])} == row.ids.keys() | row.query.keys()
        assert ("requestBody" in what) == (row.method == "POST")
        content = what["responses"][str(row.status)]["content"]["application/json"]
        assert content["schema"]["$ref"].endswith(f"/{row.gives.__name__}")


def test_each_operation_has_one_function_that_takes_what_the_table_says():
    judges, operators = functions(handlers.Handlers), functions(OperatorHandlers)
    judges, local = (
        {n: judges[n] for n in judges.keys() - {"do", "pending"}},
        {n: functions(LabHandlers)[n] for n in LOCAL},
    )
    assert (
        judges.keys() == {row.name for row in OPERATIONS.values() if row.roles != OPERATOR} - LOCAL
    )
    assert operators.keys() == {row.name for row in OPERATIONS.values() if row.roles == OPERATOR}
    for name, signature in (judges | operators | local).items():
        # self, the caller
        row, taken = (
            OPERATIONS[name],
            list(signature.parameters.values())[1 if name in LOCAL else 2 :],
        )
        ids = {p.name for p in taken if p.kind is p.KEYWORD_ONLY}
        kinds = [p.annotation for p in taken if p.kind is not p.KEYWORD_ONLY]
        assert ids == row.ids.keys(), name
        assert signature.return_annotation is row.gives, name
        if name != "add_entry":  # an annotated union
            assert kinds == ([] if row.takes is None else [row.takes]), name


def test_each_tool_is_served_over_mcp(app, servers):
    shown = {tool.name: tool for tool in asyncio.run(servers[0].list_tools())}
    assert shown.keys() == {row.name for row in TOOLS}
    for row in TOOLS:
        assert shown[row.name].description == row.words
        assert shown[row.name].input_schema["properties"].keys() == row.arguments.keys()
        assert shown[row.name].output_schema is None  # an answer is sent once
    described(shown)
    assert servers[0].instructions
    assert servers[0].version


def described(shown):
    """Every argument has a description, every id its pattern, every tool what it changes."""
    for tool in shown.values():
        for name, schema in tool.input_schema["properties"].items():
            assert schema["description"], (tool.name, name)
            if name in {"snapshot", "receipt", "finding"}:
                assert "pattern" in json.dumps(schema), (tool.name, name)
        writes = {"commit_code", "submit_predictions", "submit_code", "share_finding"}
        assert tool.annotations.read_only_hint == (tool.name not in writes)
        assert tool.annotations.idempotent_hint == (tool.name != "share_finding")


def test_each_tool_is_in_the_bridge(servers):
    shown = {
        tool.name: tool
        for tool in asyncio.run(bridge.server_of(LabTools(Lab(Path("none.sock")))).list_tools())
    }
    assert shown.keys() == {row.name for row in TOOLS}
    for row in TOOLS:
        schema = shown[row.name].input_schema
        assert shown[row.name].description == row.words
        assert schema["properties"].keys() == row.arguments_inside.keys()
        assert set(schema.get("required", ())) == {
            n for n, field in row.arguments_inside.items() if field.is_required()
        }
    described(shown)


def test_each_tool_renders_the_output_record_of_the_table():
    methods = functions(LabTools)
    assert methods.keys() == {row.name for row in TOOLS}
    for row in TOOLS:
        taken = {
            name: p.default for name, p in methods[row.name].parameters.items() if name != "self"
        }
        assert taken.keys() == row.arguments_inside.keys(), row.name
        for name, field in row.arguments_inside.items():
            default = (
                inspect.Parameter.empty
                if field.is_required()
                else field.get_default(call_default_factory=True)
            )
            assert taken[name] == (tuple(default) if isinstance(default, list) else default), (
                row.name,
                name,
            )


def test_each_tool_is_a_command_in_a_shell():
    commands = typer.main.get_command(shell.app).commands
    assert commands.keys() == {row.command for row in TOOLS}
    for row in TOOLS:
        taken = {parameter.name for parameter in commands[row.command].params}
        assert row.arguments_inside.keys() <= taken, row.name
        assert row.words in commands[row.command].help


def test_the_gateway_lets_a_researchers_operations_through_and_no_other():
    for row in OPERATIONS.values():
        path = PREFIX + row.path.format_map(ID)
        assert is_open(row.method, path) == ("researcher" in row.roles), row.name


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_request_names_what_is_given_once(name):
    row = OPERATIONS[name]
    fields = {field: f"{field} & more" for field in row.query}
    method, target, body = row.request(
        ID | fields if row.query else {n: ID[n] for n in row.ids} | {"x": 1, "y": None}
    )
    assert method == row.method
    assert target.startswith(PREFIX + row.path.format_map(ID))
    assert body == ({"x": 1} if row.method == "POST" else None)
    assert all(f"{field}={field}+%26+more" in target for field in fields)


def test_an_id_finds_the_operation_that_it_is_of():
    receipt = OPERATIONS["read_receipt"]
    assert same_tool(receipt, "q-000001").name == "read_ticket"
    assert same_tool(receipt, "r-000001") is same_tool(receipt, "x") is receipt
    assert same_tool(OPERATIONS["read_finding"], "q-000001").name == "read_finding"


def test_an_operation_without_a_function_or_a_text_stops_the_start(tmp_path, monkeypatch):
    """The table grows by a row that nobody wrote a function for."""
    write_problem(tmp_path / "problem")
    monkeypatch.setitem(operations.OPERATIONS, NEW.name, NEW)
    monkeypatch.setattr(bridge, "TOOLS", (*TOOLS, NEW))
    assert handlers.OPERATIONS is operations.OPERATIONS
    with pytest.raises(AttributeError, match="weigh"):
        EvaluatorService(tmp_path / "problem", tmp_path / "campaign")
    with pytest.raises(AttributeError, match="weigh"):
        bridge.server_of(lab_tools.LabTools(Lab(Path("none.sock"))))
