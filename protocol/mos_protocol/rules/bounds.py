r"""Bounds on a concept's values: finite, no larger than an honest tuning makes them.

A layer of unit gain, W0 of shape [d_out, d_in] with entries from N(0, 1 / d_in), keeps
the size of its inputs. It has ||W0||_F = sqrt(d_out), and a largest singular value of
1 + sqrt(d_out / d_in). Updates are measured against it, because admission reads the
names and shapes of the base, not its weights:

    gain(dW)      = ||B A||_F / sqrt(d_out)
    spectral(dW)  = sigma_max(B A) / (1 + sqrt(d_out / d_in))

Both from the r x r core of two thin QR factorisations: with B = Q_B R_B and
A^T = Q_A R_A, the singular values of B A are those of R_B R_A^T. The work is
O((d_out + d_in) r^2); the dense update is never formed.
"""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from jaxtyping import Float, Float32

from mos_protocol.errors import Reason
from mos_protocol.rules.agreement import Refused

DOWN: Final = ".lora_A.weight"
UP: Final = ".lora_B.weight"
"""Ends of the names of a layer's factors."""

Values = Mapping[str, Float32[np.ndarray, "..."]]


def update_singular_values(
    down: Float[np.ndarray, "rank d_in"], up: Float[np.ndarray, "d_out rank"]
) -> Float[np.ndarray, " values"]:
    """The singular values of up @ down that can differ from 0, descending, float64."""
    core_up = np.linalg.qr(up.astype(np.float64)).R
    core_down = np.linalg.qr(down.astype(np.float64).T).R
    core: np.ndarray = core_up @ core_down.T
    return np.linalg.svd(core, compute_uv=False)


def check_finite(values: Values) -> None:
    """Refuse NaN and infinity, naming the first tensor that holds one."""
    for name, array in values.items():
        if not np.isfinite(array).all():
            raise Refused(Reason.NOT_FINITE, f"{name} holds NaN or infinity")


def check_updates(values: Values, *, max_gain: float, max_spectral: float) -> None:
    """Refuse LoRA pairs whose update is larger than the bounds; values are finite."""
    for name, down in values.items():
        module = name.removesuffix(DOWN)
        if module == name:
            continue
        up = values[f"{module}{UP}"]
        fault = update_fault(down, up, max_gain=max_gain, max_spectral=max_spectral)
        if fault:
            raise Refused(Reason.OUT_OF_BOUNDS, f"{module}: {fault}")


def update_fault(
    down: Float[np.ndarray, "rank d_in"],
    up: Float[np.ndarray, "d_out rank"],
    *,
    max_gain: float,
    max_spectral: float,
) -> str:
    """Which bound the finite update up @ down exceeds, and by how much; "" for none."""
    d_out, d_in = up.shape[0], down.shape[1]
    singular = update_singular_values(down, up)
    gain = float(np.linalg.norm(singular)) / math.sqrt(d_out)
    spectral = float(singular[0]) / (1 + math.sqrt(d_out / d_in))
    if not gain <= max_gain:
        return (
            f"the update has {gain:.3g} times the norm of a layer of unit gain; at "
            f"most {max_gain:g} is admitted"
        )
    if not spectral <= max_spectral:
        return (
            f"the update stretches {spectral:.3g} times as far as a layer of unit "
            f"gain; at most {max_spectral:g} is admitted"
        )
    return ""


def check_embeddings(values: Values, *, max_rms: float) -> None:
    """Refuse V_rand and V_class, [2, D], with a row of larger root mean square."""
    for name, rows in values.items():
        if not name.startswith(("embeddings.", "concepts.")):
            continue
        squares = np.square(rows.astype(np.float64)).mean(axis=1)
        rms = math.sqrt(float(squares.max()))
        if not rms <= max_rms:
            raise Refused(
                Reason.OUT_OF_BOUNDS,
                f"{name}: root mean square {rms:.3g}; at most {max_rms:g} is admitted",
            )
