"""What is known of ImageNet's labels: small tables, each named in SOURCES.md."""
