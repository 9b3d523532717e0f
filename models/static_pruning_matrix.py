"""Matrices as a cut stores them: whole, as two low-rank factors, or two weights of every four."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from skipopu.spec.error import SpecError


class Plain(nn.Module):
    """A projection whose matrix is stored whole."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def dense(self) -> Tensor:
        """Return the matrix [N, K]."""
        weight: Tensor = self.linear.weight
        return weight

    def forward(self, x: Tensor) -> Tensor:
        """Project ``x`` [..., K]."""
        out: Tensor = self.linear(x)
        return out


class LowRank(nn.Module):
    """K → rank → N: two products in place of one."""

    def __init__(self, inner: Tensor, outer: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.inner, self.outer, self.bias = nn.Parameter(inner), nn.Parameter(outer), bias

    @classmethod
    def of(cls, linear: nn.Linear, rank: int) -> "LowRank":
        """Factor a matrix by its ``rank`` largest singular values; more than it has change nothing."""
        u, s, v = torch.linalg.svd(linear.weight.detach(), full_matrices=False)
        root = s[:rank].sqrt()
        return cls(root[:, None] * v[:rank], u[:, :rank] * root, linear.bias)

    def dense(self) -> Tensor:
        """Return the product [N, K]."""
        return self.outer @ self.inner

    def forward(self, x: Tensor) -> Tensor:
        """Project ``x`` [..., K] through both factors."""
        return functional.linear(functional.linear(x, self.inner), self.outer, self.bias)


class TwoOfFour(nn.Module):
    """N × K/2 weights and where each stands: the two of larger magnitude of every four along K."""

    places: Tensor

    def __init__(self, values: Tensor, places: Tensor, columns: int, bias: Tensor | None) -> None:
        super().__init__()
        self.values, self.columns, self.bias = nn.Parameter(values), columns, bias
        self.register_buffer("places", places)

    @classmethod
    def of(cls, linear: nn.Linear) -> "TwoOfFour":
        """Compress a matrix; SpecError where its columns are no multiple of four."""
        weight = linear.weight.detach()
        n, k = weight.shape
        if k % 4:
            raise SpecError(f"2:4 of a matrix with {k} columns; must be a multiple of 4; nearest: {k + -k % 4}")
        inside = weight.unflatten(1, (-1, 4)).abs().topk(2, dim=-1).indices.sort(-1).values
        places = (inside + 4 * torch.arange(k // 4)[:, None]).reshape(n, k // 2)
        return cls(weight.gather(1, places), places, k, linear.bias)

    def dense(self) -> Tensor:
        """Return the matrix [N, K] with its zeros."""
        return torch.zeros(len(self.values), self.columns, dtype=self.values.dtype).scatter(1, self.places, self.values)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply the kept weights alone: each output takes its own half of ``x`` [..., K]."""
        out = (x[..., self.places] * self.values).sum(-1)
        return out if self.bias is None else out + self.bias
