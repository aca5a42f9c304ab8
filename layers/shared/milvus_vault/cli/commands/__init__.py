"""The commands. They import what they need when they run, so that `--help` and completion answer at once."""
