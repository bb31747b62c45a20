"""Classes parted into N groups: the algorithms behind the methods of grouping."""
