"""What a preset of fine-tuned models needs of this machine and of the hub, and an estimate of its time and dollars."""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from aarlab.cli.doctor import Check, available_bytes
from aarlab.core.amounts import duration, size
from aarlab.core.errors import Misconfigured
from aarlab.core.settings import data_from, home, hub_reachable_by_choice
from aarlab.models import cost
from aarlab.models.preset import ModelSource, Preset
from aarlab.problems.hub import Kind
from aarlab.problems.study.chat import SOURCES as CHAT
from aarlab.problems.study.code_contests import CODE_CONTESTS
from aarlab.problems.study.math import MATH, PRM800K, PROCESS_BENCH

PACKAGES = {  # by extra
    "models": ("torch", "transformers", "peft", "safetensors", "huggingface_hub"),
    "study": ("huggingface_hub", "pyarrow"),
}
SOURCES = {"qwen-chat": CHAT, "qwen-math": (PRM800K, MATH, PROCESS_BENCH), "qwen-code": (CODE_CONTESTS,)}
DATA_BYTES = {"qwen-chat": 1 << 30, "qwen-math": 1 << 30, "qwen-code": 7 << 30}  # roughly, of downloads
NECESSARY = ("config.json", "*.safetensors", "tokenizer*")  # of a model
SMALL = 1e9  # weights of a strong model that a CPU may be asked to tune
ASK_S = 60.0  # to import torch
HUB_S = 5.0
GATED = "it is gated: accept its terms on its page, and set HF_TOKEN."
RUNS = 5  # seeds of each baseline, as `aar bench` has them
REFERENCE = "NVIDIA H200"  # whose time is told where there is no GPU of a known peak
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
    """A repository of the hub that the preset needs, and which of its files must be there."""

    kind: Kind
    name: str
    revision: str
    patterns: tuple[str, ...]


def checks(preset: Preset, usd_per_gpu_hour: float) -> Iterator[Check]:
    """One check a line; the last ones, notes, are the estimate.

    Raises:
        Misconfigured: a model's config.json is none.
    """
    yield from packages(preset)
    gpus = gpus_here() if importlib.util.find_spec("torch") else []
    shapes = {m.name: shape(m) for m in (preset.strong, preset.weak)}
    strong, weak = shapes[preset.strong.name], shapes[preset.weak.name]
    yield from hub(preset)
    if strong is None or weak is None:
        unknown = ", ".join(name for name, found in shapes.items() if found is None)
        yield from devices(preset, gpus, None, 0.0)
        yield Check(None, f"memory, disk and time: not known before {unknown} is here", "download it, or give its folder")
        return
    yield from devices(preset, gpus, strong, cost.gpu_bytes(strong, weak, preset))
    yield from room(preset, strong, weak, len(gpus))
    yield from estimate(preset, strong, weak, gpus, usd_per_gpu_hour)


def packages(preset: Preset) -> Iterator[Check]:
    """Of the extras that the preset needs; TRL for a critic; vLLM is worth having."""
    for extra, names in PACKAGES.items():
        lacking = [name for name in names if importlib.util.find_spec(name) is None]
        yield Check(not lacking, f"packages: {extra}", f"pip install 'aarlab[{extra}]' (missing: {', '.join(lacking)})")
    if preset.critic:
        trl, vllm = (importlib.util.find_spec(name) is not None for name in ("trl", "vllm"))
        yield Check(trl, "package trl: the critic is trained by it", "pip install trl, or set critic: false")
        yield Check(vllm or None, f"package vllm: {'' if vllm else 'not here; '}critiques are written faster by it", "optional")


# --- devices ---------------------------------------------------------------------------------------------------------------


def gpus_here(program: str = PROGRAM) -> list[Gpu]:
    """The GPUs that torch can use, asked in a process of its own: doctor itself imports no torch.

    Raises:
        Misconfigured: torch does not import, or does not answer within a minute.
    """
    try:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=ASK_S, check=True)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no words"])[-1]
        raise Misconfigured(f"torch cannot say which GPUs there are: {last[:300]}. Install it again.") from error
    except subprocess.TimeoutExpired as error:
        raise Misconfigured(f"torch did not say within {ASK_S:.0f} s which GPUs there are. Does nvidia-smi answer?") from error
    return [Gpu(name, n_bytes, (major, minor)) for name, n_bytes, (major, minor) in json.loads(done.stdout.splitlines()[-1])]


def devices(preset: Preset, gpus: Sequence[Gpu], strong: cost.Shape | None, needed: float) -> Iterator[Check]:
    """Whether there are GPUs that the preset can use, and enough memory on each; `needed` bytes."""
    for device in preset.hardware.devices:
        index = device.partition(":")[2] or "0"
        there = device == "cpu" or (device.startswith("cuda") and index.isdigit() and int(index) < len(gpus))
        yield Check(there, f"device {device}", f"torch sees {len(gpus)} GPUs: correct hardware.devices")
    if not gpus:
        small = strong is not None and strong.weights < SMALL
        by_choice = bool(preset.hardware.devices) and set(preset.hardware.devices) == {"cpu"}
        good = None if small or by_choice else False
        words = f"GPU: torch sees none; one with {size(needed)} and more is needed (computed)"
        yield Check(
            good, words if needed else "GPU: torch sees none", "on the CPU only tiny models are tuned; use a machine with a GPU"
        )
    for n, gpu in enumerate(gpus):
        words = f"GPU {n}: {gpu.name}, {size(gpu.n_bytes)}, compute capability {gpu.capability[0]}.{gpu.capability[1]}"
        able = preset.hardware.dtype != "bfloat16" or gpu.capability >= (8, 0)
        yield Check(able, words, "bfloat16 needs 8.0 or more: take another GPU, or hardware: {dtype: float32}")
        enough = f"GPU {n}: about {size(needed)} needed (computed), {size(gpu.n_bytes)} there"
        if strong is not None:
            yield Check(needed < gpu.n_bytes, enough, "lower hardware.pack_tokens or recipe.rank, or take a larger GPU")


def room(preset: Preset, strong: cost.Shape, weak: cost.Shape, n_gpus: int) -> Iterator[Check]:
    """Disk for what is still to come, and memory for models on their way to the devices."""
    sizes = [cost.STUDY.get(task, cost.STUDY["qwen-chat"]) for task in preset.tasks]
    items = sum(s.teacher + s.student + s.tested for s in sizes)
    downloads = sum(DATA_BYTES.get(task, 0) for task in preset.tasks)
    weights = sum(2 * s.weights for m, s in ((preset.strong, strong), (preset.weak, weak)) if m.folder is None)
    bank = cost.bank_bytes(preset, strong, items)
    needed = weights + downloads + bank + cost.checkpoint_bytes(preset, strong)
    root = home().root
    free = shutil.disk_usage(next(p for p in (root, *root.parents) if p.exists())).free
    words = f"disk: about {size(needed)} needed (weights {size(weights)}, data {size(downloads)}, feature banks {size(bank)})"
    yield Check(free > needed, f"{words}, {size(free)} free for {root}", "free some, or set AAR_HOME elsewhere")
    workers = max(1, len(preset.hardware.devices) or n_gpus)
    memory = workers * cost.host_bytes(strong, weak)
    words = f"memory: about {size(memory)} needed while {workers} worker(s) load, {size(available_bytes())} available"
    yield Check(memory < available_bytes(), words, "use fewer devices, or a machine with more memory")


# --- the hub ---------------------------------------------------------------------------------------------------------------


def shape(source: ModelSource) -> cost.Shape | None:
    """From its config.json where that is here, else a known one, else None.

    Raises:
        Misconfigured: config.json is not a causal language model's.
    """
    folder = source.folder or next(iter(_places("model", source.name)), None)
    path = folder / "config.json" if folder else None
    if path is None or not path.is_file():
        return cost.KNOWN.get(source.name)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Misconfigured(f"{path} is no JSON: {error}. Copy it again.") from error
    return cost.shape_of(config, str(path))


def _places(kind: Kind, name: str) -> Iterator[Path]:
    """Folders in which the files of a repository may be already."""
    local = data_from()
    found = ([local / name] if local else []) + [home().cache / "hub" / f"{kind}s" / name]
    return (p for p in found if p.is_dir())


def repos(preset: Preset) -> Iterator[Repo]:
    """What the preset takes from the hub; the patterns of models are the necessary files."""
    for model in (preset.strong, preset.weak):
        if model.folder is None:
            yield Repo("model", model.name, model.revision, NECESSARY)
    for source in (s for task in preset.tasks for s in SOURCES.get(task, ())):
        yield Repo("dataset", source.name, source.revision, source.patterns)


def hub(preset: Preset) -> Iterator[Check]:
    """Each model's folder or repository, and each data set's: here already, or given by the hub."""
    for model in (preset.strong, preset.weak):
        if model.folder is not None:
            yield _files(f"model {model.name}: {model.folder}", model.folder, NECESSARY)
    for repo in repos(preset):
        what = f"{repo.kind} {repo.name}"
        if (folder := next(_places(repo.kind, repo.name), None)) is not None:
            yield _files(f"{what}: {folder}", folder, repo.patterns)
        else:
            remedy = _asked(repo)
            more = "" if remedy is None else f" Or put its files into DIR/{repo.name}/ and give --from DIR."
            yield Check(remedy is None, f"{what}: on the hub", f"{remedy}{more}")


def _files(what: str, folder: Path, patterns: Sequence[str]) -> Check:
    lacking = [p for p in patterns if next(folder.rglob(p), None) is None]
    return Check(not lacking, what, f"missing there: {', '.join(lacking)}. Put the files there as they are upstream.")


def _asked(repo: Repo) -> str | None:
    """None if the hub gives the repository to us, else why it does not."""
    if not hub_reachable_by_choice():
        return "HF_HUB_OFFLINE is set, so the hub is not asked."
    if importlib.util.find_spec("huggingface_hub") is None:
        return "pip install 'aarlab[study]' to ask the hub."
    from huggingface_hub import HfApi, errors, get_token

    try:
        about = HfApi().repo_info(repo.name, repo_type=repo.kind, revision=repo.revision, timeout=HUB_S)
    except errors.GatedRepoError:
        return GATED
    except errors.RepositoryNotFoundError:
        return "there is no such repository, or it is private: correct the name, or set HF_TOKEN."
    except errors.RevisionNotFoundError:
        return f"it has no revision {repo.revision}."
    except (OSError, errors.HTTPError, errors.HfHubHTTPError) as error:  # type: ignore[attr-defined]  # of its HTTP library
        return f"the hub does not answer ({type(error).__name__})."
    return GATED if getattr(about, "gated", False) and get_token() is None else None


# --- the estimate ----------------------------------------------------------------------------------------------------------


def estimate(
    preset: Preset, strong: cost.Shape, weak: cost.Shape, gpus: Sequence[Gpu], usd_per_gpu_hour: float
) -> Iterator[Check]:
    """Each step of `aar bench` on each task, and the total; ranges, for the assumed range of utilisation."""
    known = [gpu.name for gpu in gpus if cost.peak_flops(gpu.name)]
    name, n = (known[0], len(gpus)) if known else (REFERENCE, 1)
    peak = cost.peak_flops(name)
    assert peak is not None  # of a name that is listed
    low, high = (f"{m:.0%}" for m in cost.MFU)
    of = f"{n} x {name}{'' if known else ', which is not here'}, {peak / 1e12:.0f} TFLOP/s, of which {low} to {high} are used"
    a = cost.Assumed()
    yield Check(None, f"estimate: computed, not measured. {of}; {a.tokens:,} tokens an item; ${usd_per_gpu_hour:g} a GPU-hour")
    least, most = (n * s for s in cost.START_S)
    for task in preset.tasks:
        items = cost.STUDY.get(task)
        taken = "" if items else " (its size is not known before it is built; qwen-chat's is taken)"
        for work in cost.works(preset, strong, weak, items or cost.STUDY["qwen-chat"], RUNS, a):
            lowest, highest = cost.seconds(work, peak)
            least, most = least + lowest, most + highest
            yield Check(None, f"{task}{taken}: {work.name}: {_words(lowest, highest, n, usd_per_gpu_hour)}")
    yield Check(None, f"aar bench --student {preset.name}, all of it: {_words(least, most, n, usd_per_gpu_hour)}")


def _words(least: float, most: float, n: int, usd: float) -> str:
    """GPU-seconds from `least` to `most`, spread over n GPUs."""
    gpu_hours = f"{least / 3600:.2f} to {most / 3600:.2f} GPU-hours"
    low, high = (f"${cost.dollars(s, usd):.2f}" for s in (least, most))
    return f"{duration(least / n)} to {duration(most / n)}, {gpu_hours}, {low} to {high}"
