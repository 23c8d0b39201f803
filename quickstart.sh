#!/usr/bin/env bash
# From a fresh Debian 12 machine to an answered question: installs what is missing, builds Saffron,
# fetches the corpora, and runs the whole roadmap on a tenth of its data.
# Run it again at any time: what is done is not done again.
cd "$(dirname "$0")"
. setup/steps.sh

DATA=${SAFFRON_DATA:-${XDG_DATA_HOME:-$HOME/.local/share}/saffron}
SWEEP=sweeps/saffu_roadmap.yaml

check_processor
install_packages
build_targets saffron
fetch_data "$DATA"

heading "Roadmap: about 300 models on 100,000 tokens, one worker a core"
say "Ctrl-C is safe: run ./quickstart.sh again and it goes on."
status=0
"$BUILD/saffron" run "$SWEEP" --set tokens=100000 --db quickstart.db --data "$DATA" || status=$?
case $status in
  0 | 3) ;; # 3: some trials failed, and the report says which
  *) exit "$status" ;;
esac

heading "The same roadmap on a million tokens"
say "$BUILD/saffron run $SWEEP"
exit "$status"
