"""What the KV scheduler's own bench assumes: a token that is read from the invariance buffer is in it.

It is so because what a layer keeps, the next one reads: the bitmask row that said "not executed there" is that layer's
row. ``promised`` is that row, as the last V operation saw it; ``serves`` : the buffer may be used.
"""

from dataclasses import replace

from skipopu.hdl.formal.kv_scheduler_claims import READ, scheduler_bench
from skipopu.hdl.formal.kv_scheduler_follow import bits_of
from skipopu.hdl.formal.smtbmc_bench import Bench
from skipopu.hdl.kv_layout import KvShape, operation_layout, settings_layout
from skipopu.hdl.kv_token_table import token_layout

LAYERS = """
  reg serves, unsaved, phase_now;
  reg [{tokens}-1:0] executes_next, promised;
  wire reuse = settings[{reuse}];
  wire scanned = dut.scan__valid;
  wire [7:0] at = scanned ? dut.scan.token : tokens;
  wire [{tokens}-1:0] visible = {{{visible}}}, held_0 = {{{held_0}}}, held_1 = {{{held_1}}};
  wire [{tokens}-1:0] kept = phase_now ? held_1 : held_0, keeping = phase_now ? held_0 : held_1;
  wire [7:0] all_kept = {all_kept}, still_kept = {still_kept}, newly_kept = {newly_kept};
  always @($global_clock) begin
    if (start) begin
      serves <= usable & !operation[{value}] & operation[{executed}];
      unsaved <= operation[{value}] & operation[{decode}] & operation[{executed}];
    end else if (save) begin
      serves <= 1;
      unsaved <= 0;
      phase_now <= !phase_now;
      promised <= executes_next;
    end
    if (dut.scan__advance) executes_next[dut.scan.token] <= scan_bits[1];
    if (rst) {{serves, unsaved, phase_now}} <= 0;
  end
"""


def ring_bench(shape: KvShape) -> Bench:
    """Return the bench of a scheduler that has banks."""
    own = scheduler_bench(shape)
    assumed = {sentence: condition for sentence, condition in own.assumed.items() if sentence != READ}
    claims = {READ: own.assumed[READ], **_holds()}
    return replace(
        own, name=f"ring of the {own.name}", body=own.body + _layers(shape), claims=claims,
        assumed=assumed | _protocol(shape), invariants=(*own.claims.values(), *own.invariants, *_held(shape)),
        reached={"a token is read from the ring": "dut.ring.read"}, search=20,
    )  # fmt: skip


def _layers(shape: KvShape) -> str:
    operation, word = operation_layout(shape), token_layout(shape)
    places = {name: operation[name].offset for name in ("value", "executed", "decode")}
    fields = {"visible": word["visible"].offset, "held_0": word["held"].offset, "held_1": word["held"].offset + 1}
    tokens = range(shape.tokens)
    words = {
        name: ", ".join(f"dut.scan.token_table.memory[{token}][{bit}]" for token in reversed(tokens))
        for name, bit in fields.items()
    }
    sums = {"all_kept": "kept[{0}] & tokens > {0}", "still_kept": "kept[{0}] & at <= {0} & tokens > {0}",
            "newly_kept": "keeping[{0}] & at > {0}"}  # fmt: skip
    counts = {name: " + ".join(f"({each.format(token)})" for token in tokens) for name, each in sums.items()}
    counts = {name: f"8'd0 + {count}" for name, count in counts.items()}
    return LAYERS.format(tokens=shape.tokens, reuse=settings_layout(shape)["reuse"].offset, **places, **words, **counts)


def _protocol(shape: KvShape) -> dict[str, str]:
    operation = operation_layout(shape)
    decode, first = (operation[name].offset for name in ("decode", "first_layer"))
    same = f"operation[{bits_of(operation['tokens'])}] == tokens"
    return {
        "the buffer is used in the layer after the one that filled it":
            f"!(start && usable) || (serves && operation[{decode}] && !operation[{first}] && {same})",
        "where it is used, the tokens execute of which the layer before was told so":
            "!(scanned && usable) || scan_bits[0] == promised[dut.scan.token]",
        "the ring is saved after V": "!save || (unsaved && !busy && !start)",
        "the phase changes then": "phase == phase_now",
    }  # fmt: skip


def _holds() -> dict[str, str]:
    return {
        "the ring holds the tokens that the table says it holds":
            "!(busy && executed) || dut.ring.held == newly_kept + (usable_run ? still_kept : 0)",
    }  # fmt: skip


def _held(shape: KvShape) -> list[str]:
    """The ring holds what the table says is kept; that is visible, and does not execute in the layer that reads it."""
    first = f"operation_run[{operation_layout(shape)['first_layer'].offset}]"
    last = bits_of(operation_layout(shape)["tokens"])
    tokens = range(shape.tokens)
    good = [f"(!kept[{token}] || (visible[{token}] && !promised[{token}] && reuse))" for token in tokens]
    fresh = [f"(!keeping[{token}] || (visible[{token}] && !executes_next[{token}] && reuse))" for token in tokens]
    here = " || ".join(
        f"(dut.scan.token == {k} && dut.scan.token_table.found == dut.scan.token_table.memory[{k}])" for k in tokens
    )
    return [
        f"!scanned || {here}", f"!(busy && usable_run) || !{first}", f"!ran || tokens == operation_run[{last}]",
        f"!(serves && busy) || (usable_run && executed && !operation_run[{operation_layout(shape)['value'].offset}])",
        "!serves || (ran && dut.ring.saved_held == all_kept)", "!unsaved || (ran && executed)",
        *(f"!serves || tokens <= {token} || {each}" for token, each in zip(tokens, good, strict=True)),
        *(f"!(busy && usable_run && at <= {token} && tokens > {token}) || {each}"
          for token, each in zip(tokens, good, strict=True)),
        *(f"!((busy || unsaved) && executed && at > {token}) || {each}"
          for token, each in zip(tokens, fresh, strict=True)),
        "!(unsaved && !busy) || dut.ring.held == newly_kept",
    ]  # fmt: skip
