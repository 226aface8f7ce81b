#!/usr/bin/env bash
# The step of action.yml: its inputs are variables, so that none of them is run as a command.
set -u

badge="${SSE_FUZZ_BADGE:-$RUNNER_TEMP/sse-fuzz-badge.json}"
args=("$SSE_FUZZ_URL" --summary "$GITHUB_STEP_SUMMARY" --badge "$badge")
[ -z "${SSE_FUZZ_PUBLISH:-}" ] || args+=(--publish "$SSE_FUZZ_PUBLISH")
[ -z "${SSE_FUZZ_PUBLISH_URL:-}" ] || args+=(--publish-url "$SSE_FUZZ_PUBLISH_URL")
# An empty one would be a token.
[ -n "${SSE_FUZZ_PUBLISH_TOKEN:-}" ] || unset SSE_FUZZ_PUBLISH_TOKEN
[ -n "${SSE_FUZZ_PUBLISH_URL:-}" ] || unset SSE_FUZZ_PUBLISH_TOKEN
[ -z "${SSE_FUZZ_KNOWN:-}" ] || args+=(--expected-failures "$SSE_FUZZ_KNOWN")
[ -z "${SSE_FUZZ_SARIF:-}" ] || args+=(--sarif "$SSE_FUZZ_SARIF")
read -r -a more <<< "${SSE_FUZZ_ARGS:-}"

sse-fuzz probe "${args[@]}" ${more[@]+"${more[@]}"}
code=$?

level=none
if [ -f "$badge" ]; then
  level=$(sed -n 's/.*"message": "\([a-z]*\)".*/\1/p' "$badge")
fi
echo "level=$level" >> "$GITHUB_OUTPUT"
rank() { case "$1" in gold) echo 3 ;; silver) echo 2 ;; bronze) echo 1 ;; *) echo 0 ;; esac; }
if [ "$code" -eq 0 ] && [ "$(rank "$level")" -lt "$(rank "${SSE_FUZZ_LEVEL:-none}")" ]; then
  echo "::error::the server is of the level $level, and should be of $SSE_FUZZ_LEVEL; the summary says what is missing"
  exit 1
fi
exit "$code"
