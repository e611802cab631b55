"""Models of a fixed episode size as `torch.export` programs and ONNX files. Start reading at `program`."""

from graphfew.export.program import export_program, to_onnx

__all__ = ["export_program", "to_onnx"]
