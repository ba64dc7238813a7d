#!/usr/bin/env bash
# Six optimizers x eight learning rates x five seeds on the digits: 240 runs as one study.
#
#   examples/which_optimizer_for_digits.sh [ADDRESS] [FOLDER]
#
# ADDRESS of a running service (default http://127.0.0.1:8000); FOLDER for the plots (default .).
# Needs curl and python3. Prints the comparison and saves curves.svg and profile.svg.
set -euo pipefail
address=${1:-http://127.0.0.1:8000}
folder=${2:-.}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

id=$(curl -sSf "$address/v1/studies" -H 'Content-Type: application/json' \
  --data-binary "@$here/which_optimizer_for_digits.json" | field id)
echo "study $id"

while :; do
  study=$(curl -sSf "$address/v1/studies/$id?wait=5")
  status=$(field status <<<"$study")
  python3 -c '
import json, sys
study = json.load(sys.stdin)
progress = study["progress"]
print(study["status"], "%.0f %%" % (100 * (progress["fraction"] or 0)))' <<<"$study"
  case $status in succeeded | failed | cancelled) break ;; esac
done

curl -sSf "$address/v1/studies/$id/comparison" | python3 -c '
import json, sys
found = json.load(sys.stdin)
print("%4s  %-10s %-9s %10s  %-22s %s" % ("rank", "optimizer", "lr", "eval.loss", "95 %", "diverged"))
for each in found["configurations"][:12]:
    params = each["params"]
    interval = each["ci95"]
    shown = "" if interval is None else "%.4f to %.4f" % tuple(interval)
    mean = each["mean"]
    print("%4s  %-10s %-9.2g %10s  %-22s %d of %d" % (
        each["rank"], params["optimizer"]["kind"], params["optimizer.lr"],
        "-" if not isinstance(mean, float) else "%.4f" % mean, shown,
        each["num_diverged"], each["num_runs"]))
print("winner:", found["winner"], "-", found["reason"])'

for kind in curves profile; do
  curl -sSf "$address/v1/studies/$id/plot?kind=$kind&format=svg" -o "$folder/$kind.svg"
  echo "$folder/$kind.svg"
done
