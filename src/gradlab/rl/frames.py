"""Frames of a game as the network of Mnih et al. (2015) sees them.

"Human-level control through deep reinforcement learning", Methods, "Preprocessing" and "Training
details": an action is repeated for 4 frames; of the last two frames the brighter pixels are taken
(the console's sprites flicker); grey, 84x84; an episode begins with up to 30 no-op actions. Four of
these frames make an observation: `gradlab.rl.environments` and the replay memory stack them.

Departure: grey levels are the console's own or the luminance of ITU-R 601, and the picture is
reduced by area averages (Pillow's box filter).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from gradlab.errors import UserError

SIDE = 84
STACK = 4
SKIP = 4
MOST_NO_OPS = 30
SMALLEST = 36
"""Pixels a side below which the three convolutions would leave nothing."""


def preprocessed(gym: Any, env: Any, name: str) -> Any:
    """The environment with observations of uint8 84 84; UserError when its images do not do."""
    shape = env.observation_space.shape
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
        raise UserError(f"{name}: expected images of H W, H W 1 or H W 3 (uint8), found {shape}")
    if min(shape[:2]) < SMALLEST:
        raise UserError(
            f"{name}: images of {shape[0]}x{shape[1]} pixels are too small for the network of "
            f"Mnih et al., which looks at {SIDE}x{SIDE}: expected at least {SMALLEST}x{SMALLEST}. "
            "Choose an environment with larger images, or give it vectors "
            "(gymnasium.wrappers.FlattenObservation)"
        )

    class Preprocessed(gym.Wrapper):  # type: ignore[misc]
        """Skips frames, takes the brighter of two, makes grey and small."""

        def __init__(self, env: Any) -> None:
            super().__init__(env)
            self.observation_space = gym.spaces.Box(0, 255, (SIDE, SIDE), np.uint8)
            self.lives = 0

        def reset(self, **given: Any) -> Any:
            seen, info = self.env.reset(**given)
            if hasattr(self.unwrapped, "ale"):
                for _ in range(int(self.unwrapped.np_random.integers(MOST_NO_OPS + 1))):
                    seen, _, terminated, truncated, info = self.env.step(0)
                    if terminated or truncated:
                        seen, info = self.env.reset()
            self.lives = int(info.get("lives", 0))
            return grey(seen), info

        def step(self, action: Any) -> Any:
            total, before = 0.0, None
            for number in range(SKIP):
                seen, reward, terminated, truncated, info = self.env.step(action)
                total += float(reward)
                if terminated or truncated:
                    break
                if number == SKIP - 2:
                    before = np.array(seen)
            if before is not None:
                seen = np.maximum(before, seen)
            lives = int(info.get("lives", 0))
            info = {**info, "life_lost": 0 < lives < self.lives}
            self.lives = lives
            return grey(seen), total, terminated, truncated, info

    return Preprocessed(env)


def grey(image: np.ndarray) -> np.ndarray:
    """uint8 H W or H W C as grey uint8 84 84."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1:] == (1,) else image)
    return np.asarray(picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))
