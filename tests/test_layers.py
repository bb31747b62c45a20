"""Check imports between layers, and the names of Beam steps."""

import ast
import pkgutil
import re
from pathlib import Path

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler

from pipelines import confusion, index, predict, verify
from pipelines.building import planning, run
from pipelines.inputs import RecognisedInputs
from transforms.confusion.counts import CountPlan
from transforms.confusion.results import MatrixSettings
from transforms.dataset.commit import CommitSettings
from transforms.dataset.shards import ShardSettings
from transforms.models.results import TableSettings
from transforms.sampling.plan import SamplePlan
from transforms.verification.tasks import TaskSettings

ROOT = Path(__file__).parent.parent
# From the top: a package imports only packages below it. docs/architecture.md
# describes them.
LAYERS = (
    "verification", "reports", "evaluation", "training", "models", "dataset",
    "grouping", "sampling", "confusion", "difficulty", "predictions", "miniature",
    "index", "layouts", "folder_contents", "formats", "charts", "figures", "labels",
    "images", "archives",
    "prefetch", "processes", "npz", "csv_tables", "storage",
    "progress", "seeds", "splits", "input_warnings", "hidden_imports",
    "arrays", "options", "records",
)  # fmt: skip
# TensorFlow takes seconds to import, and starts threads.
TENSORFLOW_PACKAGES = (
    "transforms/models/",
    "transforms/training/",
    "transforms/verification/readers/",
)


def _find_modules() -> dict[str, Path]:
    modules = {}
    for package in ("pipelines", "transforms"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            modules[name] = path
    return modules


MODULES = _find_modules()


def _list_imports(path: Path) -> list[tuple[str, str]]:
    """List (module, name) of every import; the name is empty for `import module`."""
    imports = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imports += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports += [(node.module or "", alias.name) for alias in node.names]
    return imports


def _find_targets(path: Path) -> set[str]:
    """Find the modules of this project that a file imports."""
    pairs = [(f"{module}.{name}", module) for module, name in _list_imports(path)]
    return {
        submodule if submodule in MODULES else module
        for submodule, module in pairs
        if submodule in MODULES or module in MODULES
    }


TARGETS = {name: _find_targets(path) for name, path in MODULES.items()}


def _find_users(library: str) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in MODULES.values()
        if any(module.split(".")[0] == library for module, _ in _list_imports(path))
    }


def _package(module: str) -> str:
    return module.split(".")[1]


def test_imports_go_down():
    packages = {_package(name) for name in MODULES if name.startswith("transforms.")}
    assert packages <= set(LAYERS), (
        "add the new package to LAYERS and docs/architecture.md"
    )
    for name, targets in TARGETS.items():
        if not name.startswith("transforms."):
            continue
        for target in targets - {"transforms"}:
            assert target.startswith("transforms."), f"{name} imports {target}"
            assert LAYERS.index(_package(target)) >= LAYERS.index(_package(name)), (
                f"{name} imports {target}, which is above it"
            )


def test_there_is_no_import_circle():
    done: set[str] = set()

    def visit(name, path):
        assert name not in path, " -> ".join([*path, name])
        if name not in done:
            for target in TARGETS[name]:
                # A package and its own modules import each other while they load.
                if target != name:
                    visit(target, [*path, name])
            done.add(name)

    for name in MODULES:
        visit(name, [])


def test_private_names_stay_in_their_module():
    for name, path in MODULES.items():
        for module, imported in _list_imports(path):
            is_private = imported.startswith("_") and not imported.startswith("__")
            assert not (module in MODULES and is_private), f"{name}: {imported}"


def test_only_jobs_and_steps_import_beam():
    for user in _find_users("apache_beam"):
        assert user.startswith("pipelines/") or Path(user).name == "steps.py", user


def test_other_libraries_are_imported_only_in_their_packages():
    for library, packages in {
        "obstore": ("transforms/storage/",),
        "huggingface_hub": ("transforms/storage/",),
        "argparse": ("pipelines/",),
        "google": ("pipelines/", "transforms/storage/"),
        "tensorflow": TENSORFLOW_PACKAGES,
        "keras": TENSORFLOW_PACKAGES,
    }.items():
        for user in _find_users(library):
            assert user.startswith(packages), f"{user} imports {library}"


def test_only_storage_opens_files_and_buckets():
    doors = {f"transforms.storage.{name}" for name in ("local", "remote")}
    for name, targets in TARGETS.items():
        if not name.startswith("transforms.storage"):
            assert not targets & doors, f"{name}: use transforms.storage"


def test_only_storage_reads_parquet():
    others = ("transforms/storage/", "transforms/verification/readers/")
    for package in ("pipelines", "transforms"):
        for path in Path(ROOT, package).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            reads = re.search(r"pq\.(read_table|ParquetFile)\(", path.read_text())
            assert not reads or name.startswith(others), name


def test_no_module_has_a_generic_name():
    names = {m.name.split(".")[-1] for m in pkgutil.walk_packages([str(ROOT)])}
    assert not names & {"utils", "common", "core", "helpers", "base"}


def _top_level_steps(define) -> list[str]:
    root = beam.Pipeline("FnApiRunner")
    define(root)
    root.contains_external_transforms = False
    return [part.full_label for part in root.transforms_stack[0].parts]


def test_step_names_are_pinned():
    """Users see these names in the monitoring of an engine."""
    settings = ShardSettings(
        root="", work="", plan_folder="", roots=[], versions={}, name="", formats=[],
        folders=[], images=None, num_threads=1,
    )  # fmt: skip
    commit = CommitSettings(
        root="", work="", target="", name="", version="", formats=[], table=None,
        subset_id="", recipe={}, found={}, bad={}, chosen={}, shards=[],
        max_failure_fraction=0,
    )  # fmt: skip
    plan = SamplePlan(
        label_of={}, top_ups={}, images_per_group=1, stratify_by_class=False,
        num_folds=1, seed=0,
    )  # fmt: skip
    table = TableSettings(
        work="", output="", models=(), num_images={}, chunks=[],
        max_failure_fraction=0,
    )  # fmt: skip
    matrices = MatrixSettings(
        output="", survey=None, plan=CountPlan((), (), 0, is_soft=False)
    )
    nothing = RecognisedInputs(parts=[], notes=[], warnings=[])
    assert _top_level_steps(
        lambda root: index.define_pipeline(root, nothing, output="", parts_folder="")
    ) == ["ListPieces", "FindImages", "LabelImages", "WriteIndex"]
    assert _top_level_steps(
        lambda root: planning.define_pipeline(
            root,
            index="",
            num_row_groups=1,
            plan=plan,
            images_per_shard=1,
            plan_folder="",
        )
    ) == [
        "ListRowGroups",
        "SpreadRowGroups",
        "SampleImages",
        "WritePlan",
    ]
    assert _top_level_steps(
        lambda root: run.define_pipeline(
            root, shards=[], shard_settings=settings, commit_settings=commit
        )
    ) == ["ListShards", "WriteShards", "CommitDataset"]
    assert _top_level_steps(
        lambda root: predict.define_pipeline(root, ModelHandler(), table)
    ) == ["ListChunks", "PredictImages", "WriteTable"]
    assert _top_level_steps(
        lambda root: confusion.define_pipeline(root, [], matrices)
    ) == ["ListPieces", "CountPredictions", "WriteMatrices"]
    tasks = TaskSettings(
        directory="", work="", splits=(), other_files=(), group_folders=()
    )
    assert _top_level_steps(
        lambda root: verify.define_pipeline(root, num_tasks=1, settings=tasks)
    ) == ["ListTasks", "RunTasks"]
