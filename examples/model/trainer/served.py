"""The model as MLflow loads it, `mlflow.pyfunc.load_model`: code and arrays, nothing pickled.

MLflow runs this file where it logs and where it loads a model; the model server does neither.
"""

from pathlib import Path

import mlflow
from mlflow.pyfunc import PythonModel, PythonModelContext

from digits import network
from digits.network import Floats
from digits.picture import prepared


class Served(PythonModel):  # type: ignore[misc]
    """Probabilities of the classes for pictures of 64 pixels."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the weights that were logged."""
        self._network = network.load(Path(context.artifacts["weights"]))

    # Without types: MLflow would read them as the model's schema, which is logged beside it.
    def predict(self, context, model_input, params=None) -> Floats:  # type: ignore[no-untyped-def]  # noqa: ARG002
        """One row for each picture."""
        return self._network.probabilities(prepared(model_input))


mlflow.models.set_model(Served())
