"""The image distortion model and a smooth warp with loops; one pair of images `[c, h, w]`."""

import itertools

import numpy as np


def pixel(image, row, column):
    _, height, width = image.shape
    if 0 <= row < height and 0 <= column < width:
        return image[:, row, column]
    return np.zeros(len(image))


def one_direction(a, b, window, patch, penalty):
    _, height, width = a.shape
    radius = patch // 2
    total = 0.0
    for row, column in itertools.product(range(height), range(width)):
        best = np.inf
        for dy, dx in itertools.product(range(-window, window + 1), repeat=2):
            if not (0 <= row + dy < height and 0 <= column + dx < width):
                continue
            cost = penalty * (dy * dy + dx * dx)
            for oy, ox in itertools.product(range(-radius, radius + 1), repeat=2):
                first = pixel(a, row + oy, column + ox)
                second = pixel(b, row + dy + oy, column + dx + ox)
                cost += ((first - second) ** 2).sum()
            best = min(best, cost)
        total += best
    return total


def distortion(a, b, window, patch, penalty):
    forward = one_direction(a, b, window, patch, penalty)
    return (forward + one_direction(b, a, window, patch, penalty)) / 2


def bilinear(image, row, column):
    top, left = int(np.floor(row)), int(np.floor(column))
    total = 0.0
    for y, x in itertools.product((top, top + 1), (left, left + 1)):
        total = total + (1 - abs(row - y)) * (1 - abs(column - x)) * pixel(image, y, x)
    return total


def warped_distance(a, b, steps, smoothness, step_size, penalty):
    """Distance with `a` warped; the field has x first, then y."""
    _, height, width = a.shape
    slopes = np.zeros((2, *a.shape))
    for row, column in itertools.product(range(height), range(width)):
        along_x = pixel(a, row, column + 1) - pixel(a, row, column - 1)
        along_y = pixel(a, row + 1, column) - pixel(a, row - 1, column)
        slopes[0, :, row, column], slopes[1, :, row, column] = along_x / 2, along_y / 2
    radius = int(np.ceil(3 * smoothness))
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * smoothness**2))
    weights /= weights.sum()
    field = np.zeros((2, height, width))
    best = np.inf
    for step in range(steps + 1):
        energy, gradient = 0.0, np.zeros_like(field)
        for row, column in itertools.product(range(height), range(width)):
            y, x = row + field[1, row, column], column + field[0, row, column]
            residual = bilinear(a, y, x) - b[:, row, column]
            energy += (residual**2).sum()
            for axis in (0, 1):
                gradient[axis, row, column] = (residual * bilinear(slopes[axis], y, x)).sum()
            for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                if 0 <= row + dy < height and 0 <= column + dx < width:
                    step_to = field[:, row + dy, column + dx] - field[:, row, column]
                    gradient[:, row, column] -= penalty * step_to
                    # Each pair of adjacent pixels is visited twice.
                    energy += penalty * (step_to**2).sum() / 2
        best = min(best, energy)
        if step == steps:
            break
        direction = np.zeros_like(field)
        for row, column in itertools.product(range(height), range(width)):
            for i, j in itertools.product(range(-radius, radius + 1), repeat=2):
                if 0 <= row + i < height and 0 <= column + j < width:
                    weight = weights[i + radius] * weights[j + radius]
                    direction[:, row, column] += weight * gradient[:, row + i, column + j]
        length = np.sqrt((direction**2).sum(0)).max()
        field = field - step_size * (1 - step / steps) / max(length, 1e-300) * direction
    return best


def warp(a, b, steps, smoothness, step_size, penalty):
    forward = warped_distance(a, b, steps, smoothness, step_size, penalty)
    return (forward + warped_distance(b, a, steps, smoothness, step_size, penalty)) / 2
