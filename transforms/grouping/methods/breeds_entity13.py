"""Group 260 classes into the 13 superclasses of BREEDS Entity-13."""

import functools

from transforms.grouping import published

NUM_GROUPS = "method"
HAS_GIVEN_NAMES = True
Options = published.Options
group_classes = functools.partial(published.group_as_published, "breeds_entity13")
