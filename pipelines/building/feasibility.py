"""Check that the input has enough images, and estimate the size of the output."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping

from pipelines.building.options import BuildOptions
from transforms import sampling, storage
from transforms.grouping.table import GroupTable
from transforms.images.settings import ImageSettings
from transforms.index.inventory import Inventory
from transforms.records import cut_lines, describe_bytes
from transforms.sampling.allocation import validation_top_up

# Measured on ImageNet at quality 90, 4:2:0: 0.25 to 0.5 bytes per pixel.
_BYTES_A_PIXEL, _BYTES_A_RECORD = 0.45, 3072
_MEAN_ASPECT = 4 / 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Availability:
    """Numbers of available images, and of training images to hold out, by group."""

    num_train: Mapping[int, int]  # label → images
    num_validation: Mapping[int, int]
    top_ups: Mapping[int, int]  # training images to hold out for validation

    def count_images(self, images_per_group: int | None) -> int:
        """Count the training and validation images of a subset.

        Args:
          images_per_group: training images per group; None takes all not held out.
        """
        train = (
            images_per_group or self.num_free(label)
            for label, count in self.num_train.items()
            if count
        )
        validation = (*self.num_validation.values(), *self.top_ups.values())
        return sum(train) + sum(validation)

    def num_free(self, label: int) -> int:
        """Count the training images of a group that are not held out."""
        return self.num_train[label] - self.top_ups[label]


def check(
    options: BuildOptions,
    inventory: Inventory,
    table: GroupTable,
    *,
    scope: str,
    sampling_options: object = None,
) -> tuple[Availability, int, list[str]]:
    """Count the images of each group, and check that they suffice.

    Args:
      options: options of the build.
      inventory: the input.
      table: the groups.
      scope: "group" if each group needs M images; "set" if all groups together need
        N × M images.
      sampling_options: options of the sampler, which may leave images out.

    Returns:
      The available images, the estimated size of the output in bytes, and all
      problems: too few images, a small validation split or too little disk space.
    """

    def reserve(num_train: int) -> float:
        """Return how many training images of a group must not be held out."""
        if sampling.is_fixed(options.sampling):
            return math.inf
        if not options.allow_small_validation:
            return 0
        # Training images come first; unset means all.
        wanted = options.images_per_group or math.inf
        return wanted + sampling.count_left_out(
            options.sampling, num_train, sampling_options
        )

    available = measure(
        inventory,
        table,
        min_validation_images=options.min_validation_images or 0,
        reserve=reserve,
    )
    if scope == "set":
        problems = [*find_short_set(available, options.images_per_group)]
    else:
        problems = [*find_short_groups(available, table, options.images_per_group)]
    if not options.allow_small_validation:
        problems += find_small_validation(available, options.min_validation_images or 0)
    needed = estimate_bytes(
        available.count_images(options.images_per_group),
        options.image_settings,
        mean_source_bytes=inventory.mean_bytes,
        num_formats=len(options.formats),
    )
    if not options.plan_only:
        problems += find_lack_of_space(options.output, needed)
    return available, needed, problems


def measure(
    inventory: Inventory,
    table: GroupTable,
    *,
    min_validation_images: int,
    reserve: Callable[[int], float],
) -> Availability:
    """Count each group's images, and the training images to hold out for validation.

    Args:
      inventory: the input.
      table: the groups.
      min_validation_images: number of validation images to reach by holding out
        training images.
      reserve: maps a group's number of training images to the number of them that
        must not be held out.
    """
    num_train = dict.fromkeys(range(table.num_groups), 0)
    num_validation = dict.fromkeys(range(table.num_groups), 0)
    for (wnid, split), count in inventory.num_images.items():
        if (label := table.label_of.get(wnid)) is not None:
            counts = num_train if split == "train" else num_validation
            counts[label] += count
    spare = {n: int(max(count - reserve(count), 0)) for n, count in num_train.items()}
    top_ups = validation_top_up(num_validation, spare, min_validation_images)
    return Availability(
        num_train=num_train, num_validation=num_validation, top_ups=top_ups
    )


def find_short_groups(
    availability: Availability, table: GroupTable, images_per_group: int | None
) -> Iterator[str]:
    """Yield an error if groups have too few training images.

    Further lines give the largest feasible M of these groups.
    """
    wanted = images_per_group or 1
    if not any(availability.num_train.values()):
        if images_per_group:
            yield (
                f"--images_per_group {images_per_group}: there are no training images "
                "in the input; add them, or build only the validation split with "
                "--grouping all_classes and without this flag"
            )
        return
    short = [
        label
        for label in range(table.num_groups)
        if availability.num_free(label) < wanted
    ]
    if not short:
        return
    largest = min(map(availability.num_free, availability.num_train))
    if images_per_group:
        yield (
            f"--images_per_group {images_per_group}: too many for {len(short)} of "
            f"{table.num_groups} groups; the largest that works is {max(largest, 0)}"
            f"{_describe_held_out(availability, min(availability.num_train.values()))}"
        )
    else:
        yield (
            f"{len(short)} of {table.num_groups} groups have no training images; leave "
            "their classes out, or lower --min_validation_images"
        )
    described = (
        f"  group {label} ({table.names[label]}): {availability.num_train[label]} "
        f"training images, {availability.top_ups[label]} of them held out for "
        f"validation: at most {availability.num_free(label)}"
        for label in short
    )
    yield from cut_lines(described, more="  and {} more groups")


def find_short_set(
    availability: Availability, images_per_group: int | None
) -> Iterator[str]:
    """Yield an error if all groups together have fewer than N × M images."""
    labels = availability.num_train
    free = sum(map(availability.num_free, labels))
    largest = sum(availability.num_train.values()) // len(labels)
    wanted = (images_per_group or 0) * len(labels)
    if wanted > free:
        yield (
            f"--images_per_group {images_per_group}: too many for {len(labels)} groups "
            f"with {free} training images; the largest that works is "
            f"{free // len(labels)}{_describe_held_out(availability, largest)}"
        )


def _describe_held_out(availability: Availability, largest: int) -> str:
    """Return the remedy if training images are held out for validation, or "".

    Args:
      availability: the available images.
      largest: the largest feasible M if none were held out.
    """
    if not any(availability.top_ups.values()):
        return ""
    return (
        "; training images are held out to reach --min_validation_images: with 0 "
        f"there, or --allow_small_validation, it is {largest}"
    )


def find_small_validation(
    availability: Availability, min_validation_images: int
) -> Iterator[str]:
    """Yield an error if the requested validation images are not available."""
    total = sum(availability.num_validation.values()) + sum(
        availability.top_ups.values()
    )
    if total < min_validation_images:
        yield (
            f"--min_validation_images {min_validation_images}: these groups have only "
            f"{total}; lower it, or give --allow_small_validation"
        )


def estimate_bytes(
    num_images: int,
    images: ImageSettings,
    *,
    mean_source_bytes: float,
    num_formats: int,
) -> int:
    """Estimate the size of the output in bytes.

    Args:
      num_images: number of selected images.
      images: image settings.
      mean_source_bytes: mean size of an image of the input in bytes.
      num_formats: number of output formats; each contains every image.
    """
    side = images.image_size
    is_square = images.resize_mode in {"center_crop", "squash"}
    pixels = side * side * (1 if is_square else _MEAN_ASPECT)
    per_image = pixels * _BYTES_A_PIXEL
    if images.resize_mode == "none":
        per_image = mean_source_bytes
    elif not images.upscale and not is_square:
        per_image = min(per_image, mean_source_bytes * 1.5)
    return int(num_images * (per_image + _BYTES_A_RECORD) * num_formats)


def find_lack_of_space(path: str, needed: int) -> Iterator[str]:
    """Yield an error if `needed` bytes exceed the free space at the path."""
    free = storage.free_bytes(path)
    if needed > free:
        yield (
            f"--output {path}: needs about {describe_bytes(needed)}, but only "
            f"{describe_bytes(free)} are free; free some space, or use another folder"
        )
