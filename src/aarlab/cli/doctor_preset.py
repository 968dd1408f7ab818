"""`aar doctor --preset`: check this machine and the hub for a preset of fine-tuned models;
estimate its hours."""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from aarlab.cli.doctor import Check, available_bytes
from aarlab.core.amounts import size
from aarlab.core.errors import Misconfigured
from aarlab.core.hub import Kind, ModelSource, shortened
from aarlab.core.settings import data_from, home, hub_reachable_by_choice
from aarlab.core.strict_json import read_json
from aarlab.models import cost
from aarlab.models.preset import Preset
from aarlab.problems.study.chat import SOURCES as CHAT
from aarlab.problems.study.code_contests import CODE_CONTESTS
from aarlab.problems.study.math import MATH, PRM800K, PROCESS_BENCH

PACKAGES = {  # by extra
    "models": ("torch", "transformers", "peft", "safetensors", "huggingface_hub"),
    "study": ("huggingface_hub", "pyarrow"),
}
SOURCES = {
    "qwen-chat": CHAT,
    "qwen-math": (PRM800K, MATH, PROCESS_BENCH),
    "qwen-code": (CODE_CONTESTS,),
}
# roughly, of downloads
DATA_BYTES = {"qwen-chat": 1 << 30, "qwen-math": 1 << 30, "qwen-code": 7 << 30}
NECESSARY = ("config.json", "*.safetensors", "tokenizer*")  # of a model
SMALL = 1e9  # weights of a strong model that a CPU may be asked to tune
ASK_S = 60.0  # to import torch
HUB_S = 5.0
GATED = "it is gated: accept its terms on its page, and set HF_TOKEN."
RUNS = 5  # seeds of each baseline, as `aar bench` has them
BASELINES = 4  # naive, confident, critic, elicitation: each fine-tunes the strong model once a run
ITEMS = {"qwen-chat": 11597, "qwen-math": 8111, "qwen-code": 11630}  # of all splits
STUDENT_ITEMS = {"qwen-chat": 6826, "qwen-math": 4735, "qwen-code": 8166}
TOKENS = 1000  # of an item with its prompt, on average; estimated for the study's chat items
# FLOP/s of an H100 SXM or H200 in bf16, by its data sheet; the share that can be hoped for
PEAK, MOST = 989e12, 0.45
PROGRAM = """
import json, torch
found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
print(json.dumps([[p.name, p.total_memory, [p.major, p.minor]] for p in found]))
"""


class Gpu(NamedTuple):
    name: str
    n_bytes: int
    capability: tuple[int, int]


class Repo(NamedTuple):
    """A repository of the hub that the preset needs, and the patterns of its required files."""

    kind: Kind
    name: str
    revision: str
    patterns: tuple[str, ...]


def checks(preset: Preset) -> Iterator[Check]:
    """All checks of a preset; the last one is a note with the estimate of hours.

    Raises:
        Misconfigured: a model's config.json is not valid.
    """
    yield from packages(preset)
    gpus = gpus_here() if importlib.util.find_spec("torch") else []
    shapes = {m.name: shape(m) for m in (preset.strong, preset.weak)}
    strong, weak = shapes[preset.strong.name], shapes[preset.weak.name]
    yield from hub(preset)
    if strong is None or weak is None:
        unknown = ", ".join(name for name, found in shapes.items() if found is None)
        yield from devices(preset, gpus, None, 0.0)
        yield Check(
            None,
            f"memory, disk and time: unknown until {unknown} is downloaded",
            "download it, or give its folder",
        )
        return
    yield from devices(preset, gpus, strong, cost.gpu_bytes(strong, weak, preset))
    yield from room(preset, strong, weak, len(gpus))
    yield hours(preset, strong)


def packages(preset: Preset) -> Iterator[Check]:
    """Check the packages of the preset's extras, TRL for a critic, and vLLM, which is optional."""
    for extra, names in PACKAGES.items():
        lacking = [name for name in names if importlib.util.find_spec(name) is None]
        yield Check(
            not lacking,
            f"packages: {extra}",
            f"pip install 'aarlab[{extra}]' (missing: {', '.join(lacking)})",
        )
    if preset.critic:
        trl, vllm = (importlib.util.find_spec(name) is not None for name in ("trl", "vllm"))
        yield Check(trl, "package trl: trains the critic", "pip install trl, or set critic: false")
        yield Check(
            vllm or None,
            f"package vllm: {'' if vllm else 'not installed; '}writes critiques faster",
            "optional",
        )


# --- devices --------------------------------------------------------------------------------------


def gpus_here(program: str = PROGRAM) -> list[Gpu]:
    """The GPUs that torch can use. A separate process asks torch, so that doctor does not import
    it.

    Raises:
        Misconfigured: torch cannot be imported, or does not answer within a minute.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=ASK_S,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no words"])[-1]
        raise Misconfigured(
            f"torch cannot list the GPUs: {last[:300]}. Reinstall torch."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise Misconfigured(
            f"torch did not list the GPUs within {ASK_S:.0f} s. Check that nvidia-smi answers."
        ) from error
    return [
        Gpu(name, n_bytes, (major, minor))
        for name, n_bytes, (major, minor) in json.loads(done.stdout.splitlines()[-1])
    ]


def devices(
    preset: Preset, gpus: Sequence[Gpu], strong: cost.Shape | None, needed: float
) -> Iterator[Check]:
    """Check that the preset's GPUs exist and that each has `needed` bytes of memory."""
    for device in preset.hardware.devices:
        index = device.partition(":")[2] or "0"
        there = device == "cpu" or (
            device.startswith("cuda") and index.isdigit() and int(index) < len(gpus)
        )
        yield Check(
            there, f"device {device}", f"torch sees {len(gpus)} GPUs: correct hardware.devices"
        )
    if not gpus:
        small = strong is not None and strong.weights < SMALL
        by_choice = bool(preset.hardware.devices) and set(preset.hardware.devices) == {"cpu"}
        good = None if small or by_choice else False
        words = f"GPU: torch finds none; one with at least {size(needed)} is needed (computed)"
        yield Check(
            good,
            words if needed else "GPU: torch finds none",
            "a CPU can fine-tune only tiny models; use a machine with a GPU",
        )
    for n, gpu in enumerate(gpus):
        words = (
            f"GPU {n}: {gpu.name}, {size(gpu.n_bytes)}, compute capability "
            f"{gpu.capability[0]}.{gpu.capability[1]}"
        )
        able = preset.hardware.dtype != "bfloat16" or gpu.capability >= (8, 0)
        yield Check(
            able,
            words,
            "bfloat16 needs 8.0 or more: use another GPU, or set hardware: {dtype: float32}",
        )
        enough = f"GPU {n}: about {size(needed)} needed (computed), {size(gpu.n_bytes)} available"
        if strong is not None:
            yield Check(
                needed < gpu.n_bytes,
                enough,
                "lower hardware.pack_tokens or recipe.rank, or use a larger GPU",
            )


def room(preset: Preset, strong: cost.Shape, weak: cost.Shape, n_gpus: int) -> Iterator[Check]:
    """Disk for what is still to come, and memory for models on their way to the devices."""
    items = sum(ITEMS.get(task, ITEMS["qwen-chat"]) for task in preset.tasks)
    downloads = sum(DATA_BYTES.get(task, 0) for task in preset.tasks)
    weights = sum(
        2 * s.weights for m, s in ((preset.strong, strong), (preset.weak, weak)) if m.folder is None
    )
    bank = cost.bank_bytes(preset, strong, items)
    needed = weights + downloads + bank + cost.checkpoint_bytes(preset, strong)
    root = home().root
    free = shutil.disk_usage(next(p for p in (root, *root.parents) if p.exists())).free
    words = (
        f"disk: about {size(needed)} needed (weights {size(weights)}, data {size(downloads)}, "
        f"feature banks {size(bank)})"
    )
    yield Check(
        free > needed,
        f"{words}, {size(free)} free for {root}",
        "free some, or set AAR_HOME elsewhere",
    )
    workers = max(1, len(preset.hardware.devices) or n_gpus)
    memory = workers * cost.host_bytes(strong, weak)
    words = (
        f"memory: about {size(memory)} needed while {workers} worker(s) load, "
        f"{size(available_bytes())} available"
    )
    yield Check(
        memory < available_bytes(), words, "use fewer devices, or a machine with more memory"
    )


# --- the hub --------------------------------------------------------------------------------------


def shape(source: ModelSource) -> cost.Shape | None:
    """The model's shape: from its config.json if that is downloaded, else a known shape, else None.

    Raises:
        Misconfigured: config.json does not describe a causal language model.
    """
    folder = source.folder or next(iter(_places("model", source.name)), None)
    path = folder / "config.json" if folder else None
    if path is None or not path.is_file():
        return cost.KNOWN.get(source.name)
    return cost.shape_of(read_json(path, "Download it again."), str(path))


def _places(kind: Kind, name: str) -> Iterator[Path]:
    """Folders in which a repository's files may already be."""
    local = data_from()
    found = ([local / name] if local else []) + [home().cache / "hub" / f"{kind}s" / name]
    return (p for p in found if p.is_dir())


def repos(preset: Preset) -> Iterator[Repo]:
    """The repositories that the preset needs, each with the patterns of its required files."""
    for model in (preset.strong, preset.weak):
        if model.folder is None:
            yield Repo("model", model.name, model.revision, NECESSARY)
    for source in (s for task in preset.tasks for s in SOURCES.get(task, ())):
        yield Repo("dataset", source.name, source.revision, source.patterns)


def hub(preset: Preset) -> Iterator[Check]:
    """Check that each model and data set is downloaded, or that the hub offers it."""
    for model in (preset.strong, preset.weak):
        if model.folder is not None:
            yield _files(f"model {model.name}: {model.folder}", model.folder, NECESSARY)
    for repo in repos(preset):
        what = f"{repo.kind} {repo.name}"
        if (folder := next(_places(repo.kind, repo.name), None)) is not None:
            yield _files(f"{what}: {folder}", folder, repo.patterns)
        else:
            remedy = _asked(repo)
            more = (
                ""
                if remedy is None
                else f" Or put its files into DIR/{repo.name}/ and give --from DIR."
            )
            yield Check(remedy is None, f"{what}: on the hub", f"{remedy}{more}")


def _files(what: str, folder: Path, patterns: Sequence[str]) -> Check:
    lacking = [p for p in patterns if next(folder.rglob(p), None) is None]
    return Check(
        not lacking,
        what,
        f"missing there: {', '.join(lacking)}. Put the files there as they are upstream.",
    )


def _asked(repo: Repo) -> str | None:
    """None if the hub offers the repository; otherwise the reason why it does not."""
    if not hub_reachable_by_choice():
        return "HF_HUB_OFFLINE is set, so the hub is not asked."
    if importlib.util.find_spec("huggingface_hub") is None:
        return "pip install 'aarlab[study]' to ask the hub."
    from huggingface_hub import HfApi, errors, get_token

    try:
        revision = None if shortened(repo.revision) else repo.revision
        about = HfApi().repo_info(repo.name, repo_type=repo.kind, revision=revision, timeout=HUB_S)
    except errors.GatedRepoError:
        return GATED
    except errors.RepositoryNotFoundError:
        return "there is no such repository, or it is private: correct the name, or set HF_TOKEN."
    except errors.RevisionNotFoundError:
        return f"it has no revision {repo.revision}."
    # HTTPError is of the hub client's HTTP library
    except (OSError, errors.HTTPError, errors.HfHubHTTPError) as error:  # type: ignore
        return f"the hub does not answer ({type(error).__name__})."
    return GATED if getattr(about, "gated", False) and get_token() is None else None


# --- hours ----------------------------------------------------------------------------------------


def hours(preset: Preset, strong: cost.Shape) -> Check:
    """One estimate: what fine-tuning the strong model takes at least, in `aar bench --baselines` on
    all tasks. A token that is trained on takes 4 FLOP of each weight; of a task whose size is not
    known before it is built, qwen-chat's is taken."""
    labelled = (
        sum(STUDENT_ITEMS.get(task, STUDENT_ITEMS["qwen-chat"]) for task in preset.tasks)
        * preset.student_share
    )
    tunings = preset.seeds + BASELINES * RUNS  # ceilings, and every run of a baseline
    flop = 4 * strong.linear * TOKENS * labelled * preset.recipe.epochs * tunings
    words = (
        f"aar bench --student {preset.name} --baselines: at least "
        f"{flop / (PEAK * MOST) / 3600:.0f} hours of one H100 or H200"
    )
    how = (
        f"fine-tuning the strong model alone, at {MOST:.0%} of its peak and {TOKENS:,} tokens an "
        "item"
    )
    return Check(None, f"{words} (computed, not measured: {how})")
