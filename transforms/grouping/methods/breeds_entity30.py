"""Group 240 classes into the 30 superclasses of BREEDS Entity-30."""

import functools

from transforms.grouping import published

NUM_GROUPS = "method"
HAS_GIVEN_NAMES = True
Options = published.Options
group_classes = functools.partial(published.group_as_published, "breeds_entity30")
