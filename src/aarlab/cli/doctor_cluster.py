"""`aar doctor --cluster`: what PostgreSQL, S3, Ray and Slurm need here, as far as they are used."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import version

from aarlab.cli.doctor import Check
from aarlab.core.errors import AarError, Misconfigured
from aarlab.core.settings import home
from aarlab.evaluation.ledger.places import shown
from aarlab.evaluation.ledger.reachable import require_bucket, require_database
from aarlab.fleet.campaign import Campaign
from aarlab.runs.engine_contract import Engine, check_engine

PACKAGES = {"psycopg": "store: postgresql://", "obstore": "snapshots: s3://", "ray": "engine: ray"}


def checks(campaign: Campaign) -> Iterator[Check]:
    """What the campaign's settings ask for; of the rest, whether it is installed."""
    for package, what in PACKAGES.items():
        there = importlib.util.find_spec(package) is not None
        said = f"{package} {version(package) if there else 'is not installed'} ({what})"
        yield Check(there or None, said, "" if there else "Install 'aarlab[cluster]'.")
    if store := campaign.store:
        yield _tried(f"the ledger in {shown(store)}", lambda: _database(store))
    if snapshots := campaign.snapshots:
        yield _tried(f"snapshots in {shown(snapshots)}", lambda: _bucket(snapshots))
    if campaign.engine == "ray":
        yield _tried("runs on Ray", lambda: _ray(campaign))
    if campaign.engine == "slurm":
        yield _tried("runs on Slurm", lambda: _slurm(campaign))


def _tried(what: str, act: Callable[[], str]) -> Check:
    try:
        return Check(True, f"{what}: {act()}")
    except AarError as error:
        return Check(False, what, str(error))


def _database(url: str) -> str:
    require_database(url)
    return "it answers, and forbids changes"


def _bucket(url: str) -> str:
    require_bucket(url)
    return "it takes and gives back"


def _examined(engine: Engine) -> None:
    if faults := check_engine(engine):
        raise Misconfigured(f"The cluster does not do what it must: {'; '.join(faults)}.")


def _slurm(campaign: Campaign) -> str:
    from aarlab.runs.slurm_engine import SlurmEngine

    words: list[str] = []
    root, options = home().slurm, campaign.slurm
    engine = SlurmEngine(
        root, options, campaign.sandbox, workers=2, say=lambda said, _: words.append(said)
    )
    with closing(engine):
        try:
            _examined(engine)
        except Misconfigured as error:
            raise Misconfigured(" ".join([str(error), *words])) from error
    return f"workers take jobs from {home().slurm}; check_engine finds nothing"


def _ray(campaign: Campaign) -> str:
    from aarlab.core.settings import ray_address
    from aarlab.runs.ray_engine import RayEngine

    with closing(RayEngine(ray_address(), campaign.sandbox)) as engine:
        _examined(engine)
        return (
            f"{engine.nodes} nodes at {ray_address()}, behind a token; check_engine finds nothing"
        )
