"""Optimisers against their formulas, written out with numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from cristae.recipe.load import parse_recipe
from cristae.recipe.text import config_to_yaml, recipe_schema
from cristae.training.config import TrainingConfig
from cristae.training.optimizers import SGD, Adam, AdamW, OptimizerConfig, RAdam
from cristae.training.schedule import LearningRate, Linear

BETAS, EPS = (0.9, 0.999), 1e-7
SCALES = np.array([1.0, 0.1, 3.0, 0.01, 10.0])


def gradient(weights: np.ndarray, step: int) -> np.ndarray:
    """Of a bowl around 0.08 that is shaken from step to step."""
    noise: np.ndarray = np.random.default_rng(step).normal(size=weights.shape)
    return SCALES * (weights - 0.08 + 0.05 * noise)


def trained(config: OptimizerConfig, rates: list[float], weight_decay: float = 0.0) -> np.ndarray:
    """The weights, float64, after one step with each rate."""
    weights = nn.Parameter(torch.zeros(len(SCALES), dtype=torch.float64))
    optimizer = config.build([{"params": [weights], "lr": rates[0], "weight_decay": weight_decay}])
    for step, rate in enumerate(rates, start=1):
        optimizer.param_groups[0]["lr"] = rate
        weights.grad = torch.from_numpy(gradient(weights.detach().numpy(), step))
        optimizer.step()
    return weights.detach().numpy()


def radam(rates: list[float], *, eps_before_correction: bool, weight_decay: float = 0.0) -> np.ndarray:
    """EM-stellar, section 5.3: rectified where rho_t >= 5, else the corrected mean alone."""
    weights, m, v = (np.zeros(len(SCALES)) for _ in range(3))
    b1, b2 = BETAS
    rho_inf = 2 / (1 - b2) - 1
    for t, rate in enumerate(rates, start=1):
        g = gradient(weights, t)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        weights = weights * (1 - rate * weight_decay)
        step = m / (1 - b1**t)
        rho = rho_inf - 2 * t * b2**t / (1 - b2**t)
        assert (rho >= 5) == (t > 5)
        if rho >= 5:
            r = np.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
            correction = np.sqrt(1 - b2**t)
            root = (np.sqrt(v) + EPS) / correction if eps_before_correction else np.sqrt(v) / correction + EPS
            step = r * step / root
        weights = weights - rate * step
    return weights


def em_stellar_rates(steps: int) -> list[float]:
    rate = LearningRate(Linear(warmup=0.1, updates=20_000, truncated=True), 1e-3, steps)
    return [rate.at(update) for update in range(steps)]


def test_radam_is_em_stellars() -> None:
    """EM-stellar, section 5.3, its remark included: torch's place of eps changes weights of 0.08 by 1e-6 at most."""
    rates = em_stellar_rates(3_000)
    ours = trained(RAdam(), rates)
    assert np.abs(ours).max() > 0.05
    np.testing.assert_allclose(ours, radam(rates, eps_before_correction=True), rtol=0, atol=1e-13)
    keras = radam(rates, eps_before_correction=False)
    assert 0 < np.abs(ours - keras).max() < 2e-6


@pytest.mark.parametrize("steps", [1, 5, 6, 7])
def test_radam_rectifies_from_the_sixth_step(steps: int) -> None:
    """EM-stellar, section 5.3: rho_5 = 4.996, so the first five steps go along the mean alone."""
    rates = [1e-3] * steps
    np.testing.assert_allclose(trained(RAdam(), rates), radam(rates, eps_before_correction=True), rtol=0, atol=1e-15)


def test_radam_decays_apart_from_the_gradient() -> None:
    rates = [1e-2] * 40
    expected = radam(rates, eps_before_correction=True, weight_decay=0.1)
    np.testing.assert_allclose(trained(RAdam(), rates, 0.1), expected, rtol=0, atol=1e-13)
    assert np.abs(expected - radam(rates, eps_before_correction=True)).max() > 1e-4


@pytest.mark.parametrize(
    ("config", "betas", "eps"),
    [
        (Adam(), (0.9, 0.999), 1e-7),
        (AdamW(), (0.9, 0.999), 1e-8),
        (Adam(betas=(0.968377, 0.992057)), (0.968377, 0.992057), 1e-7),
    ],
)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_by_its_formula(config: Adam | AdamW, betas: tuple[float, float], eps: float, weight_decay: float) -> None:
    """Kingma and Ba, algorithm 1; only AdamW decays. The last pair is Guay et al.'s, section 10."""
    steps, rate = 60, 1e-2
    weights, m, v = (np.zeros(len(SCALES)) for _ in range(3))
    for t in range(1, steps + 1):
        g = gradient(weights, t)
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        if isinstance(config, AdamW):
            weights = weights * (1 - rate * weight_decay)
        weights = weights - rate * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    np.testing.assert_allclose(trained(config, [rate] * steps, weight_decay), weights, rtol=0, atol=1e-14)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_cdeep3ms_where_the_rate_is_constant(nesterov: bool) -> None:
    """EM-stellar, section 6: momentum 0.9, L2 5e-4 as a part of the gradient; the rate is in the velocity."""
    weights, velocity, rate = np.zeros(len(SCALES)), np.zeros(len(SCALES)), 0.01
    for t in range(1, 41):
        g = gradient(weights, t) + 5e-4 * weights
        velocity = 0.9 * velocity + rate * g
        weights = weights - (0.9 * velocity + rate * g if nesterov else velocity)
    ours = trained(SGD(nesterov=nesterov), [rate] * 40, 5e-4)
    np.testing.assert_allclose(ours, weights, rtol=0, atol=1e-14)


def test_em_stellars_sgd_has_no_momentum() -> None:
    """EM-stellar, section 5.3."""
    weights = np.zeros(len(SCALES))
    for t in range(1, 11):
        weights = weights - 1e-2 * gradient(weights, t)
    np.testing.assert_allclose(trained(SGD(momentum=0), [1e-2] * 10), weights, rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", ["adam", "adamw", "radam", "sgd"])
def test_a_name_alone_stands_for_its_defaults(name: str) -> None:
    text = "{{name: x, data: {{}}, model: {{name: unet_bn}}, training: {{optimizer: {}}}}}"
    short, long = parse_recipe(text.format(name)), parse_recipe(text.format(f"{{name: {name}}}"))
    assert short == long
    assert f"optimizer:\n  name: {name}\n" in config_to_yaml(short.training)


def test_the_schema_takes_both_forms() -> None:
    schema = recipe_schema()
    (part, word) = schema["$defs"]["TrainingConfig"]["properties"]["optimizer"]["anyOf"]
    assert set(part["discriminator"]["mapping"]) == set(word["enum"]) == {"adam", "adamw", "radam", "sgd"}


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(ValueError, match="needs a momentum"):
        TrainingConfig.model_validate({"optimizer": {"name": "sgd", "momentum": 0, "nesterov": True}})
