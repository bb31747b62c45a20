"""Choose the options of the demonstration, a subset of a miniature ImageNet."""

import dataclasses
import sys
from pathlib import Path

from pipelines.building import output
from pipelines.building.options import BuildOptions
from transforms.miniature import archives as miniature

_NEXT = """\
then try others on it:
    python -m pipelines.build --input {folder} --grouping random_groups \\
        --num_groups 5 --images_per_group 200 --image_size 64 \\
        --min_validation_images 400
and on ImageNet itself:
    python -m pipelines.build --input PATH/TO/IMAGENET --grouping random_classes \\
        --num_groups 100 --images_per_group 500
"""


def choose(options: BuildOptions) -> BuildOptions:
    """Draw the miniature ImageNet if necessary; return the demonstration's options.

    Raises:
      UsageError: the output folder is not writable.
    """
    folder = str(Path(options.output) / "miniature_imagenet")
    output.make_folder(options.output)
    sys.stderr.write(f"no --input: drawing a miniature ImageNet in {folder}\n")
    miniature.ensure_miniature(folder, num_classes=20, num_train=60, num_validation=20)
    sys.stderr.write(_NEXT.format(folder=folder))
    return dataclasses.replace(
        options,
        input=(folder,),
        grouping="random_classes",
        num_groups=10,
        images_per_group=50,
        min_validation_images=200,
        image_size=64,
        images_per_shard=100,
        name=options.name or "demonstration",
    )
