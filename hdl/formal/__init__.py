"""Proofs about the RTL for all inputs and all initial states: netlist, unrolled in time, as bit-vector terms for Z3."""
