"""Operations of the NPE's operand side as the words that its bench puts on the ports."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.npe_operands_expected import settings
from skipopu.hdl.cosim.npe_operands_stimulus import Operation
from skipopu.hdl.npe.operand_operation import OPERAND_OPERATION, Mode, Statistics
from skipopu.hdl.tile_loop import TILE_BITS
from skipopu.spec.overlay import Overlay


def inputs_of(work: Sequence[Operation], overlay: Overlay) -> dict[str, Any]:
    """Return the arrays of the bench: operations, requests, what lies in the global buffer and the constants."""
    tiles = {id(o.rows): o.rows.tiles for o in work}
    places = dict(zip(tiles, _begins([len(t) * t.shape[1] for t in tiles.values()]), strict=True))
    constants = _begins([o.depth for o in work])
    words = [_operation_word(o) for o in work]
    size = OPERAND_OPERATION.size // 8 + 1
    return {
        "operations": np.frombuffer(b"".join(w.to_bytes(size, "little") for w in words), np.uint8).reshape(-1, size),
        "settings": np.array(_settings(work, [places[id(o.rows)] for o in work], constants), np.int64),
        "requests": np.concatenate([np.tile(requests(o), o.blocks) for o in work]),
        "ends": np.cumsum([o.requests for o in work]),
        "tiles": _bytes(np.concatenate([t.reshape(-1, t.shape[-1]) for t in tiles.values()])),
        "constants": _bytes(np.concatenate([_constants(o, overlay) for o in work])),
    }


def requests(operation: Operation) -> NDArray[np.int64]:
    """Return the payloads of the requests of a column block."""
    tile, row = np.divmod(np.arange(operation.requests // operation.blocks), operation.rows.tiles.shape[1])
    payloads: NDArray[np.int64] = tile | row << TILE_BITS
    return payloads


def listed(rows: Any, row: Any) -> Any:
    """Return the row of the block at a place of the list: here the last one first."""
    return rows - 1 - row


def statistics_rows(work: Sequence[Operation]) -> NDArray[np.int64]:
    """Return the row of the statistics that every request belongs to: of scores head · rows + row, else by the list."""
    return np.concatenate([np.tile(_statistics_rows(o), o.blocks) for o in work])


def _statistics_rows(o: Operation) -> NDArray[np.int64]:
    tile, row = np.divmod(np.arange(o.requests // o.blocks), o.rows.tiles.shape[1])
    scores = o.statistics == Statistics.SCORES or o.mode == Mode.PROBABILITY
    row = row if scores else listed(o.rows.tiles.shape[1], row)
    found: NDArray[np.int64] = row + scores * (tile // o.parts % o.rows.heads) * o.rows.tiles.shape[1]
    return found


def write_backs(work: Sequence[Operation]) -> list[int]:
    """Return the payloads of all write-backs."""
    return [payload for o in work if o.write_back for payload in requests(o).tolist()]


def _begins(lengths: Sequence[int]) -> list[int]:
    return np.cumsum([0, *lengths])[:-1].tolist()  # type: ignore[no-any-return]


def _operation_word(o: Operation) -> int:
    fields = {
        "mode": o.mode, "first_block_only": o.first_block_only, "write_back": o.write_back,
        "statistics": o.statistics, "rows": o.rows.tiles.shape[1], "depth": o.depth, "heads": o.rows.heads,
        "parts": o.parts, "bank": o.rows.bank,
    }  # fmt: skip
    return int(OPERAND_OPERATION.const({name: int(value) for name, value in fields.items()}).as_bits())


def _settings(work: Sequence[Operation], places: Sequence[int], constants: Sequence[int]) -> list[list[int]]:
    """1/D and ε, which stay until other rows are summed; then what the bench's global buffer must know."""
    found, numbers = [], (0, 0)
    for index, (o, place, constant) in enumerate(zip(work, places, constants, strict=True)):
        if o.statistics == Statistics.SUMS:
            numbers = settings(index, o.rows)
        found.append([*numbers, place, o.rows.tiles.shape[1], o.parts, constant])
    return found


def _constants(o: Operation, overlay: Overlay) -> NDArray[np.uint16]:
    return np.concatenate([o.gamma, o.beta], axis=1) if overlay.npe.layer_norm else o.gamma


def _bytes(words: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(words).astype("<u2").view(np.uint8)
