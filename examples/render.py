"""Renders `desk.jpg`, the photograph that `make run` looks at: spheres on a checkered desk under two lamps (ray traced)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT, SAMPLES = 1920, 1080, 2
SPHERES = (
    ((-2.3, 1.0, 6.5), 1.0, (0.85, 0.25, 0.2), 0.25),
    ((0.2, 0.8, 5.0), 0.8, (0.95, 0.85, 0.7), 0.55),
    ((2.2, 1.3, 7.5), 1.3, (0.2, 0.45, 0.85), 0.3),
    ((-0.9, 0.35, 3.6), 0.35, (0.3, 0.75, 0.35), 0.15),
    ((1.3, 0.3, 3.4), 0.3, (0.9, 0.6, 0.15), 0.4),
)
LAMPS = (((-4.0, 6.0, 1.0), 0.8), ((5.0, 5.0, 2.0), 0.45))


def hit(origin: np.ndarray, ray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the nearest surface and its index (-1: none, len(SPHERES): the desk)."""
    near = np.full(ray.shape[:-1], np.inf)
    what = np.full(ray.shape[:-1], -1)
    for index, (centre, radius, _, _) in enumerate(SPHERES):
        offset = origin - np.array(centre)
        b = (ray * offset).sum(-1)
        root = b**2 - (offset**2).sum(-1) + radius**2
        distance = -b - np.sqrt(np.maximum(root, 0.0))
        closer = (root > 0) & (distance > 1e-3) & (distance < near)
        near, what = np.where(closer, distance, near), np.where(closer, index, what)
    down = np.where(np.abs(ray[..., 1]) > 1e-9, -origin[..., 1] / np.where(ray[..., 1] == 0, 1e-9, ray[..., 1]), np.inf)
    closer = (down > 1e-3) & (down < near)
    return np.where(closer, down, near), np.where(closer, len(SPHERES), what)


def colour(origin: np.ndarray, ray: np.ndarray, depth: int) -> np.ndarray:
    """Light that comes back along the rays."""
    near, what = hit(origin, ray)
    sky = np.stack([0.55 + 0.2 * ray[..., 1], 0.65 + 0.2 * ray[..., 1], 0.8 + 0.15 * ray[..., 1]], -1)
    point = origin + ray * np.where(np.isfinite(near), near, 0.0)[..., None]
    normal = np.zeros_like(ray)
    normal[..., 1] = 1.0
    squares = (np.floor(point[..., 0]) + np.floor(point[..., 2])) % 2
    grain = 0.06 * np.sin(point[..., 0] * 17.0 + 2.0 * np.sin(point[..., 2] * 5.0))
    base = np.stack([0.55 + 0.25 * squares + grain, 0.4 + 0.25 * squares + grain, 0.28 + 0.22 * squares + grain], -1)
    shine = np.full(near.shape, 0.12)
    for index, (centre, radius, tint, gloss) in enumerate(SPHERES):
        here = (what == index)[..., None]
        normal = np.where(here, (point - np.array(centre)) / radius, normal)
        base = np.where(here, np.array(tint), base)
        shine = np.where(here[..., 0], gloss, shine)
    lit = np.full(near.shape, 0.18)
    for place, power in LAMPS:
        towards = np.array(place) - point
        length = np.linalg.norm(towards, axis=-1, keepdims=True)
        towards = towards / length
        shadow, _ = hit(point + normal * 1e-3, towards)
        lit += power * np.maximum((normal * towards).sum(-1), 0.0) * (shadow > length[..., 0])
    out = base * lit[..., None]
    if depth:
        mirrored = ray - 2.0 * (ray * normal).sum(-1, keepdims=True) * normal
        out = out * (1.0 - shine[..., None]) + colour(point + normal * 1e-3, mirrored, depth - 1) * shine[..., None]
    fog = np.exp(-0.03 * np.where(np.isfinite(near), near, 0.0))[..., None]
    return np.where((what >= 0)[..., None], out * fog + sky * (1.0 - fog), sky)


def main() -> None:
    """Render and save beside this file."""
    y, x = np.mgrid[0 : HEIGHT * SAMPLES, 0 : WIDTH * SAMPLES]
    ray = np.stack([(x / SAMPLES - WIDTH / 2) / HEIGHT, -(y / SAMPLES - HEIGHT / 2) / HEIGHT - 0.12, np.ones(x.shape)], -1)
    ray = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    rows = [colour(np.broadcast_to([0.0, 1.7, 0.0], part.shape), part, 2) for part in np.array_split(ray, 24)]
    light = np.concatenate(rows).reshape(HEIGHT, SAMPLES, WIDTH, SAMPLES, 3).mean((1, 3))
    noise = np.random.default_rng(7).normal(0.0, 0.006, light.shape)
    pixels = np.clip((np.clip(light, 0, 1) ** (1 / 2.2) + noise) * 255, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(Path(__file__).with_name("desk.jpg"), quality=82)


if __name__ == "__main__":
    main()
