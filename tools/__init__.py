"""What writes files of this repository: python -m tools.NAME."""
