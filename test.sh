#!/usr/bin/env bash
# Installs what is missing, builds everything and runs every test. The last line says how many passed.
# Arguments go to ctest: `./test.sh -L unit`, `./test.sh -R Kneser`.
cd "$(dirname "$0")"
. setup/steps.sh

export SAFFRON_DATA="$PWD/.cache/data"
RESULTS="$PWD/build/tests.xml"

check_processor
install_packages
build_targets all
fetch_data "$SAFFRON_DATA"

heading "Tests"
rm -f "$RESULTS"
status=0
ctest --test-dir "$BUILD" --parallel "$(nproc)" --output-on-failure --output-junit "$RESULTS" \
  "$@" >build/tests.log 2>&1 </dev/null || status=$?
if [ ! -f "$RESULTS" ]; then
  cat build/tests.log >&2
  fail "ctest wrote no results."
fi
if [ "$status" -ne 0 ]; then
  # What failed with its output, without the hundreds of lines that passed.
  grep -Ev '^( *Start +[0-9]+:|.*[0-9]+/[0-9]+ Test +#[0-9]+: .* Passed +[0-9.]+ sec)' build/tests.log || true
fi

count() { # count NAME: the attribute of the <testsuite> element, 0 when absent
  local value
  value=$(grep -m1 -Eo "^[[:space:]]*$1=\"[0-9]+\"" "$RESULTS" | grep -Eo '[0-9]+' || true)
  echo "${value:-0}"
}
tests=$(count tests) failed=$(count failures)
skipped=$(($(count skipped) + $(count disabled)))
if [ "$tests" -eq 0 ]; then
  say "No test was run."
  status=1
fi
say "all output: build/tests.log"
summary="$((tests - failed - skipped)) passed, $failed failed"
[ "$skipped" -eq 0 ] || summary="$summary, $skipped skipped"
printf '\n%s\n' "$summary"
exit "$status"
