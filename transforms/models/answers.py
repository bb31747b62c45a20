"""A model's classes, and groups → which of its outputs are right for a wnid."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transforms.models.card import ModelCard
from transforms.records import UsageError
from transforms.tables.groups import GroupTable

_SHOWN = 5


@dataclass(frozen=True)
class Answers:
    """What is right.

    Attributes:
      outputs: wnid → the outputs that are right for its images, ascending; a wnid that
        no output holds is missing.
      correct: what their sum is the probability of: the image's "class" or "group".
    """

    outputs: Mapping[str, tuple[int, ...]]
    correct: str


def find_answers(card: ModelCard, groups: GroupTable | None) -> Answers:
    """Find the right outputs for images of every wnid that a model knows.

    Without groups, the one output that holds the wnid; with them, all outputs that lie
    in the wnid's group. Classes that are in no group are asked nothing.

    Raises: UsageError: an output lies partly in a group and partly elsewhere.
    """
    if groups is None:
        outputs = {w: (n,) for n, c in enumerate(card.classes) for w in c.wnids}
        return Answers(outputs, "class" if card.is_fine else "group")
    label_of = groups.label_of
    outputs_of: dict[int | None, list[int]] = defaultdict(list)
    straddling = []
    for number, output in enumerate(card.classes):
        labels = {label_of.get(wnid) for wnid in output.wnids}
        outputs_of[labels.pop()].append(number)
        if labels:
            straddling.append(output.name)
    if straddling:
        raise UsageError(_describe_straddling(straddling))
    known = (wnid for output in card.classes for wnid in output.wnids)
    right = {w: tuple(outputs_of[label_of[w]]) for w in known if w in label_of}
    is_fine = len(label_of) == groups.num_groups
    return Answers(right, "class" if is_fine else "group")


def _describe_straddling(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (
        f"its outputs {shown}{more} lie partly in one group and partly outside it, so "
        "that no sum is the group's probability; give the groups that the model was "
        "trained on, or a model of single classes"
    )
