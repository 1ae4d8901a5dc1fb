"""Gaussian mixtures and i-vectors on arrays: UBM, statistics, estimation, extraction. No files, no command line."""
