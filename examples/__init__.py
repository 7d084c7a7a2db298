"""Programs that show the library at work, each without a key: `python -m examples.quickstart`."""
