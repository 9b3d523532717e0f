"""Benches that run the RTL in Verilator under cocotb and hold it against `skipopu.numerics` and `skipopu.sim`."""
