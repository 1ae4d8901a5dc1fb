"""Vouch: Kaldi-style speaker verification recipes in Python, without a Kaldi build."""

__version__ = "0.1.0"
