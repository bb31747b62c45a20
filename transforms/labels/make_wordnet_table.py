"""Write wordnet.tsv, the 1000 classes and their ancestors, from WordNet 3.0.

    python -m transforms.labels.make_wordnet_table --wordnet DIR --output FILE

DIR is the folder `dict` of a WordNet 3.0 installation, /usr/share/wordnet from the
Debian package wordnet-base, or corpora/wordnet from NLTK.
"""

import contextlib
import getopt
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import nltk.data
from nltk.corpus.reader.wordnet import WordNetCorpusReader

from transforms.labels import wordnet
from transforms.labels.classes import load_classes
from transforms.labels.wordnet import Synset
from transforms.records import UsageError, list_names

_FILES = tuple(
    name
    for part in ("noun", "verb", "adj", "adv")
    for name in (f"data.{part}", f"index.{part}", f"{part}.exc")
)
_NUM_LEXICOGRAPHER_FILES = 45
_USAGE = "give --wordnet DIR --output FILE"


def make_table(folder: Path, wnids: Iterable[str]) -> bytes:
    """Return a TSV table of classes and all their ancestors.

    Args:
      folder: the `dict` folder of WordNet 3.0.
      wnids: the classes.

    Raises:
      UsageError: the folder does not contain WordNet 3.0, or lacks some classes.
    """
    wnids = list(wnids)
    with _open(folder) as reader:
        if (version := reader.get_version()) != wordnet.VERSION:
            raise UsageError(
                f"--wordnet {folder}: is WordNet {version}, whose synset numbers "
                f"differ from ImageNet's; give {wordnet.VERSION}"
            )
        synsets = wordnet.read_synsets(reader, wnids)
    if missing := [wnid for wnid in wnids if wnid not in synsets]:
        raise UsageError(f"--wordnet {folder}: lacks {list_names(missing)}")
    return _to_tsv(synsets)


@contextlib.contextmanager
def _open(folder: Path) -> Iterator[WordNetCorpusReader]:
    """Open WordNet through a temporary copy in the folder layout that NLTK requires.

    NLTK also requires the files `lexnames` and `index.sense`, which Debian does not
    package. Placeholders replace them; they do not affect the table.

    Raises:
      UsageError: the folder lacks files.
    """
    if missing := [name for name in _FILES if not (folder / name).is_file()]:
        raise UsageError(f"--wordnet {folder}: holds no {', '.join(missing)}")
    with tempfile.TemporaryDirectory() as data:
        copies = Path(data, "corpora", "wordnet")
        copies.mkdir(parents=True)
        for name in _FILES:
            shutil.copy(folder / name, copies)
        numbers = range(_NUM_LEXICOGRAPHER_FILES)
        lines = "".join(f"{number:02d}\tunnamed\t1\n" for number in numbers)
        (copies / "lexnames").write_text(lines)
        (copies / "index.sense").touch()
        nltk.data.path.insert(0, data)
        try:
            with warnings.catch_warnings():  # about missing languages
                warnings.simplefilter("ignore")
                reader = WordNetCorpusReader(str(copies), None)
            yield reader
        finally:
            nltk.data.path.remove(data)


def _to_tsv(synsets: Mapping[str, Synset]) -> bytes:
    lines = ["\t".join(wordnet.COLUMNS)]
    lines += [
        f"{wnid}\t{', '.join(synset.lemmas)}\t{' '.join(synset.hypernyms)}"
        for wnid, synset in sorted(synsets.items())
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def main(argv: Sequence[str]) -> int:
    """Write the table that the command line specifies; return the exit code."""
    try:
        folder, output = _parse(argv)
        table = make_table(folder, [info.wnid for info in load_classes()])
        output.write_bytes(table)
    except (UsageError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _parse(argv: Sequence[str]) -> tuple[Path, Path]:
    try:
        flags, rest = getopt.getopt(list(argv), "", ["wordnet=", "output="])
    except getopt.GetoptError as error:
        raise UsageError(f"{error}; {_USAGE}") from None
    values = dict(flags)
    if rest or values.keys() != {"--wordnet", "--output"}:
        raise UsageError(_USAGE)
    return Path(values["--wordnet"]), Path(values["--output"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
