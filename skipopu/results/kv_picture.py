"""The schedule of a few layers of one decode step as a picture: ports over rounds, a cell a token."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from skipopu.numerics.kv_schedule import BUFFER as FROM_BUFFER
from skipopu.numerics.kv_schedule import NONE
from skipopu.results.figure import ACCENT, BUFFER, GRID, INK, PALE, picture, svg_text
from skipopu.results.kv_rounds import Entry, LayerRounds

LINE, LONG_LINE = 46, 92  # rounds side by side, with token numbers and without; the rest goes on in the next line
GAP = 1.0  # between layers, in rounds
LEAST = 0.15  # share of a line that a layer is given room for, so that its name fits
PAGE, MARGIN = 9.4, 0.75  # inches: the width of a line of cells; names and axes above and below it
WIDEST, HIGHEST, LOWEST = 0.42, 0.28, 0.075  # inches of a cell
TALL, LONG_TALL = 6.0, 3.6  # inches of all lanes, where cells are between highest and lowest
NUMBERED = 1500  # tokens: beyond, their numbers would be too small to read
POINTS = 72  # an inch
FEW, EVERY = 7, 5  # rounds that have a tick each; rounds from tick to tick where there are more
LARGEST = 9.0  # points of a token number
AGES = ("this layer", "1 layer before", "2 layers before", "3 or more before")
COLOURS = (ACCENT, "#6aa5b8", "#a3c9d4", "#d3e6eb")
NUMBER_COLOURS = ("white", INK, INK, INK)
KEPT = 0.16  # share of a cell that marks it as kept
VALID = "#fdf7ea"


@dataclass(frozen=True)
class Lanes:
    """The rows of the picture: HBM ports, then buffer ports; interleaved map: places in the round."""

    hbm: int
    buffer: int
    spread: bool

    @property
    def count(self) -> int:
        """Of both kinds."""
        return self.hbm + self.buffer

    def of(self, place: int, entry: Entry) -> int:
        """The lane of an entry that stands at ``place`` in its round."""
        if entry.port == FROM_BUFFER:
            return self.hbm + entry.bank
        return place if self.spread else entry.port


@dataclass(frozen=True)
class Segment:
    """Rounds of one layer in one line, from round ``first`` of it on; ``left`` and ``width`` are in rounds."""

    found: LayerRounds
    first: int
    count: int
    left: float
    width: float


def schedule_picture(layers: Sequence[LayerRounds], lanes: Lanes, title: str) -> str:
    """Return ``schedule.svg``: which port delivers which token in which round, and what is kept."""
    numbered = sum(found.entries for found in layers) <= NUMBERED
    lines = list(_lines(layers, LINE if numbered else LONG_LINE))
    columns = max(line[-1].left + line[-1].width for line in lines)
    wide = min(WIDEST, PAGE / columns)
    high = min(HIGHEST, max(LOWEST, (TALL if numbered else LONG_TALL) / lanes.count))
    with picture(len(lines) * (high * lanes.count + MARGIN) + MARGIN, len(lines)) as drawn:
        numbers = _number_size(layers, wide, high) if numbered else 0.0
        for axis, line in zip(drawn.axes[:, 0], lines, strict=True):
            axis.set(xlim=(-0.6, PAGE / wide), ylim=(lanes.count - 0.4, -0.6))
            _frame(axis, lanes, line)
            for segment in line:
                _draw(axis, segment, lanes, numbers)
        drawn.figure.suptitle(title, x=0.008, ha="left", fontsize=9.5, fontweight="bold")
        handles = _legend(lanes)
        drawn.figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), columnspacing=1.2)
    return svg_text(drawn.source)


def _lines(layers: Sequence[LayerRounds], longest: int) -> Iterator[list[Segment]]:
    """Layers side by side as far as they fit; one longer than a line is cut."""
    line: list[Segment] = []
    left = 0.0
    for found in layers:
        for first in range(0, max(len(found.rounds), 1), longest):
            count = min(longest, len(found.rounds) - first)
            width = max(float(count), LEAST * longest * (2 if first else 1))  # what is continued has a longer name
            if line and left + width > longest:
                yield line
                line, left = [], 0.0
            line.append(Segment(found, first, count, left, width))
            left += width + GAP
    yield line


def _number_size(layers: Sequence[LayerRounds], wide: float, high: float) -> float:
    """Font size of token numbers that fit a cell."""
    tokens = (entry.token for found in layers for members in found.rounds for entry in members)
    digits = len(str(max(tokens, default=0)))
    return min(LARGEST, 0.62 * high * POINTS, (1 - KEPT) * wide * POINTS / (0.64 * digits + 0.3))


def _frame(axis: Any, lanes: Lanes, line: Sequence[Segment]) -> None:
    """Axes, and the names of the lanes."""
    shown = [(s, n) for s in line for n in range(s.count) if s.count <= FEW or (s.first + n) % EVERY == 0]
    axis.set_xticks([s.left + n for s, n in shown], [s.first + n for s, n in shown])
    step = 1 if lanes.count <= 16 else 4
    ticks = [*range(0, lanes.hbm, step), *range(lanes.hbm, lanes.count, step)]
    axis.set_yticks(ticks, [t if t < lanes.hbm else t - lanes.hbm for t in ticks])
    axis.tick_params(length=2, labelsize=7)
    axis.set_xlabel("round of the layer (time →)", loc="left", labelpad=1)
    _name(axis, "place in the round" if lanes.spread else "HBM port", 0, lanes.hbm)
    if lanes.buffer:
        _name(axis, "buffer port", lanes.hbm, lanes.count)
    for side in ("left", "bottom"):
        axis.spines[side].set_visible(False)


def _name(axis: Any, name: str, first: int, end: int) -> None:
    place = {"xytext": (-26, 0), "textcoords": "offset points", "ha": "center", "va": "center"}
    middle = (first + end - 1) / 2
    axis.annotate(name, (-0.6, middle), rotation=90, annotation_clip=False, fontsize=8, **place)


def _draw(axis: Any, segment: Segment, lanes: Lanes, numbers: float) -> None:
    """The rounds of a segment under the name of its layer."""
    from matplotlib.patches import Rectangle

    found, left = segment.found, segment.left - 0.5
    valid = found.valid
    if lanes.buffer and found.executed:
        look: dict[str, Any] = {"fc": VALID, "ec": "none"} if valid else {"fc": "none", "ec": GRID, "hatch": "////"}
        axis.add_patch(Rectangle((left, lanes.hbm - 0.5), segment.count, lanes.buffer, lw=0, zorder=0, **look))
    axis.plot([left, left], [-0.5, lanes.count - 0.5], color=INK, lw=1.1, zorder=3)
    if lanes.buffer:
        axis.plot([left, left + segment.width], [lanes.hbm - 0.5] * 2, color=PALE, lw=0.6, zorder=3)
    name = f"layer {found.layer}" + (" (continued)" if segment.first else "")
    state = f": {found.state}" if found.state else ""
    place = {"xytext": (1, 3), "textcoords": "offset points", "va": "bottom", "fontsize": 8}
    axis.annotate(f"{name}{state}", (left, -0.5), color=INK if valid or not lanes.buffer else PALE, **place)
    _cells(axis, segment, lanes, numbers)


def _cells(axis: Any, segment: Segment, lanes: Lanes, numbers: float) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    boxes: dict[str, list[Any]] = {}
    for n in range(segment.count):
        for place, entry in enumerate(segment.found.rounds[segment.first + n]):
            lane, x = lanes.of(place, entry), segment.left + n
            colour, ink = _colours(entry, segment.found.layer)
            boxes.setdefault(colour, []).append(Rectangle((x - 0.46, lane - 0.44), 0.92, 0.88))
            if entry.kept != NONE:
                mark = Rectangle((x + 0.46 - KEPT, lane - 0.44), KEPT, 0.88)
                boxes.setdefault(INK, []).append(mark)
            if numbers:
                axis.text(
                    x - KEPT / 2, lane, str(entry.token), ha="center", va="center_baseline", color=ink, size=numbers
                )
    for colour in sorted(boxes, key=lambda name: name == INK):  # marks lie on top
        axis.add_collection(PatchCollection(boxes[colour], facecolor=colour, linewidth=0, zorder=2))


def _colours(entry: Entry, layer: int) -> tuple[str, str]:
    """Of the cell and of the number in it."""
    if entry.port == FROM_BUFFER:
        return BUFFER, INK
    age = min(layer - entry.source, len(AGES) - 1)
    return COLOURS[age], NUMBER_COLOURS[age]


def _legend(lanes: Lanes) -> list[Any]:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, label=f"K/V of {age}") for age, colour in zip(AGES, COLOURS, strict=True)]
    if lanes.buffer:
        handles.append(Patch(color=BUFFER, label="from the buffer"))
        handles.append(Patch(color=INK, label="right edge: kept for the next layer"))
    return handles
