"""How the parts of the HBM switch are joined: its state before tick 0."""

from typing import Any

import numpy as np

from skipopu.sim.dram import new_dram
from skipopu.sim.dram_state import Records
from skipopu.sim.hbm_switch_state import (
    BURST,
    CHANNEL,
    CONTROLLER,
    DATA,
    NETWORKS,
    NONE,
    OUTPUT,
    PARAMETERS,
    PORT,
    QUEUE,
    RESPONSES,
    WRITES,
    SwitchedHbm,
)
from skipopu.spec.board import Board


def new_state(board: Board) -> SwitchedHbm:
    """Return an idle switch in front of an idle HBM."""
    channels, depth = board.hbm.channels, board.hbm.queue_depth
    p = _parameters(board)
    queues = _queues(board, p)
    places = int(queues.places.sum())
    return SwitchedHbm(
        dram=new_dram(board.hbm), p=p, queues=queues, outputs=_outputs(board, p),
        waiting=np.zeros(len(NETWORKS) * int(p.minis[0]) + 1, np.int64),
        when=np.zeros(places, np.int64), what=np.zeros(places, np.int64),
        ports=_ports(channels, depth), channels=_records(channels, CHANNEL),
        bursts=_records(channels * depth, BURST), pushes=np.zeros(1, np.int64),
    )  # fmt: skip


def _records(count: int, kind: np.dtype[Any]) -> Records:
    return np.zeros(count, kind).view(np.recarray)


def _parameters(board: Board) -> Records:
    memory, switch = board.hbm, board.hbm_switch
    minis = memory.channels // switch.mini_switch_ports
    inputs = switch.mini_switch_ports + 2 * switch.links
    deliveries = len(NETWORKS) * minis * inputs
    values = {
        "minis": minis, "mini_ports": switch.mini_switch_ports, "inputs": inputs, "links": switch.links,
        "mini_shift": switch.mini_switch_ports.bit_length() - 1, "link_beats": switch.link_beats,
        "identifiers": switch.identifiers, "request_ticks": switch.local_request_ticks,
        "queue_depth": memory.queue_depth, "max_burst_beats": memory.max_burst_beats,
        "beat_bytes": memory.beat_bytes, "channel_bytes": memory.capacity_bytes,
        "total_bytes": memory.total_bytes, "deliveries": deliveries,
        "acknowledgements": deliveries + memory.channels, "writes": deliveries + 2 * memory.channels,
    }  # fmt: skip
    record = _records(1, PARAMETERS)
    for name in PARAMETERS.names or ():
        record[name] = values[name]
    return record


def _ports(count: int, depth: int) -> Records:
    ports = _records(count, PORT)
    for name in ("beat", "response", "pushed_at"):
        ports[name] = NONE
    ports.free[:, :depth] = np.arange(depth)
    return ports


def _queues(board: Board, p: Records) -> Records:
    """Queues at the ends hold all that can come; those of links are bounded, and their senders know."""
    memory, switch, minis = board.hbm, board.hbm_switch, int(p.minis[0])
    networks = (len(NETWORKS), minis, int(p.inputs[0]))
    places = np.full(networks, switch.link_buffer, np.int64)
    places[..., : switch.mini_switch_ports] = memory.queue_depth
    places[DATA, :, : switch.mini_switch_ports] = memory.queue_depth * memory.max_burst_beats
    rate = np.full(networks, switch.link_beats, np.int64)
    rate[..., : switch.mini_switch_ports] = 1
    mini = np.arange(len(NETWORKS) * minis).reshape(len(NETWORKS), minis, 1) + np.zeros(networks, np.int64)
    delivered = np.full(2 * memory.channels, switch.local_response_ticks + 1)  # one enters a tick
    queues = _records(int(p.writes[0]) + memory.channels, QUEUE)
    queues.places[:] = np.concatenate([places.ravel(), delivered, np.full(memory.channels, memory.queue_depth)])
    queues.origin[1:] = np.cumsum(queues.places)[:-1]
    queues.rate[: rate.size] = rate.ravel()
    queues.mini[:] = len(NETWORKS) * minis
    queues.mini[: mini.size] = mini.ravel()
    queues.popped_at[:] = NONE
    return queues


def _outputs(board: Board, p: Records) -> Records:
    switch, minis, ends = board.hbm_switch, int(p.minis[0]), board.hbm_switch.mini_switch_ports
    index = np.arange(p.deliveries[0]).reshape(len(NETWORKS), minis, -1)  # of an input's queue
    left, right = slice(ends, ends + switch.links), slice(ends + switch.links, None)
    queue, ticks = np.full(index.shape, CONTROLLER), np.zeros(index.shape, np.int64)
    every = np.arange(board.hbm.channels).reshape(minis, ends)
    queue[DATA, :, :ends], queue[RESPONSES, :, :ends] = p.deliveries[0] + every, p.acknowledgements[0] + every
    ticks[DATA:, :, :ends] = switch.local_response_ticks
    queue[:, 1:, left], queue[:, :-1, right] = index[:, :-1, right], index[:, 1:, left]
    for network in NETWORKS:
        for mini in range(minis - 1):
            one_way = switch.link_ticks(mini, is_request=network <= WRITES)
            ticks[network, mini, right] = ticks[network, mini + 1, left] = one_way
    outputs = _records(index.size, OUTPUT)
    outputs.queue[:], outputs.ticks[:] = queue.ravel(), ticks.ravel()
    outputs.is_link[:] = (np.arange(index.size) % index.shape[2]) >= ends
    return outputs
