#!/bin/sh
# Installs the locked chart package (uPlot) for the dashboard's pages into a folder that git ignores. Never fails: where npm or its
# registry is away one line says so, and the pages show the same charts as pictures drawn by the server.
# Usage: scripts/chart_package.sh [FOLDER]    (the folder with package.json and package-lock.json; default: the source's own)
FOLDER=${1:-$(cd "$(dirname "$0")/.." && pwd)/arbitrage/web/screen/vendor}
SECONDS_MAX=60

instead() { echo "charts: $1, so the server draws them as SVG"; exit 0; }

cmp -s "$FOLDER/package-lock.json" "$FOLDER/node_modules/.locked" 2>/dev/null && exit 0
command -v npm >/dev/null || instead "npm is not installed"
cd "$FOLDER" || instead "there is no $FOLDER"
timeout "$SECONDS_MAX" npm ci --ignore-scripts --no-audit --no-fund --fetch-retries=0 --loglevel=silent >/dev/null 2>&1 ||
  instead "npm could not fetch uPlot"
cp package-lock.json node_modules/.locked || instead "$FOLDER cannot be written"
