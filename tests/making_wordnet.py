"""Write a few nouns in the file format of WordNet."""

from pathlib import Path

# name → lemmas, hypernyms, instance hypernyms; parents come first
_NOUNS = {
    "thing": (("thing",), (), ()),
    "animal": (("animal",), ("thing",), ()),
    "pet": (("pet",), ("thing",), ()),
    "dog": (("dog", "domestic_dog"), ("animal", "pet"), ()),
    "puppy": (("puppy", "young_dog"), ("dog",), ()),
    "Laika": (("Laika",), (), ("dog",)),
}
_PARTS = ("noun", "verb", "adj", "adv")


def write(
    folder: Path, *, version: str = "3.0", with_all: bool = True
) -> dict[str, int]:
    """Write the files; return each noun's offset, the number in its wnid.

    Args:
      folder: folder to create.
      version: version of WordNet in the first line of the files.
      with_all: also write the files that Debian's package leaves out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    header = f"  1 WordNet {version} Copyright 2006 by Princeton University.  \n"
    for part in _PARTS:
        for name in (f"data.{part}", f"index.{part}"):
            (folder / name).write_text(header)
        (folder / f"{part}.exc").write_text("")
    offsets: dict[str, int] = {}
    text = header
    for name, (lemmas, hypernyms, of_instance) in _NOUNS.items():
        offsets[name] = len(text)
        words = " ".join(f"{lemma} 0" for lemma in lemmas)
        pointers = [f"@ {offsets[parent]:08d} n 0000" for parent in hypernyms]
        pointers += [f"@i {offsets[parent]:08d} n 0000" for parent in of_instance]
        text += (
            f"{offsets[name]:08d} 03 n {len(lemmas):02x} {words} "
            f"{' '.join([f'{len(pointers):03d}', *pointers])} | {name}  \n"
        )
    (folder / "data.noun").write_text(text)
    senses = "".join(
        f"{lemma.lower()} n 1 0 1 0 {offsets[name]:08d}  \n"
        for name, (lemmas, *_) in _NOUNS.items()
        for lemma in lemmas
    )
    (folder / "index.noun").write_text(header + senses)
    if with_all:
        lines = "".join(f"{number:02d}\tunnamed\t1\n" for number in range(45))
        (folder / "lexnames").write_text(lines)
        (folder / "index.sense").write_text("")
        (folder / "cntlist.rev").write_text("")
    return offsets
