"""The options of an i-vector system's training: entries of its YAML."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class UbmOptions:
    """The `ubm` entry of a system's YAML; defaults of Kaldi's egs/sre16/v1.

    gaussians; start_gaussians (of which the first diagonal model is grown); start_frames (random frames that it
    is trained on, in memory); start_iterations; diagonal_iterations and full_iterations (of EM over the data);
    subsample (these take every n-th frame); selected (Gaussians a frame, by the diagonal model); minimum_weight (of a
    Gaussian that is estimated); minimum_posterior (smaller ones are dropped, in the extractor's training and after).
    """

    gaussians: int = 2048
    start_gaussians: int = 1024
    start_frames: int = 500_000
    start_iterations: int = 20
    diagonal_iterations: int = 4
    full_iterations: int = 4
    subsample: int = 1
    selected: int = 20
    minimum_weight: float = 1e-4
    minimum_posterior: float = 0.025
    seed: int = 0

    def __post_init__(self) -> None:
        if self.gaussians < 1:
            raise ValueError(f"gaussians {self.gaussians}, want 1 or more")
        if not 1 <= self.start_gaussians <= self.gaussians:
            raise ValueError(
                f"start_gaussians is {self.start_gaussians}, want 1 to the {self.gaussians} gaussians: set it too"
            )
        if self.gaussians > self.start_gaussians and self.start_iterations < 2:
            raise ValueError("start_iterations wants 2 or more to grow from start_gaussians to gaussians")
        if min(self.start_iterations, self.diagonal_iterations) < 0:
            raise ValueError("start_iterations and diagonal_iterations want 0 or more")
        if min(self.full_iterations, self.subsample, self.selected, self.start_frames) < 1 or self.selected > 255:
            raise ValueError("full_iterations, subsample, selected (at most 255) and start_frames want 1 or more")
        if not 0 <= self.minimum_weight < 1 or not 0 <= self.minimum_posterior < 1:
            raise ValueError("minimum_weight and minimum_posterior want 0 to below 1")


@dataclass
class ExtractorOptions:
    """The `extractor` entry of a system's YAML: dim (of the i-vectors), iterations (of EM)."""

    dim: int = 600
    iterations: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.dim < 2 or self.iterations < 1:
            raise ValueError("dim wants 2 or more, iterations 1 or more")
