"""MLflow: where runs live, run records and trials."""

import os

# MLflow reports its use to its makers unless told not to. Data of a marketing team stays at home
# until somebody decides otherwise; it has to be said before MLflow is first imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

# A bar per stored file would tear the progress bars of training.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
