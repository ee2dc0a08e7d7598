"""The three notebooks, and what they share: ``python -m tools.notebooks`` runs them from their text."""
