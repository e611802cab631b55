"""The interior-point method against SciPy's general solver, and its gradients."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from graphfew.errors import NumericalError
from graphfew.nn import simplex_program
from graphfew.nn.simplex_program import minimize_over_simplices


def problem(seed, tasks, rows, classes, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(tasks, rows, 6, generator=generator, dtype=torch.float64)
    hessian = x @ x.mT + 0.3 * torch.eye(rows, dtype=torch.float64)
    linear = torch.randn(tasks, rows, classes, generator=generator, dtype=torch.float64)
    return hessian, spread * linear


def scipy_solution(hessian, linear):
    rows, classes = linear.shape

    def value(flat):
        p = flat.reshape(rows, classes)
        return 0.5 * np.sum(p * (hessian @ p)) + np.sum(linear * p)

    def gradient(flat):
        return (hessian @ flat.reshape(rows, classes) + linear).ravel()

    row_sums = np.kron(np.eye(rows), np.ones(classes))
    result = minimize(
        value,
        np.full(rows * classes, 1 / classes),
        jac=gradient,
        method="SLSQP",
        bounds=[(0, 1)] * (rows * classes),
        constraints={"type": "eq", "fun": lambda v: row_sums @ v - 1, "jac": lambda v: row_sums},
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    return result.x.reshape(rows, classes)


@pytest.mark.parametrize("spread", [0.1, 3.0])
def test_solution_matches_scipy(spread):
    hessian, linear = problem(0, 3, 5, 3, spread)
    solution = minimize_over_simplices(hessian, linear)
    for task in range(3):
        expected = scipy_solution(hessian[task].numpy(), linear[task].numpy())
        assert np.abs(solution[task].numpy() - expected).max() < 1e-6


@pytest.mark.parametrize("spread", [1e-3, 1.0, 1e3])
def test_optimality_conditions(spread):
    """The gradient of a row is smallest where its probability is positive."""
    hessian, linear = problem(1, 4, 12, 5, spread)
    solution = minimize_over_simplices(hessian, linear)
    gradient = hessian @ solution + linear
    excess = gradient - gradient.amin(2, keepdim=True)
    assert solution.min() >= 0
    assert (solution.sum(2) - 1).abs().max() < 1e-10
    assert (solution * excess).max() < 1e-8 * max(1, spread)


def test_tasks_do_not_influence_each_other():
    hessian, linear = problem(2, 3, 6, 4)
    linear[1] *= 100
    together = minimize_over_simplices(hessian, linear)
    for task in range(3):
        alone = minimize_over_simplices(hessian[task, None], linear[task, None])
        torch.testing.assert_close(together[task, None], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_gradients(spread):
    hessian, linear = problem(3, 2, 4, 3, spread)

    def solve(matrix, values):
        return minimize_over_simplices((matrix + matrix.mT) / 2, values)

    leaves = hessian.requires_grad_(), linear.requires_grad_()
    assert torch.autograd.gradcheck(solve, leaves, atol=1e-5, fast_mode=True)


def test_missing_convergence_raises(monkeypatch):
    monkeypatch.setattr(simplex_program, "MAX_ITERATIONS", 2)
    with pytest.raises(NumericalError, match="did not converge in 2 iterations for 1 of 1 tasks"):
        minimize_over_simplices(*problem(4, 1, 6, 3))
