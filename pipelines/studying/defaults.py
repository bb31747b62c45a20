"""What an input holds → the recipes that are compared when none are given."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pipelines import presets
from pipelines.studying.recipes import Listed
from transforms import sampling

_GROUPINGS = ("random_classes", "random_groups", "wordnet", "confusion", "curated")
_ALL_CLASSES = "all_classes"
# The official training images, of which the configurations are shares.
_CLASSES, _IMAGES = 1000, 1_281_167
_MIN_GROUPS = 2


class Size(NamedTuple):
    """N groups × M training images each."""

    num_groups: int
    images_per_group: int

    @property
    def num_images(self) -> int:
        """All training images."""
        return self.num_groups * self.images_per_group


def choose_sizes(num_classes: int, num_train: int) -> tuple[list[Size], str]:
    """Choose sizes that an input can serve.

    Args:
      num_classes: that it holds.
      num_train: its training images.
    Returns: Those of the presets, or where one of them is too large all of them in the
      same shares of the classes and images; and what to say of them.
    """
    official = [Size(*pair) for pair in presets.SIZES.values()]
    if all(s.num_groups <= num_classes and s.num_images <= num_train for s in official):
        return official, "sizes: those of the presets"
    scaled = []
    for size in official:
        num_groups = max(_MIN_GROUPS, round(size.num_groups * num_classes / _CLASSES))
        num_images = size.num_images * num_train // _IMAGES
        scaled.append(Size(num_groups, max(1, num_images // num_groups)))
    return list(dict.fromkeys(scaled)), (
        f"sizes: the input is too small for the presets, so that they are scaled: of N "
        f"groups N × {num_classes}/{_CLASSES}, at least {_MIN_GROUPS}; M so that the "
        "share of the training images is the same"
    )


def list_recipes(
    sizes: list[Size], *, num_classes: int, num_manual: int | None
) -> Iterator[Listed]:
    """Yield (name, flags): every grouping × every size × every sampler.

    Groups of one class each, and those of a table, have no N to choose; M is such that
    they have as many images.

    Args:
      sizes: N and M.
      num_classes: of the input.
      num_manual: groups of the table that is given; None without one.
    """
    fixed = {_ALL_CLASSES: num_classes} | ({"manual": num_manual} if num_manual else {})
    listed: dict[str, Mapping[str, str]] = {}
    for size in sizes:
        wanted = dict.fromkeys(_GROUPINGS, size) | {
            method: Size(n, max(1, size.num_images // n)) for method, n in fixed.items()
        }
        for method, own in wanted.items():
            flags = {"grouping": method, "images_per_group": str(own.images_per_group)}
            if method not in fixed:
                flags["num_groups"] = str(own.num_groups)
            name = f"{method}_n{own.num_groups}_m{own.images_per_group}"
            for sampler in sorted(sampling.SAMPLERS, reverse=True):
                if sampler == "uniform":
                    listed[name] = flags
                else:
                    listed[f"{name}_{sampler}"] = {**flags, "sampling": sampler}
    yield from listed.items()
