import subprocess
import sys

TRAINING_ONLY = ["torch", "torch_geometric", "onnx", "scipy", "sklearn", "gensim"]
OPTIONAL = ["opentelemetry.sdk", "opentelemetry.exporter"]


def test_the_service_starts_without_anything_that_only_training_or_an_extra_needs():
    program = f"""
import sys
import rbm_service.command
print([name for name in {TRAINING_ONLY + OPTIONAL!r} if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
