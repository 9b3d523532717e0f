"""Parameters of the overlay, the board and the model, each with its provenance."""
