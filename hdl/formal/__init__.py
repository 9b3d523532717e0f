"""Proofs about the RTL for all inputs and all states: a netlist, unrolled in time, as terms for Z3."""
