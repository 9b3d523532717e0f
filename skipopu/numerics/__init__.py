"""What the blocks compute, bit for bit; no timing."""
