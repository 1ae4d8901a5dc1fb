"""The Updater: accumulation, clipping, several networks, processes, gradients that are not finite."""

import numpy as np
import pytest
import torch
from torch import nn

from vouch.nn.ftdnn import FTDNN
from vouch.objectives.base import Optimizer
from vouch.objectives.updates import Updater


def _model() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def _loss(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    return model(inputs).square().mean()


def _sgd(model: nn.Module, **options) -> torch.optim.Optimizer:
    return Optimizer("sgd", **{"learning_rate": 0.1, "momentum": 0.0, **options}).build(model)


def test_accumulated_parts_make_the_step_of_the_whole_batch():
    inputs = torch.randn(64, 3, generator=torch.Generator().manual_seed(1))
    results = []
    for parts in ([64], [32, 32], [10, 30, 24]):  # uneven ones are weighted by their chunks
        model = _model()
        updater = Updater({"main": _sgd(model)}, batch_size=64)
        for number, part in enumerate(inputs.split(parts)):
            updater.begin(len(part), last=number == len(parts) - 1)
            updater.step("main", _loss(model, part))
        updater.finish()
        results.append(model.weight.detach())
    weight, bias = _model().weight.detach().double().numpy(), _model().bias.item()
    x = inputs.double().numpy()
    gradient = 2 * ((x @ weight.T + bias) * x).mean(0)
    for result in results:
        np.testing.assert_allclose(result.numpy()[0], weight[0] - 0.1 * gradient, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("clip_norm", [0.0, 0.3, 100.0])
def test_the_norm_of_the_gradient_is_limited(clip_norm):
    inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))  # a last batch, smaller than the others
    model, start = _model(), _model()
    updater = Updater({"main": _sgd(model, clip_norm=clip_norm)}, batch_size=8)
    updater.begin(5)
    updater.step("main", _loss(model, inputs))
    _loss(start, inputs).backward()
    gradient = torch.cat([start.weight.grad.flatten(), start.bias.grad]).numpy()
    norm = np.linalg.norm(gradient)
    assert norm > 0.3
    expected = gradient * (min(1.0, clip_norm / norm) if clip_norm else 1.0)
    moved = torch.cat([(start.weight - model.weight).flatten(), start.bias - model.bias]).detach().numpy()
    np.testing.assert_allclose(moved, 0.1 * expected, rtol=1e-4)


def test_a_loss_through_another_network_leaves_no_gradient_there():
    torch.manual_seed(0)
    generator, critic = nn.Linear(2, 2), nn.Linear(2, 1)
    updater = Updater({"critic": _sgd(critic), "generator": _sgd(generator)}, batch_size=4)
    noise, real = torch.randn(4, 2), torch.randn(4, 2)
    expected = torch.autograd.grad((critic(generator(noise).detach()) - critic(real)).mean(), critic.weight)[0]
    start = critic.weight.detach().clone()
    for last in (False, True):  # two parts of two chunks: the generator's gradient of the first passes the critic
        rows = slice(2, 4) if last else slice(0, 2)
        updater.begin(2, last)
        updater.step("critic", (critic(generator(noise[rows]).detach()) - critic(real[rows])).mean())
        updater.step("generator", -critic(generator(noise[rows])).mean())
    updater.finish()
    torch.testing.assert_close(critic.weight.detach(), start - 0.1 * expected)


def test_a_loss_has_a_name_of_its_own():
    model = _model()
    updater = Updater({"main": _sgd(model)}, batch_size=2)
    updater.begin(2)
    updater.step("main", _loss(model, torch.ones(2, 3)))
    with pytest.raises(ValueError, match="loss 'main' comes twice"):
        updater.step("main", _loss(model, torch.ones(2, 3)))


@pytest.mark.parametrize("parts", [[8], [5, 3]])
def test_two_losses_move_one_network_one_after_the_other(parts):
    """The second loss of a whole batch sees the network moved; of parts its gradients are kept apart."""
    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(1)
    other = nn.Linear(3, 1)
    model, start = _model(), _model()
    updater = Updater({"model": _sgd(model, clip_norm=0.5), "other": _sgd(other)}, batch_size=8)
    for number, part in enumerate(inputs.split(parts)):
        updater.begin(len(part), last=number == len(parts) - 1)
        updater.step("first", _loss(model, part) + other(part).mean(), "model", "other")
        updater.step("second", -model(part).mean(), "model")
    updater.finish()
    _loss(start, inputs).backward()
    norm = torch.sqrt(start.weight.grad.square().sum() + start.bias.grad.square().sum())
    weight = start.weight.detach() - 0.1 * min(1.0, 0.5 / norm.item()) * start.weight.grad
    slope = torch.cat([inputs.mean(0), torch.ones(1)])  # of the second loss, whatever the network
    weight += 0.1 * min(1.0, 0.5 / slope.norm().item()) * inputs.mean(0)
    torch.testing.assert_close(model.weight.detach(), weight, rtol=1e-5, atol=1e-6)
    torch.manual_seed(1)
    torch.testing.assert_close(other.weight.detach(), nn.Linear(3, 1).weight.detach() - 0.1 * inputs.mean(0))


@pytest.mark.parametrize("bad", ["loss", "gradient"])
@pytest.mark.parametrize("type", ["sgd", "adam", "rmsprop"])
def test_what_is_not_finite_moves_nothing(bad, type):
    model = _model()
    optimizer = Optimizer(type, 0.1).build(model)
    updater = Updater({"main": optimizer}, batch_size=2)
    updater.begin(2)
    value = torch.tensor(float("nan")) if bad == "loss" else (model.weight.sum() - model.weight.sum()).sqrt()
    updater.step("main", _loss(model, torch.ones(2, 3)) + value)  # the root's slope at 0 is infinite, its value is not
    updater.finish()
    assert updater.skipped == ["main"] and not updater.overflowed
    assert model.weight.equal(_model().weight) and not optimizer.state
    updater.begin(2)
    updater.step("main", _loss(model, torch.ones(2, 3)))
    assert updater.skipped == [] and not model.weight.equal(_model().weight)


def test_two_processes_sum_to_one_batch():
    """The all-reduce of two processes of 5 and 3 chunks, by hand: the first pass collects, the second has the sums."""
    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    whole = _model()
    unused = nn.Parameter(torch.ones(2))
    _loss(whole, inputs).backward()
    collected: list[torch.Tensor] = []

    def step(part: torch.Tensor, reduce) -> list[nn.Parameter]:
        model = _model()
        spare = nn.Parameter(unused.detach().clone())
        model.register_parameter("spare", spare)
        updater = Updater({"main": _sgd(model, weight_decay=0.5)}, 8, reduce=reduce)
        updater.begin(len(part))
        updater.step("main", _loss(model, part))
        return [model.weight, model.bias, spare]

    for part in inputs.split([5, 3]):
        step(part, lambda flat: collected.append(flat.clone()))
    results = [step(part, lambda flat: flat.copy_(sum(collected))) for part in inputs.split([5, 3])]
    for weight, bias, spare in results:
        torch.testing.assert_close(weight, 0.95 * whole.weight - 0.1 * whole.weight.grad)  # 0.95: the weight decay
        torch.testing.assert_close(bias, whole.bias - 0.1 * whole.bias.grad)
        assert spare.equal(unused) and spare.grad is None  # a parameter that no loss reaches stays, undecayed
    assert results[0][0].equal(results[1][0])


def test_an_overflow_of_the_scaled_loss_lowers_the_scale_and_is_told_apart():
    model = _model()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, enabled=True)
    updater = Updater({"main": _sgd(model)}, batch_size=2, scaler=lambda: scaler)
    updater.begin(2)
    updater.step("main", 100 * _loss(model, torch.ones(2, 3)))
    updater.finish()
    assert updater.skipped == ["main"] and updater.overflowed and scaler.get_scale() == 2.0**126
    assert model.weight.equal(_model().weight)
    plain = _model()
    scaler.update(2.0**10)
    for net, with_scaler in ((model, scaler), (plain, None)):
        updater = Updater({"main": _sgd(net, clip_norm=0.1)}, 2, with_scaler and (lambda: scaler))
        updater.begin(2)
        updater.step("main", _loss(net, torch.ones(2, 3)))
        updater.finish()
    assert model.weight.equal(plain.weight)  # a power of two changes no bit


def test_a_gradient_that_no_scale_makes_finite_is_no_overflow():
    model = _model()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0, growth_interval=10**6, enabled=True)
    updater = Updater({"main": _sgd(model)}, batch_size=2, scaler=lambda: scaler)
    told = []
    for _ in range(4):
        updater.begin(2)
        root = (model.weight.sum() - model.weight.sum()).sqrt()  # its slope at 0 is infinite
        updater.step("main", _loss(model, torch.ones(2, 3)) + root)
        updater.finish()
        told.append(updater.overflowed)
    assert told == [True, True, False, False]  # at scales 2, 1, 1/2, 1/4


def test_under_autocast_a_step_is_made_in_32_bits_and_the_next_forward_pass_sees_it():
    torch.manual_seed(0)
    model, head, network = nn.Linear(64, 64), nn.Linear(64, 8, bias=False), FTDNN(5, 16, 4, 8)
    inputs, features = torch.randn(16, 64), torch.randn(4, 40, 5)
    optimizers = {name: _sgd(part) for name, part in (("model", model), ("head", head), ("network", network))}
    updater = Updater(optimizers, batch_size=16)
    start = head.weight.detach().double().numpy()
    with torch.autocast("cpu", torch.bfloat16):
        updater.begin(16)
        before = model(inputs)
        with torch.autocast("cpu", enabled=False):
            loss = head(before.float()).square().mean()
        updater.step("head", loss)
        updater.step("model", before.float().square().mean())
        after = model(inputs)
        for _ in range(40):
            updater.begin(16)
            updater.step("network", network(features, None)[0].float().square().mean())
            updater.finish()
    with torch.autocast("cpu", torch.bfloat16):
        assert after.equal(model(inputs)) and not after.equal(before)
    hidden = before.detach().double().numpy()
    gradient = 2 * (hidden @ start.T).T @ hidden / (16 * 8)
    np.testing.assert_allclose(head.weight.detach().numpy(), start - 0.1 * gradient, rtol=1e-5, atol=1e-7)
    products = network.factorised[0].factor.weight.detach().flatten(1)
    products = products @ products.T if len(products) <= products.shape[1] else products.T @ products
    torch.testing.assert_close(products / products[0, 0], torch.eye(len(products)), rtol=1e-3, atol=1e-4)
