from skipopu.sim.compile import announce_first_compilation, jit
