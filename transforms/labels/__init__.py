"""Labels of ImageNet: small tables, whose sources are in SOURCES.md."""
