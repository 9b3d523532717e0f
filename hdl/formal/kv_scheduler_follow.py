"""Verilog that follows the KV scheduler through an operation: one token, the tokens of a round, the heads that wait."""

from amaranth.lib import data

from skipopu.hdl.kv_layout import KvShape, operation_layout, round_layout, settings_layout, source_layout

OPEN, WAITING = "dut.forming.open_round", "dut.forming.waiting"
OPERATION = """
  // the operation, steady while the scheduler is busy
  reg ran, usable_run, phase_run;
  reg [{operation}:0] operation_run;
  wire [7:0] tokens = operation_run[{tokens}];
  wire executed = operation_run[0];
  wire in_order = {in_order};
  reg settled;
  reg [{settings}:0] settings_run;
  always @($global_clock) begin
    settled <= !rst;
    settings_run <= settings;
    if (start) begin
      ran <= 1;
      operation_run <= operation;
      usable_run <= usable;
      phase_run <= phase;
    end
    if (rst) ran <= 0;
  end
"""
TOKEN = """
  // one token, any: how often it is looked at, put, and given to a round, and where it is meanwhile
  (* anyconst *) wire [7:0] mark;
  reg [1:0] looked, puts, given;
  reg wanted, waits, open;
  reg [7:0] ahead, port_of_mark, lane;
  wire here = dut.scan__valid & dut.scan.token == mark;
  wire goes = here & dut.scan__advance, is_put = here & dut.put;
  wire leaves = waits & queue_reads[port_of_mark] & ahead == 0, closes = open & in_order & dut.forming__form;
  always @($global_clock) begin
    if (start) begin
      {{looked, puts, given, wanted, waits, open}} <= 0;
    end else begin
      looked <= looked + goes;
      puts <= puts + is_put;
      given <= given + leaves + closes;
      if (goes) wanted <= dut.scan__visible & executed;
      if (is_put & in_order) open <= 1; else if (closes) open <= 0;
      if (is_put & !in_order) waits <= 1; else if (leaves) waits <= 0;
      if (is_put) begin
        port_of_mark <= dut.scan__port;
        lane <= {lane};
        ahead <= {stored_at_port};
      end else if (waits & queue_reads[port_of_mark]) ahead <= ahead - 1;
    end
    if (rst) {{looked, puts, given, wanted, waits, open}} <= 0;
  end
"""
ROUND = """
  // tokens, and kept ones, in the open round; granted cycles so far, and the most that are to come
  reg [7:0] entries, keeps;
  reg [15:0] spent;
  wire granted = !rounds_full & !(|fetch_full);
  wire [15:0] left = dut.scan__valid ? tokens - dut.scan.token : 0;
  wire [{ports}-1:0] heads = {{{heads}}};
  wire [2*{ports}-1:0] from_turn = {{heads, heads}} >> {waiting}.turn;
  reg [7:0] distance;
  integer step;
  always @* begin
    distance = {ports} - 1;
    for (step = {ports} - 1; step >= 0; step = step - 1) if (from_turn[step]) distance = step;
  end
  wire [15:0] to_come = in_order ? 2 * left + (entries != 0) + 1
    : ({ports} + 1) * left + {ports} * stored + distance + 1;
  wire [15:0] most = in_order ? 2 * tokens + 1 : ({ports} + 1) * tokens + 1;
  always @($global_clock) begin
    if (start | (in_order & dut.forming__form)) {{entries, keeps}} <= 0;
    else if (in_order & dut.put) begin
      entries <= entries + 1;
      keeps <= keeps + dut.token[{keep}];
    end
    spent <= start ? 0 : spent + (busy & granted);
    if (rst) {{entries, keeps, spent}} <= 0;
  end
"""
HEAD = """
  // forms since the head of queue {port} waits
  reg [7:0] missed{port};
  always @($global_clock)
    if (rst | start) missed{port} <= 0;
    else if ({waiting}.take) missed{port} <= heads[{port}] & !queue_reads[{port}] ? missed{port} + 1 : 0;
"""


def follow(shape: KvShape) -> str:
    """Return the whole."""
    ports = range(shape.ports)
    names = {
        "operation": operation_layout(shape).size - 1, "settings": settings_layout(shape).size - 1,
        "tokens": bits_of(operation_layout(shape)["tokens"]), "ports": shape.ports, "waiting": WAITING,
        "in_order": "1" if shape.lock_step else "usable_run", "keep": source_layout(shape)["keep"].offset,
        "heads": ", ".join(f"{WAITING}.queue{port}.stored != 0" for port in reversed(ports)),
        "stored_at_port": " : ".join(
            [f"dut.scan__port == {port} ? {WAITING}.queue{port}.stored - queue_reads[{port}]" for port in ports] + ["0"]
        ),
        "lane": f"{OPEN}.lane",
    }  # fmt: skip
    heads = "".join(HEAD.format(port=port, waiting=WAITING) for port in ports)
    return _shared(shape) + "".join(text.format(**names) for text in (OPERATION, TOKEN, ROUND)) + heads


def _shared(shape: KvShape) -> str:
    """What several parts look at."""
    ports = range(shape.ports)
    reads = ", ".join(f"{WAITING}.queue{port}.read" for port in reversed(ports))
    stored = " + ".join(f"{WAITING}.queue{port}.stored" for port in ports)
    return f"  wire [{shape.ports - 1}:0] queue_reads = {{{reads}}};\n  wire [15:0] stored = 16'd0 + {stored};\n"


def bits_of(field: data.Field, above: int = 0) -> str:
    """Where a field is, in what lies ``above`` so many bits."""
    low = above + field.offset
    return f"{low + field.width - 1}:{low}"


def count_of(bits: list[str]) -> str:
    """How many of the bits are set."""
    return f"(8'd0{''.join(f' + {bit}' for bit in bits)})"


def lanes_of(formed: str, shape: KvShape) -> list[str]:
    """The bits of a round's mask."""
    return [f"{formed}[{lane}]" for lane in range(shape.lanes)]


def keeps_of(formed: str, shape: KvShape) -> list[str]:
    """A bit a bank: it keeps a token of the round."""
    return [f"{formed}[{low}]" for low, _ in _of_banks(shape, "keep")]


def sources_of(formed: str, shape: KvShape) -> list[str]:
    """The lane whose token each bank keeps."""
    return [f"{formed}[{high}:{low}]" for low, high in _of_banks(shape, "source")]


def _of_banks(shape: KvShape, field: str) -> list[tuple[int, int]]:
    """First and last bit of a field, bank by bank."""
    banks = round_layout(shape)["banks"]
    bank = banks.shape.elem_shape
    first = [banks.offset + number * bank.size + bank[field].offset for number in range(shape.banks)]
    return [(low, low + bank[field].width - 1) for low in first]
