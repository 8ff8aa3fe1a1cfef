"""Evaluate generators: feature networks, metrics, protocols, results."""
