"""Adam, with weight decay of the encoder only."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.adamw import adamw

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019) of `W_enc`.

    It calls torch's functional `adamw`, because instantiating torch's class imports its compiler,
    which takes more than a second.

    Args:
        params: The parameters, by name, with their gradients in `.grad`.
        lr: Learning rate.
        weight_decay: Weight decay of the encoder.
        fused: Whether to use torch's fused kernel, which only some devices have.

    Attributes:
        moments: For each parameter `step`, `exp_avg` and `exp_avg_sq`, as torch names them.
        lr: Learning rate; may be changed between steps.
        grad_scale: Divisor of the gradients, in the fused kernel.
        found_inf: 1.0 to skip the update, in the fused kernel.
    """

    def __init__(
        self, params: dict[str, Tensor], *, lr: float, weight_decay: float, fused: bool
    ) -> None:
        self.lr = lr
        self.fused = fused
        self.grad_scale: Tensor | None = None
        self.found_inf: Tensor | None = None
        self.moments = {
            name: _zero_moments(param, fused) for name, param in params.items()
        }
        self._params = params
        self._weight_decay = weight_decay

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters that have a gradient."""
        names = [name for name, p in self._params.items() if p.grad is not None]
        self._update([name for name in names if name == "W_enc"], self._weight_decay)
        self._update([name for name in names if name != "W_enc"], 0.0)

    def _update(self, names: list[str], weight_decay: float) -> None:
        params = [self._params[name] for name in names]
        moments = [self.moments[name] for name in names]
        gradients = [param.grad for param in params if param.grad is not None]
        beta1, beta2 = BETAS
        adamw(
            params,
            gradients,
            exp_avgs=[moment["exp_avg"] for moment in moments],
            exp_avg_sqs=[moment["exp_avg_sq"] for moment in moments],
            max_exp_avg_sqs=[],
            state_steps=[moment["step"] for moment in moments],
            foreach=False,
            fused=self.fused,
            grad_scale=self.grad_scale,
            found_inf=self.found_inf,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=self.lr,
            weight_decay=weight_decay,
            eps=EPSILON,
            maximize=False,
        )


def _zero_moments(param: Tensor, fused: bool) -> dict[str, Tensor]:
    """Return the moments of a parameter before its first step."""
    device = param.device if fused else torch.device("cpu")
    return {
        "step": torch.zeros((), dtype=torch.float32, device=device),
        "exp_avg": torch.zeros_like(param, memory_format=torch.preserve_format),
        "exp_avg_sq": torch.zeros_like(param, memory_format=torch.preserve_format),
    }
