"""Tests of egs/voxceleb/v1."""
