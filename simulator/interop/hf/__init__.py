"""Hugging Face configurations to model specs."""
