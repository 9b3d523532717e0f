"""Instruction set, memory map and compiler: trace and overlay in, program out."""
