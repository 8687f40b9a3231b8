"""What training and the service agree on: bundles, their manifest, their nodes and their repository."""

from rbm_bundle.bundle import Bundle, BundleDraft, read_bundle, write_bundle
from rbm_bundle.errors import BundleError
from rbm_bundle.golden import GoldenRows
from rbm_bundle.manifest import Manifest
from rbm_bundle.nodes import NodeTable
from rbm_bundle.repository import ModelRepository, ShadowSpec

__all__ = [
    "Bundle",
    "BundleDraft",
    "BundleError",
    "GoldenRows",
    "Manifest",
    "ModelRepository",
    "NodeTable",
    "ShadowSpec",
    "read_bundle",
    "write_bundle",
]
