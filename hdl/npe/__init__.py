"""Function units of the NPE's lanes and reduction units, named after the modules of `skipopu.numerics` they render."""
