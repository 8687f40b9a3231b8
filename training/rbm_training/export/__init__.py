"""From a trained student to a bundle: graphs, parity, model card."""

from rbm_training.export.bundle_writer import ExportRequest, export_bundle
from rbm_training.export.node_table import build_node_table

__all__ = ["ExportRequest", "build_node_table", "export_bundle"]
