"""`vouch extract-embeddings`: the same embedding alone and in any batch, in input order, and what it refuses."""

import numpy as np
import pytest
import torch

from vouch.cli import main
from vouch.io import checkpoints
from vouch.io.tables import TableWriter, read_table
from vouch.system import build_objective, resolve
from vouch.training.extraction import WASTE, batches_by_length, embed_utterances

CONFIG = {
    "network": {
        "backbone": {"type": "tdnn", "channels": 16, "pooled_channels": 24},
        "pooling": {"type": "attentive_statistics", "hidden_dim": 4},
        "embedding_dim": 6,
        "hidden_dim": 6,
    },
    "objective": {"type": "supervised", "head": {"type": "am_softmax"}, "optimizer": {"type": "adam"}},
}
DIM = 5
CPU = torch.device("cpu")


def _utterances(count: int, longest: int, seed: int = 0) -> list[tuple[str, np.ndarray]]:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(25, longest, count)
    return [(f"utt{i}", generator.normal(size=(n, DIM)).astype(np.float32)) for i, n in enumerate(lengths)]


@pytest.fixture(scope="module")
def objective():
    torch.manual_seed(0)
    return build_objective(resolve(CONFIG, "x.yaml"), DIM, 2).eval()


@pytest.fixture(scope="module")
def folder(objective, tmp_path_factory):
    """A model directory, and the features of five utterances, one of them too short."""
    path = tmp_path_factory.mktemp("embeddings")
    (path / "model").mkdir()
    saved = {"config": resolve(CONFIG, "x.yaml"), "feature_dim": DIM, "speakers": ["a", "b"]}
    checkpoints.save(path / "model" / "final.pt", {"networks": objective.state_dict(), **saved})
    checkpoints.write_speakers(path / "model" / "speakers.txt", ["a", "b"])
    generator = np.random.default_rng(1)
    with TableWriter(f"ark,scp:{path}/feats.ark,{path}/feats.scp", "matrix", 3) as writer:
        for i, frames in enumerate([60, 80, 24, 41, 120]):
            writer.write(f"u{i}", generator.normal(size=(frames, DIM)).astype(np.float32))
    return path


def _extract(folder, *options, features="feats.scp") -> dict[str, np.ndarray]:
    out = folder / "out.ark"
    assert main(["extract-embeddings", *options, str(folder / "model"), f"scp:{folder}/{features}", f"ark:{out}"]) == 0
    return dict(read_table(f"ark:{out}", "vector"))


def _alone(objective, features: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return objective.embed(torch.from_numpy(features)[None], torch.tensor([len(features)]))[0].numpy()


@pytest.mark.parametrize(("threads", "batch_frames"), [(1, 1), (1, 0), (3, 500), (2, 100_000)])
def test_an_embedding_does_not_depend_on_its_batch_and_comes_in_order(objective, threads, batch_frames):
    utterances = _utterances(150, 900)
    found = list(embed_utterances(objective, iter(utterances), CPU, 10_000, threads, batch_frames))
    assert [key for key, _ in found] == [key for key, _ in utterances]
    for (_, features), (_, embedding) in zip(utterances, found, strict=True):
        alone = _alone(objective, features)
        assert embedding.dtype == np.float32
        assert np.linalg.norm(embedding - alone) <= 1e-5 * np.linalg.norm(alone)


def test_pieces_are_averaged_by_their_lengths(objective):
    [(_, features)] = _utterances(1, 30)
    features = np.tile(features, (10, 1))[:101]
    [(_, found)] = embed_utterances(objective, [("u", features)], CPU, 40, 1)
    pieces = [features[:34], features[34:68], features[68:]]  # equal but for one frame
    expected = sum(len(p) / 101 * _alone(objective, p).astype(np.float64) for p in pieces)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert not np.allclose(found, _alone(objective, features), rtol=1e-3)


@pytest.mark.parametrize("batch_frames", [1, 300, 5000])
def test_batches_keep_to_their_bounds(batch_frames):
    lengths = np.random.default_rng(2).integers(25, 700, 400)
    batches = batches_by_length(lengths.tolist(), batch_frames)
    assert sorted(i for batch in batches for i in batch) == list(range(400))
    for batch in batches:
        padded = len(batch) * lengths[batch].max()
        if len(batch) > 1:
            assert padded <= batch_frames and padded - lengths[batch].sum() <= WASTE * padded
    if batch_frames == 5000:
        assert len(batches) < 70


def test_what_is_held_is_bounded(objective):
    """Reading goes on while embeddings come out: not all is read before the first."""
    read = 0

    def utterances():
        nonlocal read
        for i in range(100):
            read += 1
            yield f"u{i}", np.zeros((10_000, DIM), np.float32)

    found = embed_utterances(objective, utterances(), CPU, 10_000, 1)
    next(found)
    assert read == 40  # two windows of 200,000 frames
    found.close()


def test_an_error_in_the_network_ends_it(objective):
    with pytest.raises(ValueError, match="want more than 14"):
        list(embed_utterances(objective, [("u", np.zeros((10, DIM), np.float32))], CPU, 100, 2))


def test_short_utterances_are_reported(folder, capsys):
    embeddings = _extract(folder)
    assert list(embeddings) == ["u0", "u1", "u3", "u4"]
    assert all(e.shape == (6,) and e.dtype == np.float32 for e in embeddings.values())
    messages = capsys.readouterr().err
    assert "WARNING u2 has 24 frames, fewer than --min-frames=25: left out" in messages
    assert "LOG wrote 4 embeddings of 301 frames" in messages and "1 utterances were too short" in messages


def test_threads_and_pieces_from_the_command_line(folder, objective):
    whole, pieces = _extract(folder), _extract(folder, "--max-frames=60", "--num-threads=2", "--batch-frames=100")
    np.testing.assert_allclose(pieces["u0"], whole["u0"], rtol=1e-4, atol=1e-6)
    [features] = [m for k, m in read_table(f"scp:{folder}/feats.scp") if k == "u4"]
    halves = (_alone(objective, features[:60]) + _alone(objective, features[60:])) / 2
    np.testing.assert_allclose(pieces["u4"], halves, rtol=1e-4, atol=1e-6)


def _refused(capsys, *words: str) -> str:
    assert main([*words]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if ": error: " in line]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--min-frames=14", "--min-frames=14 is too few for this network, which wants 15"),
        ("--max-frames=0", "--min-frames=0 to --max-frames=0 is not a range"),
        ("--max-frames=29", "--max-frames=29 makes pieces too short for this network; give 30"),
        ("--num-threads=0", "want 1 or more threads"),
    ],
)
def test_options_that_cannot_be(folder, tmp_path, capsys, option, message):
    words = [option, str(folder / "model"), f"scp:{folder}/feats.scp", f"ark:{tmp_path}/e.ark"]
    assert message in _refused(capsys, "extract-embeddings", *words)


def test_features_of_other_dimensions(folder, tmp_path, capsys):
    with TableWriter(f"ark:{tmp_path}/f.ark", "matrix") as writer:
        writer.write("u", np.zeros((50, 9), np.float32))
    words = ["extract-embeddings", str(folder / "model"), f"ark:{tmp_path}/f.ark", f"ark:{tmp_path}/e.ark"]
    assert "u has 9 dims a frame" in _refused(capsys, *words)
    assert not (tmp_path / "e.ark").exists()


def test_utterances_that_are_all_too_short(folder, tmp_path, capsys):
    words = ["--min-frames=1000", str(folder / "model"), f"scp:{folder}/feats.scp", f"ark:{tmp_path}/e.ark"]
    assert "all 5 utterances of scp:" in _refused(capsys, "extract-embeddings", *words)
    assert not (tmp_path / "e.ark").exists()


def test_a_network_whose_embeddings_are_no_numbers(folder, tmp_path, capsys):
    saved = torch.load(folder / "model" / "final.pt", weights_only=True)
    saved["networks"]["network.embedding.bias"][0] = np.inf
    torch.save(saved, tmp_path / "final.pt")
    (tmp_path / "speakers.txt").write_text("a\nb\n")
    words = ["extract-embeddings", str(tmp_path), f"scp:{folder}/feats.scp", f"ark:{tmp_path}/e.ark"]
    assert "the embedding of u0 is not finite" in _refused(capsys, *words)


def test_features_that_are_no_numbers(folder, tmp_path, capsys):
    with TableWriter(f"ark:{tmp_path}/f.ark", "matrix") as writer:
        writer.write("u", np.full((50, DIM), np.nan, np.float32))
    words = ["extract-embeddings", str(folder / "model"), f"ark:{tmp_path}/f.ark", f"ark:{tmp_path}/e.ark"]
    assert "u has features that are not finite numbers; make its features again" in _refused(capsys, *words)


def test_a_network_that_takes_more_frames_leaves_out_shorter_utterances(tmp_path, capsys):
    backbone = {"type": "ftdnn", "channels": 16, "bottleneck": 8, "pooled_channels": 24}
    config = resolve({**CONFIG, "network": {**CONFIG["network"], "backbone": backbone}}, "x.yaml")
    saved = {"config": config, "feature_dim": DIM, "speakers": ["a", "b"]}
    checkpoints.save(tmp_path / "final.pt", {"networks": build_objective(config, DIM, 2).state_dict(), **saved})
    checkpoints.write_speakers(tmp_path / "speakers.txt", ["a", "b"])
    with TableWriter(f"ark:{tmp_path}/f.ark", "matrix") as writer:
        for frames in (32, 33):
            writer.write(f"u{frames}", np.zeros((frames, DIM), np.float32))
    assert main(["extract-embeddings", str(tmp_path), f"ark:{tmp_path}/f.ark", f"ark:{tmp_path}/e.ark"]) == 0
    assert list(dict(read_table(f"ark:{tmp_path}/e.ark", "vector"))) == ["u33"]
    assert "u32 has 32 frames, fewer than --min-frames=33" in capsys.readouterr().err


def test_a_model_and_its_speakers_must_agree(folder, tmp_path, capsys):
    (tmp_path / "final.pt").write_bytes((folder / "model" / "final.pt").read_bytes())
    words = ["extract-embeddings", str(tmp_path), f"scp:{folder}/feats.scp", f"ark:{tmp_path}/e.ark"]
    assert "cannot read" in _refused(capsys, *words)
    (tmp_path / "speakers.txt").write_text("s0\n")
    assert "speakers.txt does not fit" in _refused(capsys, *words)
    assert not (tmp_path / "e.ark").exists()


def test_a_model_of_another_architecture(folder, tmp_path, capsys):
    saved = torch.load(folder / "model" / "final.pt", weights_only=True)
    saved["config"]["network"]["embedding_dim"] = 7
    torch.save(saved, tmp_path / "final.pt")
    (tmp_path / "speakers.txt").write_text("a\nb\n")
    words = ["extract-embeddings", str(tmp_path), f"scp:{folder}/feats.scp", f"ark:{tmp_path}/e.ark"]
    text = _refused(capsys, *words)
    assert "final.pt is of another architecture: network.embedding.weight is (6, 48) there, (7, 48)" in text
