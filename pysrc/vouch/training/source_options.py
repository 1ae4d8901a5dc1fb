"""The `source` entry of a training: where its chunks come from."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class StoredFeatures:
    """The `source: {type: features}` entry: archives of steps/prepare_feats_for_training.sh."""


@dataclass
class WaveformOptions:
    """The `source: {type: waveforms}` entry of a training.

    feature_config, cmn_config, vad_config (files of options as the steps take them; vad_config only without a vad.scp);
    noise, music, rirs (lists of recordings, or folders of them; empty: none); babble (other training speakers below the
    speech); share (of the chunks, that one of these befalls); speeds (factors; the speakers of each are new ones).
    """

    feature_config: str = "conf/mfcc.conf"
    cmn_config: str = "conf/cmn.conf"
    vad_config: str = "conf/vad.conf"
    noise: str = ""
    music: str = ""
    rirs: str = ""
    babble: bool = False
    share: float = 0.6
    speeds: list = field(default_factory=list)

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share {self.share} is not within 0 to 1")
        for speed in self.speeds:
            if not isinstance(speed, (int, float)) or not 0.1 <= speed <= 10 or speed == 1:
                raise ValueError(f"speeds: {speed} is not a number from 0.1 to 10 other than 1")
        if len({f"{speed:g}" for speed in self.speeds}) < len(self.speeds):
            raise ValueError("speeds: one is there twice")
