"""The cycle-accurate model of the overlay: one file a block."""
