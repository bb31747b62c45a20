"""Create the job for Dataflow offline, without network or credentials."""

import functools
import socket

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam import coders
from apache_beam.pipeline import PipelineVisitor
from apache_beam.portability.api import beam_runner_api_pb2

from pipelines import build, dataflow, engine, index, predict
from pipelines.cli import parse
from pipelines.inputs import RecognisedInputs
from tests import building
from transforms.index import table as index_table
from transforms.layouts import InputPart
from transforms.models.image_chunks import Chunk
from transforms.models.inference import InferenceSettings
from transforms.models.results import TableSettings
from transforms.models.steps import ScoreImages
from transforms.records import Shard

IMAGE = f"europe-docker.pkg.dev/a-project/subsets/image@sha256:{'0' * 64}"
BUCKET = "gs://a-bucket"
DATAFLOW = {
    "runner": "DataflowRunner",
    "project": "a-project",
    "region": "europe-west4",
    "temp_location": f"{BUCKET}/temp",
    "sdk_container_image": IMAGE,
}
STEPS = [
    "CommitDataset",
    "CommitDataset/Commit",
    "CommitDataset/GatherShards",
    "ListShards",
    "WriteShards",
    "WriteShards/SpreadShards",
    "WriteShards/WriteShard",
]
SHUFFLES = {"beam:transform:group_by_key:v1", "beam:transform:reshuffle:v1"}


@pytest.fixture(scope="module")
def bucket_index(mini_imagenet, tmp_path_factory):
    """Write an index, and move its root to a bucket that does not exist."""
    folder = tmp_path_factory.mktemp("index")
    index.main([f"--input={mini_imagenet}", f"--output={folder / 'local.parquet'}"])
    index_table.merge_parts(
        [str(folder / "local.parquet")],
        str(folder / "index.parquet"),
        roots=[f"{BUCKET}/imagenet"],
        strays=[],
    )
    return folder / "index.parquet"


@pytest.fixture
def offline(monkeypatch):
    """Disable the network and hide credentials."""

    def refuse(_, address):
        raise AssertionError(f"{address} was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def jobs(monkeypatch):
    """Record every job as its engine would receive it."""
    kept = []
    make = engine.make_job

    def keep(define, options):
        kept.append(make(define, options))
        return kept[-1]

    monkeypatch.setattr(engine, "make_job", keep)
    return kept


def _list_steps(job: beam_runner_api_pb2.Pipeline, depth: int) -> list[str]:
    """List the steps down to a depth, without the internals of Create."""
    names = {t.unique_name for t in job.components.transforms.values()}
    return sorted(
        name
        for name in names
        if name.count("/") < depth
        and not name.startswith(("ListShards/", "ListPieces/", "ref_"))
    )


def _flatten(job: beam_runner_api_pb2.Pipeline, coder_id: str) -> set[str]:
    coder = job.components.coders[coder_id]
    parts = (_flatten(job, part) for part in coder.component_coder_ids)
    return {coder.spec.urn}.union(*parts)


def _list_shuffled(job: beam_runner_api_pb2.Pipeline) -> dict[str, set[str]]:
    """Return the coders of all shuffled elements, by step."""
    steps = job.components.transforms.values()
    return {
        step.unique_name: set().union(
            *(
                _flatten(job, job.components.pcollections[name].coder_id)
                for name in step.inputs.values()
            )
        )
        for step in steps
        if step.spec.urn in SHUFFLES
    }


@pytest.mark.usefixtures("offline")
def test_dry_run_only_creates_the_job(bucket_index, jobs, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = {**DATAFLOW, "store_region": "europe-west4", "dry_run": True}
    build.main(building.command_line(bucket_index, f"{BUCKET}/subsets", **flags))
    out, err = capfd.readouterr()
    assert out == f"{BUCKET}/subsets/small/1.0.0\n"
    assert "DataflowRunner: ListShards → WriteShards → CommitDataset, 5 shards" in err
    assert not list(tmp_path.iterdir())
    (job,) = jobs
    assert _list_steps(job, 2) == STEPS
    environments = list(job.components.environments.values())
    payloads = [
        beam_runner_api_pb2.DockerPayload.FromString(e.payload) for e in environments
    ]
    assert [p.container_image for p in payloads] == [IMAGE]
    # FlexRS takes none.
    assert not any(e.resource_hints for e in environments)
    shuffled = _list_shuffled(job)
    assert len(shuffled) == 3
    assert all("beam:coder:bytes:v1" not in kinds for kinds in shuffled.values())


class _Shuffled(PipelineVisitor):
    """Collects the types of shuffled elements."""

    def __init__(self):
        self.types = []

    def enter_composite_transform(self, step):
        self.visit_transform(step)

    def visit_transform(self, step):
        if isinstance(step.transform, beam.GroupByKey | beam.Reshuffle):
            self.types += [p.element_type for p in step.inputs]


@pytest.mark.usefixtures("offline")
def test_only_shards_cross_the_shuffle(bucket_index, monkeypatch):
    """The coder is pickle, which does not reveal bytes, so check the types."""
    seen = _Shuffled()
    make = engine._make_pipeline

    def look(define, options):
        pipeline = make(define, options)
        if dataflow.is_dataflow(options):
            pipeline.visit(seen)
        return pipeline

    monkeypatch.setattr(engine, "_make_pipeline", look)
    flags = {**DATAFLOW, "dry_run": True}
    build.main(building.command_line(bucket_index, f"{BUCKET}/subsets", **flags))
    types = [str(kind) for kind in seen.types]
    assert types
    assert all("Shard" in kind for kind in types), types
    coder = coders.registry.get_coder(Shard)
    assert len(coder.encode(Shard("validation", 99_999, 100_000))) < 200


def test_index_is_written_entirely_by_its_graph():
    pieces = [
        InputPart(
            layout="class_folders", root=f"{BUCKET}/imagenet", uri=".", split="train"
        )
    ]
    define = functools.partial(
        index.define_pipeline,
        recognised=RecognisedInputs(parts=pieces, notes=[], warnings=[]),
        output=f"{BUCKET}/index.parquet",
        parts_folder=f"{BUCKET}/.parts",
    )
    flags = [f"--{name}={value}" for name, value in DATAFLOW.items()]
    job = engine.make_job(define, engine.make_beam_options(flags))
    assert [s for s in _list_steps(job, 2) if s.startswith("WriteIndex/")] == [
        "WriteIndex/GatherParts",
        "WriteIndex/MergeParts",
        "WriteIndex/RemoveParts",
        "WriteIndex/SettleIndex",
        "WriteIndex/WriteParts",
    ]


def _make_prediction_job(*flags):
    settings = InferenceSettings(
        models=(), roots=[f"{BUCKET}/imagenet"], batch_size=64, num_threads=1
    )
    work = f"{BUCKET}/tables/.p.parquet.0123456789abcdef.partial"
    table = TableSettings(
        work=work,
        output=f"{BUCKET}/tables/p.parquet",
        models=(),
        num_images={},
        chunks=[Chunk(number, 1024, "digest") for number in range(3)],
        max_failure_fraction=0,
    )
    given = {
        "input": f"{BUCKET}/imagenet",
        "split": "train",
        "model": "m.onnx",
        "output": f"{BUCKET}/tables/p.parquet",
        **DATAFLOW,
    }
    words = [f"--{name}={value}" for name, value in given.items()]
    parsed, _, beam_flags = parse(predict.PredictOptions, [*words, *flags], prog="")
    options = engine.make_beam_options(beam_flags)
    shares_models = predict.shares_models(parsed, options)
    handler = ScoreImages(settings, work, shares_models=shares_models)
    define = functools.partial(predict.define_pipeline, handler=handler, settings=table)
    return handler, engine.make_job(define, options)


@pytest.mark.usefixtures("offline")
def test_predictions_are_written_entirely_by_their_graph():
    handler, job = _make_prediction_job("--no_wait_until_finish")
    steps = [s for s in _list_steps(job, 2) if not s.startswith("ListChunks/")]
    assert steps == [
        "ListChunks",
        "PredictImages",
        "PredictImages/RunModels",
        "PredictImages/SpreadChunks",
        "PredictImages/WriteParts",
        "WriteTable",
        "WriteTable/GatherParts",
        "WriteTable/MergeParts",
        "WriteTable/RemoveParts",
        "WriteTable/SettleTable",
    ]
    shuffled = _list_shuffled(job)
    assert all("beam:coder:bytes:v1" not in kinds for kinds in shuffled.values())
    assert not handler.share_model_across_processes()
    assert not any(e.resource_hints for e in job.components.environments.values())


@pytest.mark.usefixtures("offline")
def test_accelerators_are_requested_and_models_shared():
    hint = "type:nvidia-l4;count:1;install-nvidia-driver"
    handler, job = _make_prediction_job(f"--resource_hints=accelerator={hint}")
    assert handler.share_model_across_processes()
    (environment,) = job.components.environments.values()
    assert list(environment.resource_hints.values()) == [hint.encode()]
    service = "--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:1"
    assert _make_prediction_job(service)[0].share_model_across_processes()
    refused, _ = _make_prediction_job(service, "--share_models=false")
    assert not refused.share_model_across_processes()
    requested, _ = _make_prediction_job("--share_models")
    assert requested.share_model_across_processes()


@pytest.mark.usefixtures("offline")
def test_all_local_paths_of_predictions_are_reported_at_once(mini_index, capfd):
    flags = {
        "input": mini_index,
        "split": "train",
        "model": "m.onnx",
        "model_card": "m.json",
        "groups": "groups.csv",
        "output": "p.parquet",
        **DATAFLOW,
    }
    words = [f"--{name}={value}" for name, value in flags.items()]
    err = _fail(capfd, predict.main, words)
    assert f"--input {mini_index}: an index of images in " in err
    for name in ("model", "output"):
        assert f"--{name} {flags[name]}: " in err
    # Only the launcher reads the others.
    assert err.count("is on this machine, where workers of --runner=Data") == 3


@pytest.mark.usefixtures("offline")
def test_index_on_this_machine_of_images_in_a_bucket_is_predicted(bucket_index, capfd):
    flags = {
        "input": bucket_index,
        "split": "train",
        "model": "m.onnx",
        "output": f"{BUCKET}/p.parquet",
        **DATAFLOW,
    }
    words = [f"--{name}={value}" for name, value in flags.items()]
    problems = _fail(capfd, predict.main, words).splitlines()
    assert problems[0].startswith("error: --model m.onnx: ")
    assert {line.split(": ")[1] for line in problems} == {"--model m.onnx"}


def _fail(capfd, run, words):
    with pytest.raises(SystemExit) as ended:
        run(words)
    assert ended.value.code == 2
    return capfd.readouterr().err


@pytest.mark.usefixtures("offline")
def test_all_local_paths_are_reported_at_once(
    mini_imagenet, mini_index, tmp_path, capfd
):
    for source, named in (
        (mini_imagenet, f"--input {mini_imagenet}: "),
        (mini_index, f"--input {mini_index}: an index of images in {mini_imagenet}: "),
    ):
        err = _fail(
            capfd, build.main, building.command_line(source, tmp_path, **DATAFLOW)
        )
        assert named in err
        assert f"--output {tmp_path}: {tmp_path} is on this machine" in err
        assert "use a path in a bucket" in err
    flags = [f"--{name}={value}" for name, value in DATAFLOW.items()]
    words = [f"--input={mini_imagenet}", "--output=new.parquet", *flags]
    err = _fail(capfd, index.main, words)
    assert "--input" in err
    assert "--output new.parquet" in err
    assert pq.read_table(mini_index).num_rows


@pytest.mark.usefixtures("offline")
def test_local_paths_are_rejected_for_containers_of_any_engine(mini_imagenet, capfd):
    flags = {"runner": "FlinkRunner", "environment_type": "DOCKER"}
    words = building.command_line(mini_imagenet, f"{BUCKET}/subsets", **flags)
    assert f"--input {mini_imagenet}" in _fail(capfd, build.main, words)


@pytest.mark.usefixtures("offline")
def test_short_groups_are_named_before_anything_is_submitted(bucket_index, capfd):
    words = building.command_line(
        bucket_index,
        f"{BUCKET}/subsets",
        **{**DATAFLOW, "dry_run": True, "images_per_group": 100},
    )
    err = _fail(capfd, build.main, words)
    assert "too many for 3 of 3 groups; the largest that works is 40" in err


@pytest.mark.usefixtures("offline")
def test_all_missing_dataflow_flags_are_reported_at_once(bucket_index, capfd):
    words = building.command_line(
        bucket_index, f"{BUCKET}/subsets", runner="DataflowRunner"
    )
    err = _fail(capfd, build.main, words)
    for name in ("project", "region", "temp_location"):
        assert f"error: --{name}" in err


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"plan_only": True}, "--dry_run: cannot be combined with --plan_only"),
        ({"input": None}, "--dry_run: requires an index"),
    ],
    ids=["plan", "no index"],
)
def test_invalid_dry_run_is_an_error(bucket_index, capfd, change, named):
    words = building.command_line(
        bucket_index, f"{BUCKET}/subsets", **{"dry_run": True, **change}
    )
    assert named in _fail(capfd, build.main, words)


def test_dry_run_of_the_embedded_engine_writes_nothing(bucket_index, tmp_path, capfd):
    output = tmp_path / "subsets"
    build.main(building.command_line(bucket_index, output, dry_run=True))
    assert capfd.readouterr().out == f"{output}/small/1.0.0\n"
    assert not output.exists()
