"""The code of every registered model: MLflow keeps a copy of this file with the model and runs it on loading.

"Models from code": nothing of the model is pickled. The model itself is the folder of files
(`bundle`) that is logged beside it; this needs leukobench installed and knows nothing of the
training.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class RegisteredModel(PythonModel):
    """A saved model behind MLflow's interface.

    Input of an expression model: one column a gene, as measured. Input of an image model: one
    column `image`, each entry the path of a file or the file itself in base64. Output: `predicted`,
    `p_<class>`, and `error`: why a row has no prediction, empty for all others.
    """

    def load_context(self, context: Any) -> None:
        from leukobench.tracking.locate import BUNDLE
        from leukobench.training.saved import load_bundle

        # Of a table with further genes MLflow would print the name of every one, at every
        # prediction.
        logging.getLogger("mlflow.models.utils").setLevel(logging.ERROR)
        trust = bool(context.model_config["trust"])
        self.model = load_bundle(Path(context.artifacts[BUNDLE]), trust=trust)

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        from leukobench.training.predict import predict_frame

        return predict_frame(self.model, model_input)


set_model(RegisteredModel())
