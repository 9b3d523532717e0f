"""LLaVA without pruning: every row of every token runs, the counterpart of the pruning methods."""

from skipopu.models.row_method import Method
from skipopu.models.visual_language import ImagePrompt, VisualLanguage, causal, exported
from skipopu.trace import Trace
from skipopu.trace.visual import Layout


def llava(layout: Layout, layers: int) -> Method:
    """Return the method that leaves nothing out."""
    return Method(causal(layout, layers))


def export_llava(model: VisualLanguage, prompt: ImagePrompt, decode: int, source: str) -> Trace:
    """Prefill ``prompt``, decode greedily, and return the trace of what ran."""
    layout = prompt.layout(decode)
    answer = model.generate(llava(layout, model.llama.config.layers), prompt, decode)
    return exported(model.header("llava", layout, source), answer.run, explicit=False)
