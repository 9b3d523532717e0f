"""SCORES and CONTEXT: queries times K, probabilities times V, round by round; softmax in passes of its own."""

from collections.abc import Iterator

import numpy as np

from skipopu.numerics.arithmetic import arithmetic_of
from skipopu.numerics.matmul import matmul
from skipopu.numerics.result_path import hide, numbers, row_words
from skipopu.numerics.softmax import NEGATIVE_INFINITY, SoftmaxState, add_scores, probabilities, softmax_state
from skipopu.sim.functional.cache import PAIR, heads
from skipopu.sim.functional.results import ONE, write_columns
from skipopu.sim.functional.state import Bits, Instruction, Ints, Round, State, listed, places, write


def run_scores(s: State, f: Instruction) -> None:
    """Raw scores of every round, a tile a query head; their running statistics where softmax is fused."""
    rows = listed(s, f)
    if len(rows) == 0:
        return
    rounds = s.kv.popleft()
    s.rounds = len(rounds)
    states = s.scores[f["half"]]
    for number, one in enumerate(rounds):
        keys = heads(s, f, one.numbers, 0)
        for of_round, query_head, pair, head in query_heads(f):
            found = _scores(s, f, one, keys[pair, head], query_head, rows)
            at = tiles_of_round(f, f["target"], number, of_round, len(rows))
            write(s, at, found[:, : s.dot] if found.shape[1] >= s.dot else _filled(found, s.dot))
            if f["normalize"]:
                if number == 0:
                    states[of_round] = softmax_state(len(rows))
                _take_words(s, states[of_round], found)


def query_heads(f: Instruction) -> Iterator[tuple[int, int, int, int]]:
    """Yield (tile of a round, query head, pair, head of the pair); both count from the instruction's places."""
    for pair in range(f["pairs"]):
        for head in range(PAIR):
            for member in range(f["group"]):
                number = (pair * PAIR + head) * f["group"] + member
                yield number, number, pair, head


def tiles_of_round(f: Instruction, first: int, number: int, of_round: int, executed: int) -> Ints:
    """Where the rows of a round's tile lie."""
    tile = number * f["pairs"] * PAIR * f["group"] + of_round
    return first + tile * f["rows"] + np.arange(executed)


def _scores(s: State, f: Instruction, one: Round, keys: Bits, query_head: int, rows: Ints) -> Bits:
    """Return scores [rows, half of the columns] of one head: −∞ without a token and for tokens after the query's."""
    first = f["source"] + query_head * f["k_tiles"] * f["rows"]
    q = s.buffer[places(first, f["k_tiles"], np.arange(len(rows)), f["rows"])].transpose(1, 0, 2)
    totals = matmul(q.reshape(len(rows), -1), keys, arithmetic_of(s.overlay), s.dot).view(np.uint32)
    values = numbers(totals, np.full_like(totals, s.image.settings.score_scale))
    query = f["tokens"] - f["rows"] + rows
    found = np.full((len(rows), s.overlay.pe_array.columns // 2), NEGATIVE_INFINITY, np.uint16)
    found[:, one.places] = hide(values, one.tokens <= query[:, None])
    return found


def _filled(found: Bits, width: int) -> Bits:
    return np.pad(found, ((0, 0), (0, width - found.shape[1])), constant_values=NEGATIVE_INFINITY)


def _take_words(s: State, state: SoftmaxState, found: Bits) -> None:
    """Statistics take the words in which a row leaves, one after the other."""
    words = -(-found.shape[1] // s.lanes)
    for word in row_words(_filled(found, words * s.lanes), s.lanes).transpose(1, 0, 2):
        add_scores(state, np.ascontiguousarray(word))


def run_context(s: State, f: Instruction) -> None:
    """Probabilities, made on the way from raw scores where softmax is fused, times V; a round is a K-tile."""
    rows = listed(s, f)
    if len(rows) == 0:
        return
    rounds = s.kv.popleft()
    values = [heads(s, f, one.numbers, 1) for one in rounds]
    for of_round, query_head, pair, head in query_heads(f):
        tiles = [s.buffer[tiles_of_round(f, f["source"], number, of_round, len(rows))] for number in range(len(rounds))]
        if f["normalize"]:
            tiles = [probabilities(s.scores[f["half"]][of_round], tile) for tile in tiles]
        weights = np.zeros((len(rounds), s.dot, f["k_tiles"] * s.dot), np.uint16)
        for number, (one, v) in enumerate(zip(rounds, values, strict=True)):
            weights[number, one.places] = v[pair, head]
        flat = np.ascontiguousarray(weights.reshape(-1, weights.shape[2]).T)
        totals = matmul(np.concatenate(tiles, axis=1), flat, arithmetic_of(s.overlay), s.dot).view(np.uint32)
        found = numbers(totals, np.full_like(totals, ONE))
        first = f["target"] + query_head * f["k_tiles"] * f["rows"]
        write_columns(s, f, first, np.arange(len(rows)), found)


def score_statistics(s: State, f: Instruction) -> None:
    """Statistics of raw scores in the global buffer, tile after tile of each row."""
    executed = len(listed(s, f))
    for of_round, *_ in query_heads(f) if executed else ():
        state = s.scores[f["half"]][of_round] = softmax_state(executed)
        for number in range(s.rounds):
            add_scores(state, s.buffer[tiles_of_round(f, f["source"], number, of_round, executed)])


def score_probabilities(s: State, f: Instruction) -> None:
    """Probabilities of raw scores."""
    executed = len(listed(s, f))
    for of_round, *_ in query_heads(f) if executed else ():
        for number in range(s.rounds):
            tile = s.buffer[tiles_of_round(f, f["source"], number, of_round, executed)]
            at = tiles_of_round(f, f["target"], number, of_round, executed)
            write(s, at, probabilities(s.scores[f["half"]][of_round], tile))
