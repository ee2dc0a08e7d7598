"""Comparisons with other libraries: their speed, their losses step by step, their accuracy."""
