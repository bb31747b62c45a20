"""Results as self-contained HTML pages: light and dark, wide and narrow, no network."""
