"""On a GPU: features of recordings, batches moved to it, and extraction, against the processor."""

import numpy as np
import pytest
import torch

from vouch.signal.features import Mfcc, MfccOptions
from vouch.signal.frames import FrameOptions
from vouch.system import build_objective, resolve
from vouch.training.extraction import embed_utterances
from vouch.training.loading import epoch_batches, prepare
from vouch.training.sampling import RandomSampler
from vouch.training.waveforms import WaveformSource

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")

CONFIG = {
    "network": {
        "backbone": {"type": "tdnn", "channels": 64, "pooled_channels": 96},
        "pooling": {"type": "attentive_statistics"},
        "embedding_dim": 32,
    },
    "objective": {"type": "supervised", "head": {"type": "softmax"}, "optimizer": {"type": "adam"}},
}


def _recordings(recording: int, first: int, count: int) -> np.ndarray:
    samples = np.random.default_rng(recording).normal(size=32000) * 1000
    return samples[first : first + count].astype(np.float32)


@pytest.mark.parametrize("workers", [0, 1])
def test_features_of_recordings_on_the_gpu(workers):
    frame = FrameOptions(sample_frequency=8000, dither=0.0, snip_edges=False)
    mfcc = Mfcc(MfccOptions(frame=frame, num_ceps=23))
    source = WaveformSource(list("abcdefgh"), np.full(8, 400), _recordings, mfcc, vad=lambda r: np.ones(400))
    labels = np.arange(8)
    sampler = RandomSampler(source.num_frames, labels, 4, 100, 150, 1)
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    for batch in epoch_batches(source, labels, sampler, 0, 0, 1, workers, pinned=True):
        there, here = prepare(batch, source, cuda), prepare(batch, source, cpu)
        assert there.features.is_cuda and there.labels.is_cuda
        torch.testing.assert_close(there.features.cpu(), here.features, rtol=1e-3, atol=1e-2)


def test_embeddings_do_not_depend_on_their_batch():
    torch.manual_seed(0)
    cuda = torch.device("cuda")
    objective = build_objective(resolve(CONFIG, "x.yaml"), 30, 2, cuda).eval()
    generator = np.random.default_rng(0)
    utterances = [
        (f"u{i}", generator.normal(size=(n, 30)).astype(np.float32))
        for i, n in enumerate(generator.integers(200, 6001, 100))
    ]
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        together = dict(embed_utterances(objective, utterances, cuda, 10_000, 1))
        alone = dict(embed_utterances(objective, utterances, cuda, 10_000, 1, batch_frames=1))
    for key, embedding in alone.items():
        assert np.linalg.norm(together[key] - embedding) <= 1e-5 * np.linalg.norm(embedding)
