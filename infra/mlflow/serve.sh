#!/bin/sh
# Starts the team's tracking server. Every setting comes from the environment (see .env.example):
# libpq's PG* variables name the database, so that no password stands in a command or a file.
set -eu

: "${PGDATABASE:?set the libpq variables PGHOST, PGUSER, PGPASSWORD and PGDATABASE}"
: "${MLFLOW_ARTIFACTS_DESTINATION:?set it to s3://BUCKET/PREFIX}"
: "${MLFLOW_SERVER_ALLOWED_HOSTS:?set it to the names that clients use, with and without port}"
: "${MLFLOW_SERVER_CORS_ALLOWED_ORIGINS:?set it to the address that browsers show}"
: "${MLFLOW_FLASK_SERVER_SECRET_KEY:?set it to a long random text}"

# Users and permissions live in the same database as the runs.
export MLFLOW_AUTH_CONFIG_PATH="$(cd "$(dirname "$0")" && pwd)/basic_auth.ini"
# A route that MLflow has no rule for is closed, not open.
export MLFLOW_BASIC_AUTH_FAIL_CLOSED=true
# Background jobs serve language-model features, which `ni` does not use.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
# Webhooks' secrets are encrypted in the database: all processes and later starts need one key.
: "${MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY:=$(python3 -c 'import base64, hashlib, os
secret = b"webhooks " + os.environ["MLFLOW_FLASK_SERVER_SECRET_KEY"].encode()
print(base64.urlsafe_b64encode(hashlib.sha256(secret).digest()).decode())')}"
export MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY

exec mlflow server \
  --app-name basic-auth \
  --host "${MLFLOW_HOST:-0.0.0.0}" \
  --port "${MLFLOW_PORT:-5000}" \
  --workers "${MLFLOW_WORKERS:-2}" \
  --backend-store-uri postgresql+psycopg2:// \
  --serve-artifacts \
  --artifacts-destination "$MLFLOW_ARTIFACTS_DESTINATION" \
  --allowed-hosts "$MLFLOW_SERVER_ALLOWED_HOSTS" \
  --cors-allowed-origins "$MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"
