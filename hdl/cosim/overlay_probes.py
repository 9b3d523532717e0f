"""Signals below the overlay's ports that the bench looks at; light, for the bench inside the simulator."""

# where a router's decision is noted: the row list, its place below the overlay, and its ports
ROW_LIST, WHERE = "row_list", ("matrix", "npe", "router", "rows")
COLUMNS = ("gates", "executes", "row")  # of a decision
PROBES = tuple((ROW_LIST, name) for name in ("write", *COLUMNS))
