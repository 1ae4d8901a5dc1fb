"""Maps of embeddings: neighbours stay neighbours, and the picture is there."""

import numpy as np
import pytest

from vouch.cli import main
from vouch.io.tables import TableWriter
from vouch.plots.embedding_map import place


@pytest.fixture
def folders(tmp_path):
    """Embeddings of six speakers in two domains, far apart."""
    generator = np.random.default_rng(0)
    for domain, offset in (("source", 0.0), ("target", 6.0)):
        folder = tmp_path / domain
        folder.mkdir()
        with TableWriter(f"ark,scp:{folder}/e.ark,{folder}/embedding.scp", "vector") as writer:
            for i in range(30):
                centre = np.eye(8)[i // 5] * 4
                writer.write(
                    f"{domain}{i // 5}-u{i:02}", (centre + offset + 0.1 * generator.normal(size=8)).astype("f4")
                )
        lines = [f"{domain}{i // 5}-u{i:02} {domain}{i // 5}\n" for i in range(30)]
        (folder / "utt2spk").write_text("".join(lines))
    return tmp_path


def test_utterances_of_a_speaker_lie_together():
    generator = np.random.default_rng(1)
    speakers = np.repeat(np.arange(5), 12)
    points = place(np.eye(20)[speakers] + 0.1 * generator.normal(size=(60, 20)))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2) + 1e9 * np.eye(60)
    assert (speakers[distances.argmin(1)] == speakers).mean() > 0.95
    np.testing.assert_array_equal(
        points, place(np.eye(20)[speakers] + 0.1 * np.random.default_rng(1).normal(size=(60, 20)))
    )


def test_a_picture_of_two_maps(folders):
    words = [str(folders / "source"), str(folders / "target")]
    png = folders / "map.png"
    assert main(["plot-embeddings", "--max-utterances=20", "before", *words, "after", *words, str(png)]) == 0
    assert png.read_bytes().startswith(b"\x89PNG")
    height = int.from_bytes(png.read_bytes()[20:24])
    assert main(["plot-embeddings", "one", *words, str(folders / "one.png")]) == 0
    assert 1.9 < height / int.from_bytes((folders / "one.png").read_bytes()[20:24]) < 2.1


def test_what_makes_no_map(folders, capsys):
    with open(folders / "source/utt2spk", "a") as file:
        file.write("zzz spk\n")
    words = ["plot-embeddings", "a", str(folders / "source"), str(folders / "target"), str(folders / "x.png")]
    assert main(words) == 1
    assert "utterance zzz has no embedding" in capsys.readouterr().err and not (folders / "x.png").exists()
    assert main([*words[:3], str(folders / "x.png")]) == 1
    with pytest.raises(ValueError, match="3 embeddings make no map"):
        place(np.zeros((3, 4)))


def test_the_domain_of_unheard_speakers_is_told_by_a_linear_classifier(folders, capsys):
    apart = [str(folders / "source"), str(folders / "target")]
    same = [str(folders / "source"), str(folders / "source")]
    tsv = folders / "probe.tsv"
    assert main(["probe-domain", "apart", *apart, "same", *same, str(tsv)]) == 0
    header, one, two = (line.split("\t") for line in tsv.read_text().splitlines())
    assert header == ["system", "source_utterances", "target_utterances", "probe"]
    assert one[:3] == ["apart", "30", "30"] and float(one[3]) == 1.0
    assert two[0] == "same" and float(two[3]) == 0.5  # each vector is in both domains, and gets one answer
    assert main(["probe-domain", "--max-utterances=1", "few", *apart, str(tsv)]) == 1
    assert "wants two recordings or speakers of each domain" in capsys.readouterr().err
