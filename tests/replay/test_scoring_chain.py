"""A scoring chain as recipes write it, with pipes in tables and trials cut from a list, runs on kaldi-path alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import replay_files as files
from replay_lines import Replay
from replay_tools_set import lay_out_backend

TRAINING = """
copy-vector ark:train.ark ark,scp:train/ivector.ark,train/ivector.scp
copy-vector ark:enroll_utt.ark ark,scp:enroll/ivector.ark,enroll/ivector.scp
copy-vector ark:test.ark ark,scp:test/ivector.ark,test/ivector.scp
ivector-mean scp:train/ivector.scp train/mean.vec
ivector-mean ark:enroll_spk2utt scp:enroll/ivector.scp ark:enroll/spk_ivector.ark ark,t:enroll/num_utts.ark
ivector-compute-lda --total-covariance-factor=0.0 --dim=10 \
"ark:ivector-subtract-global-mean scp:train/ivector.scp ark:- |" ark:utt2spk train/transform.mat
ivector-compute-plda ark:spk2utt "ark:ivector-subtract-global-mean scp:train/ivector.scp ark:- | \
transform-vec train/transform.mat ark:- ark:- | ivector-normalize-length ark:-  ark:- |" train/plda
"""
PREPARED = "ivector-subtract-global-mean train/mean.vec {} ark:- | transform-vec train/transform.mat ark:- ark:- | "
PREPARED += "ivector-normalize-length ark:- ark:- |"
ENROLL = "ark:ivector-mean ark:enroll_spk2utt scp:enroll/ivector.scp ark:- | " + PREPARED.format("ark:-")
TEST = "ark:" + PREPARED.format("scp:test/ivector.scp")
SCORING = f"""ivector-plda-scoring --normalize-length=true --num-utts=ark:enroll/num_utts.ark \
  "ivector-copy-plda --smoothing=0.0 train/plda - |" "{ENROLL}" "{TEST}" \
  "cat 'trials' | cut -d\\  --fields=1,2 |" scores"""
RATE = "paste trials scores | awk '{print $6, $3}' | compute-eer - 2>/dev/null"


def test_the_chain_gives_the_reference_scores(golden: Path, tmp_path: Path) -> None:
    lay_out_backend(golden / "backend", tmp_path)
    for folder in ("train", "enroll", "test"):
        (tmp_path / folder).mkdir()
    replay = Replay(tmp_path)
    for line in TRAINING.strip().splitlines():
        replay.run(line)
    replay.run(SCORING)
    with np.load(golden / "backend" / "scores.npz") as stored:
        wanted = stored["recipe"]
    found = files.scores(str(tmp_path / "scores"))["scores"]
    np.testing.assert_allclose(found, wanted, atol=2e-4)
    rate = files.load_json(golden / "metrics" / "score_sets.json")["recipe"]["eer_percent"]
    assert float(replay.run(RATE).stdout) == rate
