"""Specs to programs: encoder, projector, language model, and the pictures they see."""
