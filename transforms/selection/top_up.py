"""Counts of groups → how many training images of each serve as validation."""

from collections.abc import Mapping

from transforms.selection import quotas


def validation_top_up(
    num_validation: Mapping[int, int], num_train: Mapping[int, int], target: int
) -> dict[int, int]:
    """Share what is missing of the validation images out over the groups.

    The deficit is shared equally, as far as the groups have training images. It depends
    on neither M, the sampler nor the seed, so validation is the same for every M.

    Args:
      num_validation: official validation images of each group, by label.
      num_train: training images of each group that may be set aside, by label: all, or
        what M leaves when M comes first.
      target: validation images to reach altogether.
    Returns: For each label how many; fewer than the deficit when there are no more.
    """
    deficit = max(target - sum(num_validation.values()), 0)
    # The seed only says which groups give one more when the deficit is no multiple.
    return quotas.water_fill(num_train, deficit, seed=0)
