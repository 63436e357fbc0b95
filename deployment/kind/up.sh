#!/usr/bin/env bash
# From built images to a running selfheal in kind: `make kind`. Needs docker, kind, kubectl, and the network for the
# images of PostgreSQL and Redis and for the types of the Gateway API. Run again it changes nothing that stands.
set -euo pipefail
cd "$(dirname "$0")/../.."
GATEWAY=https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.4.0/standard-install.yaml

kind get clusters | grep -qx selfheal || kind create cluster --config deployment/kind/cluster.yaml
kubectl config use-context kind-selfheal >/dev/null
kind load docker-image --name selfheal selfheal:0.1.0 selfheal-serving:0.1.0
kubectl apply --server-side --filename "$GATEWAY"

namespace=selfheal
kubectl apply --filename deployment/kubernetes/base/namespace.yaml
random() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
secret() { kubectl --namespace $namespace get secret "$1" >/dev/null 2>&1; }

# Passwords are made once, go by files, and are shown nowhere.
if ! secret selfheal-services; then
  umask 077
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  random >"$folder/postgres"
  random >"$folder/redis"
  random >"$folder/token"
  for database in ledger mlflow feast optuna; do
    printf 'postgresql://selfheal:%s@postgres:5432/%s' "$(cat "$folder/postgres")" "$database" >"$folder/$database"
  done
  printf 'redis://:%s@redis:6379/0' "$(cat "$folder/redis")" >"$folder/online"
  kubectl --namespace $namespace create secret generic selfheal-dagster-postgres \
    --from-file=postgresql-password="$folder/postgres"
  kubectl --namespace $namespace create secret generic selfheal-redis --from-file=redis-password="$folder/redis"
  kubectl --namespace $namespace create secret generic selfheal-server-token --from-file=token="$folder/token"
  kubectl --namespace $namespace create secret generic selfheal-services \
    --from-file=ledger-url="$folder/ledger" --from-file=mlflow-url="$folder/mlflow" \
    --from-file=feast-registry-url="$folder/feast" --from-file=tuning-url="$folder/optuna" \
    --from-file=online-store-url="$folder/online"
fi

kubectl apply --kustomize deployment/kubernetes/overlays/small
kubectl --namespace $namespace rollout status statefulset/postgres --timeout=5m
for name in selfheal-code selfheal-daemon selfheal-webserver; do
  kubectl --namespace $namespace rollout status "deployment/$name" --timeout=10m
done
echo "Dagster: kubectl --namespace $namespace port-forward service/selfheal-webserver 3000 -> http://127.0.0.1:3000"
echo "The model server is ready when there is a champion; see deployment/README.md for the first batches."
