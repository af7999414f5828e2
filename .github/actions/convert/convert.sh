#!/usr/bin/env bash
# Converts a model with the image, as action.yml asks for in the environment:
#   EMBCONVERT_IMAGE, MODELS_DIR, HF_TOKEN, and OPTION_<NAME> and FLAG_<NAME> for the options.
# Writes folder, manifest and verdict to $GITHUB_OUTPUT and a table to $GITHUB_STEP_SUMMARY, and
# ends with embconvert's exit code.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
models=$(mkdir -p "$MODELS_DIR" && cd "$MODELS_DIR" && pwd)
result=$(mktemp)
trap 'rm -f "$result"' EXIT

mounts=(--volume "$models:/models")
# Mounts a file or folder of the workspace, and sets $inside to its path in the container; another
# word, such as a hub id, stays as it is.
mount_input() {
  inside=$1
  [ -e "$1" ] || return 0
  local path
  path=$(realpath "$1")
  # In a folder of its own, because two inputs may have the same name.
  inside=/input/${#mounts[@]}/$(basename "$path")
  mounts+=(--volume "$path:$inside:ro")
}

arguments=(all --json)
# With NUL between variables: a line break in a value would begin another option.
while IFS='=' read -r -d '' variable value; do
  [[ $variable = OPTION_* && -n $value ]] || continue
  name=${variable#OPTION_}
  name=${name,,}
  case $name in
    model_id | calibration_dataset | evaluate)
      mount_input "$value"
      value=$inside
      ;;
    adapter) # one or several, each perhaps with a factor: ./lora=0.5,org/other
      adapters=()
      while IFS= read -r -d , word; do
        word=${word#"${word%%[![:space:]]*}"}
        folder=${word%=*}
        mount_input "$folder"
        adapters+=("$inside${word#"$folder"}")
      done <<<"$value,"
      value=$(IFS=, && echo "${adapters[*]}")
      ;;
  esac
  arguments+=("--$name" "$value")
done < <(env -0 | sort -z)
while IFS='=' read -r -d '' variable value; do
  [[ $variable = FLAG_* && $value = true ]] || continue
  name=${variable#FLAG_}
  arguments+=("--${name,,}")
done < <(env -0 | sort -z)

# The runner obeys lines such as `::add-mask::`, wherever they come from: until the end of what a
# model can say, it shall not.
token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
echo "::stop-commands::$token" >&2

# Treat an empty token as none.
[ -n "${HF_TOKEN:-}" ] || unset HF_TOKEN
docker run --rm --user "$(id -u):$(id -g)" --read-only --tmpfs /tmp --cap-drop ALL \
  --security-opt no-new-privileges --env HF_TOKEN --env HF_ENDPOINT \
  "${mounts[@]}" "$EMBCONVERT_IMAGE" "${arguments[@]}" >"$result"
code=$?
echo "::$token::" >&2

python3 "$here/summary.py" --result "$result" --code "$code" \
  --models "$MODELS_DIR" --output "$GITHUB_OUTPUT" --summary "$GITHUB_STEP_SUMMARY"
exit "$code"
