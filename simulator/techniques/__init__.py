"""Techniques, one file each; adding one touches nothing else. See `simulator.technique` for the idea."""
