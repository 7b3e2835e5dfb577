"""Calibration: measure kernels and stages, fit the cost model's parameters, validate, anchor to a deployment.

``calibrate.measure`` needs torch and numpy only and imports nothing of ``simulator``, so that a copy of this folder
runs on a bare machine with an accelerator. The other verbs import what they need when they are used.
"""
