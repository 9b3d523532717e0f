"""NPE: parameters of the nonlinear engine, and the latencies that its data paths have because of them."""

import math
from dataclasses import dataclass

from skipopu.spec.leaf import flag, number


@dataclass(frozen=True)
class Npe:
    """Nonlinear engine: a row tile a cycle on its way into IFM, a word of ``lanes`` results a cycle out of PSUM."""

    lanes: int = number("lane", 2, 1024)
    layer_norm: bool = flag()
    gelu: bool = flag()
    statistics_rows: int = number("row", 1, 4096)
    rotary_bytes: int = number("byte", 32, 1048576)
    add_stages: int = number("cycle", 2, 8)
    scale_stages: int = number("cycle", 1, 16)
    narrow_stages: int = number("cycle", 1, 8)
    function_stages: int = number("cycle", 1, 64)
    gamma_stages: int = number("cycle", 1, 16)
    power_stages: int = number("cycle", 1, 16)
    divide_stages: int = number("cycle", 1, 16)
    maximum_stages: int = number("cycle", 1, 16)
    reduce_stages: int = number("cycle", 1, 32)
    root_stages: int = number("cycle", 1, 16)
    route_stages: int = number("cycle", 1, 16)

    @property
    def normalize_latency(self) -> int:
        """Core cycles from a row tile and its statistics to the normalised tile: x · inverse · γ.

        With LayerNorm x − mean comes first, + β and a rounding of its own last.
        """
        if self.layer_norm:
            return 2 * (self.add_stages + self.scale_stages) + self.narrow_stages
        return self.scale_stages + self.gamma_stages

    @property
    def probability_latency(self) -> int:
        """Core cycles from a tile of raw scores and the statistics of its row to e^(score − maximum) / sum."""
        return self.power_stages + self.divide_stages

    @property
    def operand_latency(self) -> int:
        """Core cycles a tile spends in the operand lanes; the shorter function waits for the longer."""
        return max(self.normalize_latency, self.probability_latency)

    @property
    def statistics_latency(self) -> int:
        """Core cycles from a tile until the maximum and the sums of its row can be read with it taken in."""
        return self.maximum_stages + 1 + self.power_stages + self.reduce_stages + self.add_stages

    @property
    def sum_distance(self) -> int:
        """Core cycles between two tiles of one row whose squares are summed: the addition is a loop."""
        return self.add_stages

    @property
    def softmax_distance(self) -> int:
        """Core cycles between two tiles of one row of scores: its sum is scaled to the new maximum, then added to."""
        return self.scale_stages + self.add_stages

    @property
    def inverse_latency(self) -> int:
        """Core cycles from the last tile of a row until 1/√(mean square + ε) can be read.

        With LayerNorm the square of the mean is taken off before.
        """
        centre = self.scale_stages + self.add_stages if self.layer_norm else 0
        return self.statistics_latency + centre + self.scale_stages + self.add_stages + self.root_stages


def slot_levels(interleave: int) -> int:
    """Return the levels of additions that make one sum of the interleaved ones of a row."""
    return (interleave - 1).bit_length()


def word_columns(columns: int, lanes: int) -> int:
    """Return the columns of a word of results."""
    return min(columns, lanes)


def result_words(columns: int, lanes: int, heads: int = 1) -> int:
    """Return the words in which ``columns`` of a row leave; a word holds columns of one of ``heads`` packed heads."""
    return heads * math.ceil(columns // heads / lanes)
