#!/usr/bin/env bash
# From a fresh Debian 12 machine to an answered question: installs what is missing, builds Saffron,
# fetches the corpora, and runs the whole roadmap on a tenth of its data.
# Run it again at any time: what is done is not done again.
cd "$(dirname "$0")"
. setup/steps.sh

DATA=${SAFFRON_DATA:-${XDG_DATA_HOME:-$HOME/.local/share}/saffron}
DATABASE=${SAFFRON_DB:-saffron.db}

check_processor
install_packages
build_targets saffron
fetch_data "$DATA"

heading "Roadmap: 250 models, 100,000 tokens, $(nproc) workers"
say "Ctrl-C is safe: run ./quickstart.sh again and it goes on."
status=0
"$BUILD/saffron" run sweeps/quickstart.yaml --db "$DATABASE" --data "$DATA" \
  --workers "$(nproc)" || status=$?
case $status in
  0 | 3) ;;
  *) exit "$status" ;;
esac

heading "Next: the same roadmap on a million tokens"
say "$BUILD/saffron run sweeps/saffu_roadmap.yaml"
exit "$status"
