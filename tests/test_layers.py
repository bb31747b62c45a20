"""The dependency rule of the project, and the graph's names."""

import ast
import pkgutil
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.ml.inference.base import ModelHandler

from pipelines import confusion, index, predict
from pipelines.building import planning, run
from transforms.confusion.counts import CountPlan
from transforms.dataset.commit import CommitSettings
from transforms.dataset.shards import ShardSettings
from transforms.sampling.plan import SamplePlan

ROOT = Path(__file__).parent.parent
NOUN_FOLDERS = sorted(p.name for p in (ROOT / "transforms").iterdir() if p.is_dir())
NOUN_FOLDERS = [name for name in NOUN_FOLDERS if not name.startswith("__")]
# Beam steps and what they alone use.
VERBS = {
    *("find", "label", "index", "sample", "assign", "write", "commit"),
    *("predict", "tally"),
}
# Where TensorFlow may be imported: it takes seconds, and starts threads.
TENSORFLOW_FOLDERS = (
    "transforms/models/",
    "transforms/training/",
    "transforms/verification/readers/",
)


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""}
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _modules(pattern: str) -> list[Path]:
    return sorted(ROOT.glob(pattern))


@pytest.mark.parametrize("folder", NOUN_FOLDERS)
def test_noun_folders_are_plain_python(folder):
    for path in _modules(f"transforms/{folder}/**/*.py"):
        tops = {name.split(".")[0] for name in _imports(path)}
        assert not tops & {"apache_beam", "argparse", "obstore", "pipelines"}, path
        assert not tops & {"google"}, path


def test_only_the_modules_of_stores_import_obstore():
    users = {
        path.relative_to(ROOT).as_posix()
        for folder in ("pipelines", "transforms")
        for path in _modules(f"{folder}/**/*.py")
        if any(name.split(".")[0] == "obstore" for name in _imports(path))
    }
    modules = ("stores", "store_clients", "claims")
    assert users == {f"transforms/{name}.py" for name in modules}


def test_only_storage_opens_the_door_to_stores():
    doors = {
        "transforms.storage.remote",
        "transforms.storage.remote",
        "transforms.storage.local",
    }
    behind = {"storage", "atomic_files", "object_files", "local_files", "claims"}
    users = {
        path.stem
        for folder in ("pipelines", "transforms")
        for path in _modules(f"{folder}/**/*.py")
        if _imports(path) & doors
    }
    assert users == behind


def test_only_verb_modules_import_beam():
    users = {
        path.stem
        for path in _modules("transforms/**/*.py")
        if any(name.split(".")[0] == "apache_beam" for name in _imports(path))
    }
    assert users == VERBS


def test_transforms_never_import_pipelines():
    for path in _modules("transforms/**/*.py"):
        assert not any(name.startswith("pipelines") for name in _imports(path)), path


def test_tensorflow_is_imported_by_readers_and_models_only():
    users = {
        path.relative_to(ROOT).as_posix()
        for folder in ("pipelines", "transforms")
        for path in _modules(f"{folder}/**/*.py")
        if any(name.split(".")[0] in {"tensorflow", "keras"} for name in _imports(path))
    }
    assert all(path.startswith(TENSORFLOW_FOLDERS) for path in users)


def test_no_module_is_a_grab_bag():
    names = {m.name.split(".")[-1] for m in pkgutil.walk_packages([str(ROOT)])}
    assert not names & {"utils", "common", "core", "helpers", "base"}


def _top_level_steps(define) -> list[str]:
    root = beam.Pipeline("FnApiRunner")
    define(root)
    root.contains_external_transforms = False
    return [part.full_label for part in root.transforms_stack[0].parts]


def test_step_names_are_pinned():
    """They are what a user sees in an engine's monitoring."""
    settings = ShardSettings(
        root="", work="", plan_folder="", roots=[], versions={}, name="", formats=[],
        folders=[], images=None, num_threads=1,
    )  # fmt: skip
    commit = CommitSettings(
        root="", work="", target="", name="", version="", formats=[], table=None,
        subset_id="", recipe={}, found={}, bad={}, chosen={}, max_failure_fraction=0,
    )  # fmt: skip
    plan = SamplePlan(
        label_of={}, top_ups={}, images_per_group=1, stratify_by_class=False,
        num_folds=1, seed=0,
    )  # fmt: skip
    assert _top_level_steps(
        lambda root: index.define_pipeline(root, [], output="", parts_folder="")
    ) == ["ListPieces", "FindImages", "LabelImages", "WriteIndex"]
    assert _top_level_steps(
        lambda root: planning.define_pipeline(
            root,
            index="",
            num_row_groups=1,
            sample_plan=plan,
            images_per_shard=1,
            plan_folder="",
        )
    ) == [
        "ListRowGroups",
        "SpreadRowGroups",
        "SampleImages",
        "AssignShards",
        "WritePlan",
    ]
    assert _top_level_steps(
        lambda root: run.define_pipeline(
            root, shards=[], shard_settings=settings, commit_settings=commit
        )
    ) == ["ListShards", "WriteShards", "CommitDataset"]
    assert _top_level_steps(
        lambda root: predict.define_pipeline(
            root,
            ModelHandler(),
            num_chunks=1,
            image_list="",
            parts_folder="",
            gathered="",
        )
    ) == ["ListChunks", "PredictImages"]
    assert _top_level_steps(
        lambda root: confusion.define_pipeline(
            root, [], plan=CountPlan((), (), 0, is_soft=False), output=""
        )
    ) == ["ListPieces", "TallyPredictions", "WriteTally"]
