"""Group 104 classes into the 26 superclasses of BREEDS Non-Living-26."""

import functools

from transforms.grouping import published

NUM_GROUPS = "method"
HAS_GIVEN_NAMES = True
Options = published.Options
group_classes = functools.partial(published.group_as_published, "breeds_nonliving26")
