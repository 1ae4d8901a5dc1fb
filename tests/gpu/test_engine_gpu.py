"""The engine on CUDA: fused optimizers, 16-bit precision, compiled networks, resuming, several GPUs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
from engine_examples import Source, full_options, objective, parameters, trainer  # noqa: E402

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
EXAMPLE = Path(__file__).resolve().parents[1] / "training" / "engine_examples.py"


def _last_loss(folder: Path) -> float:
    lines = map(json.loads, (folder / "train.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line][-1]


KINDS = [
    "supervised",
    "danse",
    "least_squares",
    "auxiliary",
    "joint_centre",
    "seef_uniform",
    "seef_alternating",
    "seef_reversal",
    "ge2e_softmax",
    "ge2e_contrast",
    "triplet",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_two_speakers_are_learnt_in_every_precision(tmp_path, precision, kind):
    run = trainer(tmp_path, None, objective(device="cuda", kind=kind), "cuda", epochs=40, precision=precision)
    run.run()
    assert run.precision == precision and _last_loss(tmp_path) < 0.2
    assert (run.updater.loss_scale() is not None) == (precision == "float16")
    assert all(group["fused"] for optimizer in run.optimizers.values() for group in optimizer.param_groups)


def test_the_gpu_trains_as_the_cpu_does(tmp_path):
    ends = []
    for device in ("cpu", "cuda"):
        model = objective(batch_norm=False, device=device)
        run = trainer(tmp_path / device, Source(32), model, device, epochs=3)
        run.run()
        ends.append(parameters(run))
    assert (ends[0] - ends[1]).abs().max() < 1e-3


def test_a_checkpoint_holds_the_scaler_and_the_moments(tmp_path):
    options = {**full_options(), "epochs": 2, "precision": "float16"}
    whole = trainer(tmp_path / "whole", Source(32), device="cuda", **options)
    whole.run()
    cut = trainer(tmp_path / "cut", Source(32), device="cuda", **options)
    update, steps = cut.objective.update, iter(range(9))

    def dies(batch, updater):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return update(batch, updater)

    cut.objective.update = dies
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    again = trainer(tmp_path / "cut", Source(32), device="cuda", **options)
    assert again.resume() and again.step == 9 and again.updater.state_dict() == cut.updater.state_dict()
    again.run()
    assert again.updater.state_dict() == whole.updater.state_dict()
    assert (parameters(again) - parameters(whole)).abs().max() < 1e-2  # atomic additions on a GPU have no fixed order


def test_compiled_networks(tmp_path):
    run = trainer(tmp_path, device="cuda", epochs=20, compile=True)
    run.run()
    assert _last_loss(tmp_path) < 0.5
    assert not any("_orig_mod" in name for name in run.objective.state_dict())


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_train_as_one_with_synchronised_batch_norm(tmp_path):
    # Without dropout, which differs between processes; and by SGD, for Adam moves parameters whose gradient is zero but
    # for rounding (biases before batch norm) at full rate in the direction of the rounding.
    ends = []
    for gpus in (1, 2):
        options = {
            "epochs": 5,
            "batch_size": 32,
            "samples_per_utterance": 4,
            "device": "cuda",
            "objective": {"dropout": 0, "optimizer": "sgd"},
        }
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={gpus}"]
        words = [sys.executable, *launcher, EXAMPLE, tmp_path / str(gpus), tmp_path / f"{gpus}.pt", json.dumps(options)]
        subprocess.run([str(word) for word in words], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        ends.append(torch.load(tmp_path / f"{gpus}.pt", weights_only=True)["last"])
    assert (ends[0] - ends[1]).abs().max() < 1e-3
