"""Readers of VoxCeleb1 and VoxCeleb2: their folders, tables of speakers and trial lists."""
