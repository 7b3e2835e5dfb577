"""Time kernels, whole stages, techniques and the host's share of a request, on one device, into tidy tables.

Imports torch, numpy and the standard library only (transformers for stages and techniques, Pillow and tokenizers for
the host suite, each when used). SCHEMA.md says what every column means.
"""
