"""Every file and folder that we keep on disk, by its name. No other module spells one
(tests/walls/test_layout.py).

A class stands for a folder; `root` is where it is, every other attribute a path below it. Nothing
here reads or makes a file. Names never change: folders of older versions are read as they are.
"""

from dataclasses import dataclass
from pathlib import Path


class At:
    """A path below a folder's root."""

    def __init__(self, below: str) -> None:
        self.below = below

    def __get__(self, folder: "Folder", owner: type) -> Path:
        return folder.root / self.below


@dataclass(frozen=True)
class Folder:
    """A folder of aarlab."""

    root: Path


class Home(Folder):
    """Where all state is: one folder (`settings.home` says which)."""

    cache = At("cache")  # downloads, weights, hidden states: can be made again, shared by campaigns
    problems = At("problems")  # one `TestbedFolder` a problem that is set up
    campaigns = At("campaigns")  # one `CampaignFolder` each
    runs = At("runs")  # one `RunFolder` a run of a method, by its key
    benches = At("benches")  # one `BenchFolder` each
    node = At("node")  # of a machine that runs jobs of a cluster: its locks
    node_data = At("node/data")  # and the data that travelled there, by their hash
    engines = At("engines")  # one note a process whose runs a cluster places
    slurm = At("slurm")  # one `SlurmFolder` a process whose runs Slurm places; on a shared disk
    node_keys = At("node/keys")  # by which it signs results, one a node that is here
    nodes = At("nodes")  # of the lab: who its nodes are, a `NodesFolder`
    draw_secret = At("draw.secret")  # by which problems are drawn that nobody may rebuild


class FeaturesFolder(Folder):
    """What models read of texts, in the cache, by key and code: `whole`, and while it is read in
    parts."""

    def whole(self, name: str) -> Path:
        return self.root / f"{name}.npz"

    def parts(self, name: str) -> Path:
        return self.root / f"{name}.parts"

    def part(self, name: str, number: int) -> Path:
        return self.parts(name) / f"{number}.npz"


# --- a testbed ------------------------------------------------------------------------------------


class InputsFolder(Folder):
    """The published items of some splits, and their arrays."""

    def items(self, split: str) -> Path:
        return self.root / f"{split}.jsonl"

    def zero_shot_logits(self, split: str) -> Path:
        return self.root / split / "favour.npy"

    def layer(self, split: str, layer: int | str) -> Path:
        return self.root / split / f"layer_{layer}.npy"


class PublicFolder(InputsFolder):
    """What researchers see of a testbed."""

    card = At("problem.json")
    data_card = At("data_card.json")
    data_words = At("DATA.md")
    baselines = At("baselines")  # their code, of a problem in a folder
    strong = At("strong.json")  # only where the student can be fine-tuned

    def probs(self, labeller: str) -> Path:
        return self.root / f"{labeller}_probs.npy"


class TestbedFolder(Folder):
    """A problem that is set up: `public` for researchers, `private` for the evaluator, `sealed` for
    runs on `final`."""

    __test__ = False  # no test of pytest's

    public = At("public")
    sealed = At("sealed/inputs")  # an `InputsFolder`
    private = At("private")
    answers = At("private/answers.json")
    items = At("private/items.jsonl")
    groups = At("private/groups.json")
    shortcuts = At("private/shortcuts.json")
    anchors = At("private/anchors.npz")
    served = At("private/served.json")  # of a problem in a folder, instead of labels and anchors
    baseline_scores = At("private/baseline_scores.json")  # of such a problem
    stated_anchors = At("private/ruler.json")  # by another harness, instead of `anchors`
    baselines = At("private/baselines.npz")
    baselines_code = At("private/baselines.code.json")
    baselines_build = At("private/baselines.build.json")
    naive_tuned = At("private/naive_tuned.txt")
    part_ready = At("private/part_ready.json")  # all but `final` is set up
    ready = At("private/ready.json")  # all is set up
    set_up_lock = At("private/set_up.lock")
    built_by = At("private/build.json")
    meter = At("private/meter/feedback.sqlite")
    tries = At("private/confirmations/final.sqlite")
    blind = At("blind")  # the same without test items, for code that is run on them


class ProblemFolder(Folder):
    """A problem as its author wrote it: a contract, how its data are made, how a submission is
    graded."""

    contract = At("problem.yaml")
    prepare = At("prepare.py")
    grade = At("grade.py")
    baselines = At("baselines")
    card = At("card.json")  # what `aar problem check` found

    def baseline(self, name: str) -> Path:
        return self.root / "baselines" / f"{name}.py"

    def ablation(self, name: str) -> Path:
        """Code that takes something out of the public data."""
        return self.root / "ablations" / f"{name}.py"


class ExampleFolder(Folder):
    """What `aar init` writes, beside files that are named as their templates."""

    rows = At("rows.jsonl")
    state = At(".aar")


class HarborPackage(Folder):
    """A task as others wrote it in Harbor's public format."""

    settings = At("task.toml")
    instruction = At("instruction.md")
    environment = At("environment")
    recipe = At("environment/Dockerfile")
    ignored = At("environment/.dockerignore")
    compose = At("environment/docker-compose.yaml")
    validation = At("environment/validation/val.sh")
    start = At("environment/baseline/baseline.sh")
    tests = At("tests")
    tests_recipe = At("tests/Dockerfile")
    test = At("tests/test.sh")


class ImportedFolder(ProblemFolder):
    """A problem's folder that was made of such a task: its files beside what every one has."""

    environment = At("environment")
    tests = At("tests")
    helper = At("harbor_task.py")  # which puts these files into place and runs the scripts
    plan = At("harbor.json")  # how

    def image_files(self, which: str) -> Path:
        """What an image has in the folders that scripts write to."""
        return self.root / "image" / which


class PreparedFolder(Folder):
    """The data of a problem in a folder, for one data seed: `public` for researchers, `sealed` for
    code that is run on `final`, `secret` for the grader."""

    public = At("public")
    sealed = At("sealed")
    secret = At("secret")
    ready = At("ready.json")

    def secrets(self, split: str) -> Path:
        return self.root / "secret" / split

    def units(self, split: str) -> Path:
        return self.secrets(split) / "units.json"

    def inputs(self, split: str) -> Path:
        """The items that a submission of predictions answers."""
        return (self.sealed if split == "final" else self.public) / f"{split}.jsonl"


class GradingFolder(Folder):
    """What one grading writes."""

    result = At("result.json")


# --- a campaign -----------------------------------------------------------------------------------


class ServerFolder(Folder):
    """What the evaluator alone keeps of a campaign."""

    ledger = At("ledger.sqlite")
    blobs = At("blobs")
    store = At("store.json")  # where ledger and snapshots are, if not in this folder
    secret = At("secret")
    derived = At("derived.state")  # what is derived from the ledger; can be made again
    lock = At("lock")
    address = At("address.json")
    evaluator_log = At("evaluator.log")
    tokens = At("tokens.json")
    operator_token = At("operator.token")
    problem = At("problem.txt")  # the folder of the testbed that the campaign was begun on
    targets = At("targets.json")
    gradings = At("gradings")  # unit scores on their way from whoever runs code to the evaluator
    budget = At("budget.json")
    checkpoint_key = At("checkpoint.key")
    confirmation_key = At("confirmation.key")


class GradingsFolder(Folder):
    """Unit scores of problems in folders, until they are in the ledger."""

    faults = At("faults.log")  # what graders failed with: it may name secrets

    def of(self, ticket: str) -> Path:
        return self.root / f"{ticket}.graded"


class SignedFolder(Folder):
    """What others may verify: signed checkpoints of the ledger, or signed confirmations."""

    public_key = At("key.pub")
    checkpoints = At("checkpoints.txt")

    def confirmation(self, snapshot: str) -> Path:
        return self.root / f"{snapshot}.json"


class DeviceFolder(Folder):
    """Seconds of devices, counted by workers: a pair of files a meter."""

    def counted(self, name: str) -> Path:
        """What a worker counted."""
        return self.root / f"{name}.used"

    def allowed(self, name: str) -> Path:
        """How far it may count."""
        return self.root / f"{name}.most"

    def counts(self) -> list[Path]:
        """All that workers counted."""
        return list(self.root.glob("*.used"))


class GatewayFolder(Folder):
    """The gateway's own files."""

    address = At("address.json")
    settings = At("config.json")
    journal = At("journal.sqlite")
    members = At("members.json")
    lock = At("lock")

    @property
    def devices(self) -> DeviceFolder:
        return DeviceFolder(self.root / "devices")


class ScriptedFolder(Folder):
    """Of the model API that plays a script."""

    address = At("address.json")


class CampaignFolder(Folder):
    """A campaign: its specification, ledger, snapshots, researchers' work and report."""

    settings = At("campaign.yaml")
    fleet = At("fleet.json")
    step = At("step.json")  # which step goes on, where one does
    lock = At("lock")
    work = At("work")
    briefs = At("briefs")
    transcripts = At("transcripts")
    homes = At("homes")  # of researchers on other machines, as they were kept
    judgements = At("judgements")
    report = At("report")
    server_log = At("server.log")
    gateway_log = At("gateway.log")
    scripted_log = At("scripted.log")
    read_log = At("read.log")  # of the process that reads the `final` items meanwhile
    run_log = At("run.log")  # what a run prints that was started with --detach

    @property
    def server(self) -> ServerFolder:
        return ServerFolder(self.root / "server")

    @property
    def gateway(self) -> GatewayFolder:
        return GatewayFolder(self.root / "gateway")

    @property
    def checkpoints(self) -> SignedFolder:
        return SignedFolder(self.root / "checkpoints")

    @property
    def confirmations(self) -> SignedFolder:
        return SignedFolder(self.root / "confirmations")

    @property
    def scripted(self) -> ScriptedFolder:
        return ScriptedFolder(self.root / "scripted")


class KeptHomesFolder(Folder):
    """Homes as last kept, by their hash; and what the hub receives and the supervisor packs."""

    places = At("places.json")  # by researcher: where it was last, and which home was kept

    def archive(self, digest: str) -> Path:
        return self.root / f"{digest}.home"

    def arriving(self, token: str) -> Path:
        return self.archive(f"arriving-{token}")

    def packing(self, token: str) -> Path:
        return self.archive(f"partial-{token}")


class TranscriptsFolder(Folder):
    """A folder for each researcher, a file for each incarnation; an index that can be remade."""

    index = At("index.sqlite")


class BriefFolder(Folder):
    """What a researcher's program is started with."""

    brief = At("brief.json")
    prompt = At("prompt.md")
    go_on = At("go_on.md")
    mcp = At("mcp.json")
    settings = At("settings.json")
    home = At("home")  # files that are copied to the home before each incarnation


class ReportFolder(Folder):
    """A campaign's report."""

    record = At("report.json")
    schema = At("report.schema.json")
    markdown = At("report.md")
    html = At("report.html")


class SiteFolder(Folder):
    """A campaign as a static site."""

    first = At("index.html")


class ExportFolder(Folder):
    """A campaign's tables as files."""

    def table(self, name: str, form: str) -> Path:
        return self.root / f"{name}.{form}"


# --- runs and benches -----------------------------------------------------------------------------


class RunFolder(Folder):
    """A run of a method; of these, a sandbox writes the answers."""

    spec = At("spec.json")
    answers = At("answers.json")
    log = At("log.txt")
    cost = At("cost.json")


class BenchFolder(Folder):
    """A bench: its record, tables, figures and cards."""

    record = At("bench.json")
    markdown = At("bench.md")
    controls = At("controls.json")
    controls_code = At("controls.code.json")
    cards = At("cards")


class CriticFolder(Folder):
    """The training of one critic, and what it wrote."""

    items = At("items.jsonl")
    trained = At("critic.json")
    progress = At("progress.json")
    adapter = At("adapter")
