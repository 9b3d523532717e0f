"""RTL of the overlay in Amaranth: one file a block, the names of `skipopu.sim`."""
