"""A campaign as an offline run of Weights & Biases, or of Trackio. Nothing is sent anywhere: who
wants it on a server sends the folder, with the tracker's own command."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from shlex import quote

from aarlab.core.errors import Misconfigured
from aarlab.core.settings import environment
from aarlab.programs.campaign_reader import CampaignReader
from aarlab.programs.series import missing, points, settings_of
from aarlab.programs.table_export import make_new

PROJECT = "aarlab"


def to_wandb(reader: CampaignReader, folder: Path) -> str:
    """Write an offline run below a new folder; what to do with it.

    Raises:
        Misconfigured: wandb is not installed, or there is something at that path already.
    """
    try:
        import wandb
    except ImportError as error:
        raise missing("wandb", "wandb") from error
    make_new(folder)
    quiet = wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,  # nothing of the operator's machine
        disable_code=True,
        save_code=False,
        x_disable_stats=True,
        x_disable_meta=True,
        x_save_requirements=False,
        x_disable_machine_info=True,
    )
    run = wandb.init(
        mode="offline",
        dir=str(folder),
        project=PROJECT,
        name=reader.folder.name,
        config=settings_of(reader),
        settings=quiet,
    )
    run.define_metric("*", step_metric="hours")
    for point in points(reader):
        run.log(point.values, step=point.entry)
    run.finish()
    wandb.teardown()  # ends its process: the file is whole then
    return f"`wandb sync {quote(str(folder))}/wandb/offline-run-*` sends it to your server"


def to_trackio(reader: CampaignReader, folder: Path) -> str:
    """Write a project of Trackio into a new folder; what to do with it. In a process of its own:
    the library chooses its folder when it is imported.

    Raises:
        Misconfigured: trackio is not installed or fails, or there is something at that path.
    """
    make_new(folder)
    given = {
        "name": reader.folder.name,
        "config": settings_of(reader),
        "points": [[point.entry, point.values] for point in points(reader)],
    }
    env = environment() | {"TRACKIO_DIR": str(folder.resolve()), "HF_HUB_OFFLINE": "1"}
    argv = [sys.executable, "-m", "aarlab.programs.trackers"]
    done = subprocess.run(argv, env=env, input=json.dumps(given), capture_output=True, text=True)
    if done.returncode == NOT_INSTALLED:
        folder.rmdir()
        raise missing("trackio", "trackio")
    if done.returncode:
        raise Misconfigured(f"Trackio could not write {folder}: {done.stderr.strip()[-500:]}")
    return f"`TRACKIO_DIR={quote(str(folder))} trackio show --project {PROJECT}` shows it"


NOT_INSTALLED = 3


def main() -> int:
    """What `to_trackio` starts: a run from standard input, into TRACKIO_DIR."""
    argparse.ArgumentParser(description=main.__doc__).parse_args()
    try:
        import trackio
    except ImportError:
        return NOT_INSTALLED
    given = json.load(sys.stdin)
    off = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}
    run = trackio.init(project=PROJECT, name=given["name"], config=given["config"], **off)
    for step, values in given["points"]:
        run.log(values, step=step)
    run.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
