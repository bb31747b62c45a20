"""Read hostile archives in a sandbox, and report the outcomes.

    python -m tests.torture.hostile_archives

A child process reads each archive, among valid images, as an input: it lists the
archive, and reads and processes every image, with at most `_MAX_BYTES` of address space
and `_MAX_SECONDS` of CPU time. With --whole, a subset of each input is built too.
"""

import argparse
import io
import json
import resource
import signal
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import inputs
from tests import making, making_layouts
from tests.torture import bombs
from transforms import input_warnings
from transforms.archives import tfrecords
from transforms.images import read as image_reading
from transforms.images.process import process
from transforms.images.settings import ImageSettings
from transforms.index import parts as index_parts
from transforms.layouts.official_archives import TRAIN
from transforms.records import DataError, Record, UsageError

_MAX_BYTES = 3 << 30
_MAX_SECONDS = 60
WNIDS = ("n02088364", "n02099601")
_EVIL = "../../evil.JPEG"
_GOOD = {f"{WNIDS[0]}_{n}.JPEG": making.jpeg_bytes(n, size=(40, 30)) for n in range(4)}


# Tars: a class tar with hostile members in the training archive


def _header(name: str, *, size: int = 0, kind: bytes = b"0", link: str = "") -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = size, kind, link
    return member.tobuf(tarfile.GNU_FORMAT)


def _seal(header: bytes) -> bytes:
    """Update the checksum of a header."""
    blank = header[:148] + b" " * 8 + header[156:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]


def _with_size(field: bytes) -> bytes:
    header = _header("n02088364_9.JPEG")
    return _seal(header[:124] + field.rjust(12, b"\0") + header[136:])


def _pax(*records: bytes, kind: bytes = b"x") -> bytes:
    content = b""
    for record in records:
        length = len(record) + 3
        length += len(str(length)) - 1
        content += b"%d %s\n" % (length, record)
    header = _header("./PaxHeaders/x", size=len(content), kind=kind)
    return header + content + bytes(-len(content) % 512)


def _member(name: str, data: bytes = b"", **fields: object) -> bytes:
    return _header(name, size=len(data), **fields) + data + bytes(-len(data) % 512)


def _long_name(name: str) -> bytes:
    return _member("././@LongLink", name.encode() + b"\0", kind=b"L")


_IMAGE = _member("n02088364_9.JPEG", next(iter(_GOOD.values())))
_BEYOND = (1 << 62).to_bytes(11, "big")
TARS: dict[str, bytes] = {
    "traversal": _member(_EVIL, b"x"),
    "absolute": _member("/evil.JPEG", b"x"),
    "traversal within": _member("a/../../../evil.JPEG", b"x"),
    "backslashes": _member("..\\..\\evil.JPEG", b"x"),
    "newline": _member("a\nb.JPEG", b"x"),
    "control": _member("\x1b[2Ja.JPEG", b"x"),
    "no text": _seal(b"\xff\xfe.JPEG".ljust(100, b"\0") + _header("x")[100:]),
    "no name": _member("", b"x"),
    "dots": _member("..JPEG", b"x") + _member(". .JPEG", b"x"),
    "symbolic link": _header("n02088364_9.JPEG", kind=b"2", link="/etc/passwd"),
    "hard link": _header("n02088364_9.JPEG", kind=b"1", link="../../evil"),
    "character device": _header("n02088364_9.JPEG", kind=b"3"),
    "block device": _header("n02088364_9.JPEG", kind=b"4"),
    "folder of a size": _header("evil.JPEG/", size=512, kind=b"5") + bytes(512),
    "fifo": _header("n02088364_9.JPEG", kind=b"6"),
    "unknown kind": _header("n02088364_9.JPEG", kind=b"Z"),
    "same name twice": _IMAGE * 2,
    "octal size beyond": _header("n02088364_9.JPEG", size=8**11 - 1),
    "base-256 size beyond": _with_size(b"\x80" + _BEYOND),
    "negative base-256 size": _with_size(b"\xff" * 10 + b"\xfe\0"),
    "lowest base-256 size": _with_size(b"\xc0" + bytes(11)),
    "size of no digits": _with_size(b"-0000001000\0"),
    "pax size negative": _pax(b"size=-1536") + _IMAGE,
    "pax size beyond": _pax(b"size=99999999999999999999") + _IMAGE,
    "pax size endless": _pax(b"size=" + b"9" * 9000) + _IMAGE,
    "pax path": _pax(b"path=" + _EVIL.encode()) + _IMAGE,
    "pax path absolute": _pax(b"path=/evil.JPEG") + _IMAGE,
    "pax record of no length": _pax(b"path=a")[:512] + b"0 x=y\n".ljust(512, b"\0"),
    "pax for all": _pax(b"path=" + _EVIL.encode(), kind=b"g") + _IMAGE,
    "pax sparse": _pax(
        b"GNU.sparse.major=1", b"GNU.sparse.minor=0", b"GNU.sparse.name=../../evil",
        b"GNU.sparse.realsize=1099511627776",
    ) + _IMAGE,
    "sparse": _seal(
        _header("n02088364_9.JPEG", kind=b"S")[:386]
        + b"00000000000\0" * 8 + b"\x01" + b"77777777777\0" + bytes(17)
    ) + b"77777777777\0" * 42 + bytes(8),
    "long name": _long_name(_EVIL) + _IMAGE,
    "very long name": _long_name("x" * 5000 + ".JPEG") + _IMAGE,
    "name beyond": _header("././@LongLink", size=1 << 33, kind=b"L"),
    "chain of names": _long_name("a.JPEG") * 3000 + _IMAGE,
    "chain of pax headers": _pax(b"path=n02088364_9.JPEG") * 3000 + _IMAGE,
    "bomb among images": _member("n02088364_9.JPEG", bombs.png((12_000, 12_000))),
    "class tar in a class tar": _member("n02088364.tar", making.tar_bytes(_GOOD)),
}  # fmt: skip


def _write_tar(folder: Path, hostile: bytes) -> Path:
    """Write the training archive with hostile members after valid images."""
    good = making.tar_bytes(_GOOD).rstrip(b"\0")
    good += bytes(-len(good) % 512)
    inner = good + hostile + bytes(-len(hostile) % 512) + bytes(1024)
    others = {f"{WNIDS[1]}_{n}.JPEG": data for n, data in enumerate(_GOOD.values())}
    classes = {f"{WNIDS[0]}.tar": inner, f"{WNIDS[1]}.tar": making.tar_bytes(others)}
    return making.write_tar(folder / TRAIN, classes).parent


def _endless(folder: Path) -> Path:
    """End the archive with a sparse terabyte."""
    place = _write_tar(folder, _IMAGE) / TRAIN
    with place.open("r+b") as file:
        file.truncate(1 << 40)
    return folder


def _outer_escape(folder: Path) -> Path:
    return making.write_tar(
        folder / TRAIN, {"../n02088364.tar": making.tar_bytes(_GOOD)}
    ).parent


# Zips: class folders with hostile members


def _zip_bytes(name: str, data: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number, image in enumerate(_GOOD.values()):
            archive.writestr(f"train/{WNIDS[1]}/{WNIDS[1]}_{number}.JPEG", image)
        archive.writestr(name, data, method)
    return file.getvalue()


def _zip_bomb(num_bytes: int) -> bytes:
    """Deflate zeros, and understate their number in the directory."""
    packed = bombs.zeros(num_bytes)[2:-4]
    data = _zip_bytes(f"train/{WNIDS[0]}/{WNIDS[0]}_9.JPEG", packed)
    local, central = data.rindex(b"PK\3\4"), data.rindex(b"PK\1\2")
    changed = bytearray(data)
    changed[local + 8 : local + 10] = changed[central + 10 : central + 12] = b"\x08\0"
    return bytes(changed)


def _patch(data: bytes, mark: bytes, at: int, value: bytes) -> bytes:
    place = data.rindex(mark) + at
    return data[:place] + value + data[place + len(value) :]


def _overlap(data: bytes) -> bytes:
    """Point every entry of the directory at the first member."""
    changed, at = bytearray(data), data.find(b"PK\1\2")
    while at >= 0:
        changed[at + 42 : at + 46] = bytes(4)
        at = data.find(b"PK\1\2", at + 1)
    return bytes(changed)


_NINTH = f"train/{WNIDS[0]}/{WNIDS[0]}_9.JPEG"
_PLAIN_ZIP = _zip_bytes(_NINTH, next(iter(_GOOD.values())))
_ENTRY, _END = b"PK\1\2", b"PK\5\6"
ZIPS: dict[str, bytes] = {
    "traversal": _zip_bytes(f"train/{WNIDS[0]}/../../../evil.JPEG", b"x"),
    "absolute": _zip_bytes("/train/n02088364/evil.JPEG", b"x"),
    "key with a path": _zip_bytes(f"train/{WNIDS[0]}/..\\evil.JPEG", b"x"),
    "bomb of 4 GB": _zip_bomb(4 << 30),
    "same data for all": _overlap(_PLAIN_ZIP),
    "directory elsewhere": _patch(_PLAIN_ZIP, _END, 16, b"\1\0\0\0"),
    "directory beyond": _patch(_PLAIN_ZIP, _END, 16, b"\xfe\xff\xff\xff"),
    "directory of 4 GB": _patch(_PLAIN_ZIP, _END, 12, b"\xfe\xff\xff\xff"),
    "zip64 that is not there": _patch(_PLAIN_ZIP, _END, 16, b"\xff\xff\xff\xff"),
    "member beyond": _patch(_PLAIN_ZIP, _ENTRY, 42, b"\xfe\xff\xff\xff"),
    "size beyond": _patch(_PLAIN_ZIP, _ENTRY, 20, b"\xfe\xff\xff\x7f" * 2),
    "other method": _patch(_PLAIN_ZIP, _ENTRY, 10, b"\x0c\0"),
    "encrypted": _patch(_PLAIN_ZIP, _ENTRY, 8, b"\x01\0"),
    "name longer than file": _patch(_PLAIN_ZIP, _ENTRY, 28, b"\xff\xff"),
    "comment longer than file": _patch(_PLAIN_ZIP, _END, 20, b"\xff\xff"),
    "no members": zipfile.ZipFile.__doc__.encode(),
}


def _write_zip(folder: Path, data: bytes) -> Path:
    return making.write_files(folder, {"imagenet.zip": data}) / "imagenet.zip"


# Datasets of others


def _records_of(key: str, wnid: str = WNIDS[0]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        record = Record(key, next(iter(_GOOD.values())), 0, 162, wnid)
        data = tfrecords.frame(tfrecords.encode_record(record)[0])
        name = "imagenet2012-train.tfrecord-00000-of-00001"
        return making.write_files(folder, {name: data})

    return write


def _rows_of(path: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        image = {"bytes": next(iter(_GOOD.values())), "path": path}
        table = pa.Table.from_pylist(
            [{"image": image, "label": 162}], making_layouts.huggingface_schema()
        )
        file = folder / "data" / "train-00000-of-00001.parquet"
        file.parent.mkdir(parents=True)
        pq.write_table(table.replace_schema_metadata({}), file)
        return folder

    return write


def _rows_of_zeros(folder: Path) -> Path:
    """Write a row group of more than 1 GB that takes some kilobytes."""
    _rows_of("n02088364_1.JPEG")(folder)
    file = folder / "data" / "train-00000-of-00001.parquet"
    image = {"bytes": bytes(64 << 20), "path": "n02088364_1.JPEG"}
    rows = pa.Table.from_pylist([{"image": image, "label": 162}])
    with pq.ParquetWriter(file, rows.schema, compression="zstd") as writer:
        writer.write_table(pa.concat_tables([rows] * 17))
    return folder


def _samples_of(**members: bytes) -> Callable[[Path], Path]:
    names = {name.replace("__", "."): data for name, data in members.items()}

    def write(folder: Path) -> Path:
        good = {
            "n02088364_1.jpg": next(iter(_GOOD.values())),
            "n02088364_1.cls": b"162",
        }
        return making.write_tar(folder / "x-train-0000.tar", {**good, **names}).parent

    return write


OTHERS: dict[str, Callable[[Path], Path]] = {
    "endless tar": _endless,
    "class tar outside": _outer_escape,
    "records: path in a name": _records_of("../../evil"),
    "records: class is a path": _records_of("a", "../n1"),
    "records: long name": _records_of("x" * 200),
    "parquet: path in a name": _rows_of("../../evil.JPEG"),
    "parquet: no name": _rows_of(".JPEG"),
    "parquet: zeros": _rows_of_zeros,
    "samples: vast label": _samples_of(b__jpg=b"x", b__cls=b"9" * 5000),
    "samples: vast number": _samples_of(b__jpg=b"x", b__cls=b"9" * 31),
    "samples: deep label": _samples_of(b__jpg=b"x", b__json=b"[" * 100_000),
    "samples: label is a path": _samples_of(b__jpg=b"x", b__json=b'{"wnid": "../n1"}'),
}


def write_all(folder: Path) -> dict[str, Path]:
    """Write every archive to a separate folder; return the inputs by name."""
    made: dict[str, Path] = {}
    for name, data in TARS.items():
        made[f"tar: {name}"] = _write_tar(folder / f"tar {len(made)}", data)
    for name, data in ZIPS.items():
        made[f"zip: {name}"] = _write_zip(folder / f"zip {len(made)}", data)
    for name, write in OTHERS.items():
        place = folder / f"other {len(made)}"
        place.mkdir()
        made[name] = write(place)
    return made


def read_input(path: str) -> str:
    """Index an input, and read and process its images; return the outcome."""
    try:
        pieces = inputs.recognise([path], None).parts
        found = [
            index_parts.read_part(number, piece) for number, piece in enumerate(pieces)
        ]
        input_warnings.summarise(seen for part in found for seen in part.observations)
    except UsageError as error:
        return f"refused: {error}"
    num_good, failures = 0, []
    for images in found:
        for ref in images.refs:
            if "/" in ref.key or ".." in ref.key or not ref.key.isascii():
                return f"KEY {ref.key!r}"
            try:
                data = image_reading.read_image_bytes(images.piece.root, ref)
                process(data, ImageSettings(image_size=32))
                num_good += 1
            except DataError as error:
                failures.append(str(error))
    strays = sum(len(images.strays) for images in found)
    return f"read: {num_good} images, {strays} strays, failures {failures}"


def build_input(path: str, output: Path) -> str:
    """Build a subset of an input; return the outcome."""
    from pipelines import build

    words = [f"--input={path}", f"--output={output}", "--grouping=all_classes"]
    words += ["--min_validation_images=0", "--max_failure_fraction=1", "--name=small"]
    try:
        build.main([*words, "--image_size=32", "--formats=folders,webdataset"])
    except SystemExit as ended:
        return f"exit code {ended.code or 0}"
    return "exit code 0"


def run_child(folder: Path, *, whole: bool) -> None:
    """Read all inputs of a folder; print one line each."""
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_BYTES, _MAX_BYTES))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    for name, path in json.loads((folder / "inputs.json").read_bytes()).items():
        sys.stdout.write(json.dumps([name, "DIED"]) + "\n")
        sys.stdout.flush()
        signal.setitimer(signal.ITIMER_PROF, _MAX_SECONDS)
        result = read_input(path)
        if whole:
            output = folder / "out" / Path(path).name.replace(" ", "_") / name[:3]
            result = f"{build_input(path, output / name.replace(' ', '_'))}; {result}"
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(json.dumps([name, result]) + "\n")
    sys.stdout.flush()


def list_tree(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield every path below a folder outside `out`, with its size."""
    for path in sorted(folder.rglob("*")):
        if path.relative_to(folder).parts[0] != "out":
            yield str(path), path.lstat().st_size


def attack(folder: Path, *, whole: bool = False) -> dict[str, str]:
    """Write the archives and read them in a child process; return the outcomes.

    Raises:
      AssertionError: something was written outside the output.
    """
    sandbox = folder / "a" / "b"
    sandbox.mkdir(parents=True)
    made = write_all(sandbox)
    named = json.dumps({name: str(path) for name, path in made.items()})
    (sandbox / "inputs.json").write_text(named)
    before = list(list_tree(folder))
    command = [sys.executable, "-m", "tests.torture.hostile_archives", "--child"]
    words = [str(sandbox), *(["--whole"] if whole else [])]
    done = subprocess.run(
        [*command, *words], capture_output=True, text=True, check=False
    )
    outside = [path for path in list_tree(folder) if "/out/" not in path[0]]
    assert [p for p in outside if not p[0].endswith("/out")] == before
    results = dict.fromkeys(made, "NOT REACHED")
    for line in done.stdout.splitlines():
        if line.startswith('["'):
            name, result = json.loads(line)
            results[name] = result
    if done.returncode:
        results["child"] = f"DIED: {done.stderr[-2000:]}"
    return results


def main() -> None:
    """Run the attack, and print the outcomes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", type=Path)
    parser.add_argument("--whole", action="store_true")
    options = parser.parse_args()
    if options.child:
        run_child(options.child, whole=options.whole)
        return
    with tempfile.TemporaryDirectory() as folder:
        results = attack(Path(folder), whole=options.whole)
    for name, result in results.items():
        sys.stdout.write(f"{name:32} {result.replace(folder, '')[:200]!r}\n")
    bad = [r for r in results.values() if not r.startswith(("read", "refused", "exit"))]
    sys.stdout.write(f"{len(results)} archives, {len(bad)} not accounted for\n")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
