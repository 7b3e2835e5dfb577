"""Bounds of the widgets that say what is looked at, for whatever fills them."""

from __future__ import annotations

SIDE = 32768
"""Longest side of a picture or a frame [pixel]."""
CLIP_SECONDS = (0.1, 1e6)
CLIP_RATE = (0.01, 1000.0)
