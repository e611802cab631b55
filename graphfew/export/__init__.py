"""Models of a fixed episode size as `torch.export` programs and ONNX files.

Start with `program.export_program`.
"""

from graphfew.export.program import export_program, to_onnx
from graphfew.export.tracer import TraceError, trace_operators

__all__ = ["TraceError", "export_program", "to_onnx", "trace_operators"]
