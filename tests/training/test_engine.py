"""The engine: it learns, it is deterministic, it goes on and stops as it should, it refuses what does not fit."""

import json
import zipfile

import numpy as np
import pytest
import torch
from engine_examples import Source, full_options, objective, parameters, trainer

from vouch.errors import VouchError
from vouch.io import checkpoints
from vouch.system import COMPONENTS
from vouch.training.averaging import CheckpointAverage, ExponentialAverage
from vouch.training.options import HeldOutOptions
from vouch.training.schedules import Step


def _lines(folder, key: str = "loss") -> list[dict]:
    lines = map(json.loads, (folder / "train.jsonl").read_text().splitlines())
    return [line for line in lines if key in line]


def test_two_speakers_are_learnt_and_random_labels_are_not(tmp_path):
    trainer(tmp_path / "true", epochs=40).run()
    last = _lines(tmp_path / "true")[-1]
    assert last["loss"] < 0.2 and last["accuracy"] > 0.95
    assert last["utterances_per_second"] > 0 and 0 <= last["data_share"] <= 1 and last["data_seconds"] >= 0
    source = Source(64)
    source.labels = np.random.default_rng(1).permutation(source.labels)  # the control: labels that mean nothing
    trainer(tmp_path / "random", source, epochs=2).run()
    assert _lines(tmp_path / "random")[-1]["accuracy"] < 0.8


@pytest.mark.parametrize(
    "kind",
    [
        "supervised",
        "danse",
        "auxiliary",
        "joint_centre",
        "seef_uniform",
        "seef_alternating",
        "seef_reversal",
        *COMPONENTS["loss"],
    ],
)
def test_a_killed_training_ends_as_the_uninterrupted_one(tmp_path, kind):
    whole = trainer(tmp_path / "whole", Source(32), objective(kind=kind), **full_options())
    expected, _ = whole.run()

    cut = trainer(tmp_path / "cut", Source(32), objective(kind=kind), **full_options())  # a checkpoint at every step
    update, steps = cut.objective.update, iter(range(17))

    def dies_in_the_18th_step(batch, updater):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return update(batch, updater)

    cut.objective.update = dies_in_the_18th_step
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    with open(tmp_path / "cut" / "train.jsonl", "a") as log:
        log.write('{"step": 99, "loss": 0}\n{"half a li')  # what a killed process may leave

    again = trainer(tmp_path / "cut", Source(32), objective(kind=kind), **full_options())
    assert again.resume() and again.step == 17
    final, _ = again.run()
    assert again.step == whole.step and again.kept.kept == whole.kept.kept
    assert parameters(again).equal(parameters(whole))
    assert all(final[name].equal(value) for name, value in expected.items())
    steps = [line["step"] for line in _lines(tmp_path / "cut")]
    assert steps == [line["step"] for line in _lines(tmp_path / "whole")]
    assert [line["held_out"] for line in _lines(tmp_path / "cut", "held_out")] == [
        line["held_out"] for line in _lines(tmp_path / "whole", "held_out")
    ]


def test_figures_of_a_part_of_the_steps_are_means_over_these(tmp_path):
    run = trainer(tmp_path, epochs=1)
    update, steps = run.objective.update, iter(range(99))

    def with_more_later(batch, updater):
        figures, step = update(batch, updater), next(steps)
        return {**figures, "late": torch.tensor(float(step))} if step >= 2 else figures

    run.objective.update = with_more_later
    run.run()
    first = _lines(tmp_path)[0]
    assert first["step"] > 3 and first["late"] == pytest.approx((2 + first["step"] - 1) / 2)


def test_the_seed_decides_everything(tmp_path):
    runs = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run = trainer(tmp_path / name, seed=seed, epochs=1)
        run.run()
        runs.append(parameters(run))
    assert runs[0].equal(runs[1]) and not runs[0].equal(runs[2])


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path):
    trainer(tmp_path, epochs=1).run()
    with pytest.raises(
        VouchError, match=r"last.pt is of another architecture: .* \(8, 5, 5\) there, \(16, 5, 5\) here"
    ):
        trainer(tmp_path, model=objective(16)).resume()


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "changed"])
def test_a_broken_checkpoint_is_named(tmp_path, damage):
    trainer(tmp_path, epochs=1).run()
    path = tmp_path / "checkpoints" / "last.pt"
    content = path.read_bytes()
    with zipfile.ZipFile(path) as parts:
        largest = parts.read(max(parts.infolist(), key=lambda info: info.file_size))
    middle = content.index(largest) + len(largest) // 2
    changed = content[:middle] + bytes([255 - content[middle]]) + content[middle + 1 :]
    path.write_bytes({"cut": content[:500], "text": b"hello there", "empty": b"", "changed": changed}[damage])
    reason = "its bytes have changed" if damage == "changed" else "it is truncated or something else"
    with pytest.raises(VouchError, match=rf"last.pt is not a checkpoint of vouch: {reason}"):
        trainer(tmp_path).resume()


def test_a_bad_utterance_costs_its_updates_and_nothing_else(tmp_path):
    source = Source(32)
    source.features[3][:] = np.nan
    run = trainer(tmp_path, source, epochs=2, samples_per_utterance=1)
    run.run()
    skipped = _lines(tmp_path, "utterances")
    assert len(skipped) == run.skips.total == 2  # once an epoch
    assert all("utt3" in line["utterances"] and len(line["utterances"]) == 4 for line in skipped)
    assert parameters(run).isfinite().all()  # batch norm's running statistics, too
    assert np.isfinite([line["loss"] for line in _lines(tmp_path)]).all()


def test_too_many_bad_updates_in_a_row_end_it_and_name_the_utterances(tmp_path):
    source = Source()
    for features in source.features:
        features[10:60] = np.inf
    run = trainer(tmp_path, source, skip_limit=3)
    before = parameters(run).clone()
    with pytest.raises(
        VouchError, match=r"not finite in 3 updates in a row, the last at step 3 with .* utt\d, .* \.\.\."
    ):
        run.run()
    assert parameters(run).equal(before) and len(_lines(tmp_path, "utterances")) == 3


def _held_out_figures(run, values: list[float]) -> None:
    """Let the held-out EER be these values, epoch by epoch."""
    figures = iter(values)
    run.held_out = type("Fixed", (), {"evaluate": lambda *_: {"eer": next(figures), "accuracy": 0.5, "loss": 1.0}})()


def test_the_best_epochs_are_kept_and_the_training_ends_when_none_is_better(tmp_path):
    options = {"epochs": 10, "held_out": HeldOutOptions(share=0.25, keep_best=2, patience=3)}
    run = trainer(tmp_path, Source(32), **options)
    _held_out_figures(run, [9.0, 5.0, 7.0, 6.0, 8.0])
    final, epochs = run.run()
    assert run.step == 5 * run.sampler.batches_per_epoch and epochs == [2]  # epochs 3 to 5 were no better than 2
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["epoch-2.pt", "epoch-4.pt", "last.pt"]
    best = checkpoints.load(tmp_path / "checkpoints" / "epoch-2.pt")
    assert all(final[name].equal(value) for name, value in best["networks"].items())
    assert best["held_out"]["eer"] == 5.0 and best["speakers"] == ["a", "b"]
    assert [line["best"] for line in _lines(tmp_path, "held_out")] == [True, True, False, False, False]
    again = trainer(tmp_path, Source(32), **options)  # killed before it wrote its final model: nothing is trained
    assert again.resume() and again.finished and again.run()[1] == [2]


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_epochs_that_are_as_good_as_the_best_are_no_better(tmp_path, value):
    options = {"epochs": 10, "held_out": HeldOutOptions(share=0.25, patience=3)}
    run = trainer(tmp_path, Source(32), **options)
    _held_out_figures(run, [value] * 10)
    assert run.run()[1] == [1] and run.step == 4 * run.sampler.batches_per_epoch
    told = _lines(tmp_path, "held_out")
    assert [line["best"] for line in told] == [True, False, False, False]
    assert told[0]["held_out"]["eer"] == (0.0 if value == 0 else None)  # JSON has no word for what is not a number


def test_the_mean_of_the_last_checkpoints(tmp_path):
    run = trainer(tmp_path, epochs=4, averaging=CheckpointAverage(3))
    final, epochs = run.run()
    assert epochs == [2, 3, 4]
    states = [checkpoints.load(tmp_path / "checkpoints" / f"epoch-{epoch}.pt")["networks"] for epoch in epochs]
    for name, value in final.items():
        if value.is_floating_point():
            mean = np.mean([state[name].numpy().astype(np.float64) for state in states], 0)
            np.testing.assert_array_equal(value.numpy(), mean.astype(np.float32))


def test_the_running_average_is_what_the_training_ends_with(tmp_path):
    run = trainer(tmp_path, epochs=1, averaging=ExponentialAverage(0.5))
    path, update = [], run.average.update
    run.average.update = lambda: (path.append(run.objective.head.weight.detach().clone()), update())
    start = run.objective.head.weight.detach().clone().double().numpy()
    final, _ = run.run()
    for step, weights in enumerate(path):
        decay = min(0.5, (1 + step) / (10 + step))
        start = decay * start + (1 - decay) * weights.double().numpy()
    np.testing.assert_allclose(final["head.weight"].numpy(), start, atol=1e-6)
    assert run.objective.head.weight.detach().equal(
        path[-1]
    )  # the networks themselves are where the last step left them


def test_the_learning_rate_follows_the_schedule(tmp_path):
    run = trainer(tmp_path, epochs=8, schedule=Step(0.0, 0.1, 0.5))
    seen, update = [], run.updater.begin
    run.updater.begin = lambda *given, **named: (
        seen.append(run.optimizers["main"].param_groups[1]["lr"]),
        update(*given, **named),
    )
    run.run()
    assert seen == pytest.approx([0.02] * 16 + [0.002] * 16)


def test_a_batch_too_small_for_its_parts_is_refused(tmp_path):
    with pytest.raises(VouchError, match=r"a batch of 5 chunks in 3 parts .* fewer than 2"):
        trainer(tmp_path, Source(10), batch_size=6, accumulate=3, samples_per_utterance=1)


def test_compiled_networks_keep_their_names(tmp_path):
    run = trainer(tmp_path, epochs=1)
    names = set(run.objective.state_dict())
    called = []
    torch.nn.Module.compile, original = lambda self, **options: called.append((self, options)), torch.nn.Module.compile
    try:
        compiled = trainer(tmp_path, epochs=1, compile=True)
    finally:
        torch.nn.Module.compile = original
    assert [c[0] for c in called] == [compiled.objective.network, compiled.objective.head]
    assert all(c[1] == {"dynamic": True} for c in called)  # chunk lengths vary
    compiled.objective.network.compile(dynamic=True, backend="eager")
    compiled.run()
    assert set(checkpoints.load(compiled.last_checkpoint)["networks"]) == names


@pytest.mark.parametrize("kind", ["supervised", "danse", "auxiliary", "joint_centre", "seef_uniform", "triplet"])
def test_every_compiled_module_is_called(tmp_path, kind):  # Module.compile is of `forward` alone
    run, called = trainer(tmp_path, model=objective(kind=kind), epochs=1), set()
    modules = list(run.objective.compiled())
    for module in modules:
        module.register_forward_hook(lambda module, *_: called.add(module))
    run.run()
    assert called == set(modules)


def test_speakers_are_compared_with_speakers_txt(tmp_path):
    path = tmp_path / "speakers.txt"
    checkpoints.write_speakers(path, ["a", "b", "c"])
    checkpoints.check_speakers(path, ["a", "b", "c"], "data/train")
    with pytest.raises(VouchError, match=r"speaker 2 is 'b', in data/train 'x'"):
        checkpoints.check_speakers(path, ["a", "x", "c"], "data/train")
    with pytest.raises(VouchError, match=r"it has 3 speakers, data/train has 2"):
        checkpoints.check_speakers(path, ["a", "b"], "data/train")
