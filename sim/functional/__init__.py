"""Programs on real numbers, instruction by instruction, without time: the values that simulator and RTL stand for."""
