"""Adds residuals by `Sum`, which ONNX Runtime does not fuse with LayerNormalization.

Needs: `LayerNormalization(a + b)`. Guarantees: The same numbers. ONNX Runtime would fuse the two
into `SkipLayerNormalization` when it loads the graph; on its CPU provider (1.32) that kernel takes
2.5 to 4.5 times as long as the two operators (benchmarks/README.md). It does not fuse `Sum`.
"""

from embconvert.rewrite.editing import Editor, producer


def keep_residual_apart(editor: Editor) -> bool:
    """Replaces the Adds before LayerNormalization; returns whether there was one."""
    changed = False
    for norm in editor.nodes("LayerNormalization"):
        add = producer(norm.inputs[0], "Add")
        if add is None:
            continue
        editor.replace(add.outputs[0], editor.add("Sum", list(add.inputs), add))
        changed = True
    return changed
