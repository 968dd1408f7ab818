"""Researchers' transcripts as logs of Inspect, for its viewer and its tools: a log for each
researcher, a sample for each incarnation."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aarlab.core.layout import CampaignFolder, ExportFolder
from aarlab.fleet.transcripts import Step, steps_of, transcript_paths
from aarlab.programs.campaign_reader import CampaignReader
from aarlab.programs.series import missing, settings_of
from aarlab.programs.table_export import make_new

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

NOT_GRADED = "graded by the evaluator: see the receipts"  # Inspect wants a target of a sample


def to_inspect(reader: CampaignReader, folder: Path) -> list[Path]:
    """Write a log for each researcher that has a transcript into a new folder; the files. Scores in
    them are those that were reported.

    Raises:
        Misconfigured: inspect_ai is not installed, or there is something at that path already.
    """
    try:
        from inspect_ai.log import write_eval_log
    except ImportError as error:
        raise missing("inspect_ai", "inspect") from error
    make_new(folder)
    made, transcripts = [], CampaignFolder(reader.folder).transcripts
    for home in sorted(transcripts.glob("*")):
        if home.is_dir() and (found := transcript_paths(home)):
            path = ExportFolder(folder).table(home.name, "eval")
            write_eval_log(_log(reader, home.name, found), str(path))
            made.append(path)
    return made


def _log(reader: CampaignReader, name: str, found: dict[int, Path]) -> "EvalLog":
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSpec

    mine = [row for row in reader.rows("submissions") if row["researcher"] == name]
    improved = [row["reported_level_pgr"] for row in mine if row["improved"]]
    settings = reader.settings
    facts = {
        "campaign": reader.folder.name,
        "researcher": name,
        "settings": settings_of(reader),
        "submissions": len(mine),
        "reported_level_pgr": max(improved, default=None),
        "receipts": [row["receipt"] for row in mine],
    }
    spec = EvalSpec(
        created=_began(found),
        task=f"{reader.folder.name}/{name}",
        dataset=EvalDataset(name=settings_of(reader)["problem"], samples=len(found)),
        model=settings.model if settings.calls_a_model else settings.kind,
        config=EvalConfig(),
        metadata=facts,
    )
    return EvalLog(status="success", eval=spec, samples=[_sample(n, p) for n, p in found.items()])


def _began(found: dict[int, Path]) -> str:
    first = min(path.stat().st_mtime for path in found.values())
    return datetime.fromtimestamp(first, UTC).isoformat(timespec="seconds")


def _sample(incarnation: int, path: Path) -> "EvalSample":
    from inspect_ai.log import EvalSample

    messages = list(_messages(steps_of(path)))
    facts = {"incarnation": incarnation}
    return EvalSample(
        id=incarnation, epoch=1, input="", target=NOT_GRADED, messages=messages, metadata=facts
    )


def _messages(steps: Iterator[Step]) -> Iterator[Any]:
    """What a step says, as the message that it was: a call of a tool is the assistant's, its output
    the tool's; what the program prints of itself is the system's."""
    from inspect_ai.model import (
        ChatMessageAssistant,
        ChatMessageSystem,
        ChatMessageTool,
        ChatMessageUser,
        ContentReasoning,
    )
    from inspect_ai.tool import ToolCall

    open_calls: list[ToolCall] = []
    for number, step in enumerate(steps):
        if step.kind == "says":
            yield ChatMessageAssistant(content=step.text)
        elif step.kind == "thinks":
            yield ChatMessageAssistant(content=[ContentReasoning(reasoning=step.text)])
        elif step.kind == "calls":
            name, _, words = step.text.partition(": ")
            call = ToolCall(id=f"call-{number}", function=name[:100], arguments={"given": words})
            open_calls.append(call)
            yield ChatMessageAssistant(content="", tool_calls=[call])
        elif step.kind in ("gets", "fails") and open_calls:
            call = open_calls.pop(0)
            given = {"tool_call_id": call.id, "function": call.function}
            yield ChatMessageTool(content=step.text, **given)
        elif step.kind == "begins":
            yield ChatMessageUser(content=step.text)
        else:
            yield ChatMessageSystem(content=f"{step.kind}: {step.text}")
