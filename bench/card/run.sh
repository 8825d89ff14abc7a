#!/usr/bin/env bash
# Proves and measures gptoss on the card of this machine: ./run.sh [--preset NAME] [--device vulkan:N|cuda:N] [PART...] [-- FLAG...]
#
# Parts, in this order unless some are named: prove (every op beside its stored answer), 20b and 120b (speeds of synthetic weights),
# equality (the demo's answers on the card, alone and together, beside the processor's). --preset takes another shape for both models, FLAGs
# go to the model's commands. Needs the program beside it and a driver for Vulkan, or with --device cuda NVIDIA's alone. A call ends within ten minutes: a part that takes too
# long is cut off, its rows so far stay, and the others go on; what was left out is asked for by its name in another call.
#
# Results are put behind those that are there in $OUT, or in results/ (of CUDA in results/cuda/): rows.jsonl (cases of `gptoss bench` with the columns of bench/record),
# parts.jsonl (how each part ended), proof.json, and a log of each part.
set -uo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
out="${OUT:-$here/results}"
export OUT="$out"
# Seconds of a call, and of each part when none is named.
readonly CALL_SECONDS_MAX=570 PROVE_SECONDS_MAX=60 SMALL_SECONDS_MAX=160 LARGE_SECONDS_MAX=280 EQUALITY_SECONDS_MAX=70
# Prompt, depth, sequences: what is worth most comes first, and what a card may have no room for last.
readonly CASES=0:0:1,8192:0:1,0:0:32,0:0:8,0:130000:1,0:8192:8,0:8192:32,0:130000:8,0:130000:32
readonly DECODED=32

commit="$(cat "$here/commit")"
device=vulkan
preset=
parts=()
flags=()
inside=
while (($#)); do
    case $1 in
        --preset) preset=$2 && shift 2 ;;
        --device) device=$2 && shift 2 ;;
        --inside) inside=$2 && shift 2 ;;
        --) shift && flags=("$@") && break ;;
        prove | 20b | 120b | equality) parts+=("$1") && shift ;;
        *) sed -n '2s/^# //p' "${BASH_SOURCE[0]}" >&2 && exit 2 ;;
    esac
done

# A field of proof.json as it stands there, without its quotes.
proved() {
    sed -n "s/^  \"$1\": \"\{0,1\}\(.*[^\",]\)\"\{0,1\},\{0,1\}\$/\1/p" "$out/proof.json" 2>/dev/null | head -n 1
}

prove() {
    "$here/gptoss" doctor --prove --json --device "$device" >"$out/proof.json"
    local code=$?
    proved line
    return "$code"
}

# The cases of a preset.
speed() {
    "$here/gptoss" bench --model "synthetic:${preset:-gpt-oss-$1}" --device "$device" --repeat 1 --decode "$DECODED" --case "$CASES" \
        --rows "$out/new.jsonl" "${flags[@]}"
}

# Rows of a part, with the columns that the program cannot know.
adopt() {
    [[ -f $out/new.jsonl ]] || return 0
    local columns
    columns="\"commit\":\"$commit\",\"machine\":\"$(proved device)\",\"run\":\"card, $1\",\"contestant\":\"gptoss${flags[*]:+ ${flags[*]}}\","
    sed "s|^{|{$(sed 's/[\\&|]/\\&/g' <<<"$columns")|" "$out/new.jsonl" >>"$out/rows.jsonl"
    rm -f "$out/new.jsonl"
}

# What a card must give as the processor does: everything but names, times and what was found in a cache.
answers() {
    sed -E 's/"(id|request_id|system_fingerprint)":"[^"]*"|"created":[0-9]+|"cached_tokens":[0-9]+//g' "$1" | sort
}

same() {
    comm -12 <(answers "$1") <(answers "$2") | wc -l
}

equality() {
    local lines
    folder="$(mktemp -d)" || return
    trap 'rm -rf "$folder"' EXIT
    lines=$(wc -l <"$here/requests.jsonl")
    "$here/gptoss" batch "$here/requests.jsonl" -o "$folder/processor" --max-sequences 1 "${flags[@]}" &&
        "$here/gptoss" batch "$here/requests.jsonl" -o "$folder/alone" --max-sequences 1 --device "$device" "${flags[@]}" &&
        "$here/gptoss" batch "$here/requests.jsonl" -o "$folder/together" --max-sequences 8 --device "$device" "${flags[@]}" || return
    local alone together batched
    alone=$(same "$folder/processor" "$folder/alone")
    together=$(same "$folder/processor" "$folder/together")
    batched=$(same "$folder/alone" "$folder/together")
    echo "of $lines answers, $alone alone and $together together are the processor's; $batched are the same alone and together"
    [[ $batched == "$lines" && $alone == "$lines" ]]
}

if [[ -n $inside ]]; then
    case $inside in
        20b | 120b) speed "$inside" ;;
        *) "$inside" ;;
    esac
    exit
fi

# Where the system has no loader of its own, or no manifest for the driver that is there.
use_loader() {
    [[ -d $here/lib ]] && export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$here/lib"
    local nvidia
    nvidia="$(PATH=$PATH:/usr/sbin:/sbin ldconfig -p 2>/dev/null | sed -n 's/.* => \(.*libGLX_nvidia\.so\.0\)$/\1/p' | head -n 1)"
    if [[ -z ${VK_DRIVER_FILES:-} && -n $nvidia ]] && ! ls /usr/share/vulkan/icd.d/nvidia* /etc/vulkan/icd.d/nvidia* &>/dev/null; then
        printf '{"file_format_version":"1.0.0","ICD":{"library_path":"%s","api_version":"1.3.0"}}\n' "$nvidia" >"$out/nvidia_icd.json"
        export VK_DRIVER_FILES="$out/nvidia_icd.json"
    fi
}

run_part() {
    local part=$1 limit=$2 left=$((CALL_SECONDS_MAX - SECONDS)) start=$SECONDS code
    ((limit > left)) && limit=$left
    if ((limit < 5)); then
        echo "$part: left out, the call's time is over"
        echo "{\"part\":\"$part\",\"commit\":\"$commit\",\"ended\":\"left out\"}" >>"$out/parts.jsonl"
        return 1
    fi
    echo "$part: at most $limit s"
    timeout --kill-after=10 "$limit" bash "$here/run.sh" --inside "$part" --device "$device" ${preset:+--preset "$preset"} \
        -- "${flags[@]}" 2> >(tee -a "$out/$part.log" >&2)
    code=$?
    adopt "$part"
    local ended=failed
    ((code == 0)) && ended=passed
    ((code == 124 || code == 137)) && ended="cut off"
    echo "$part: $ended after $((SECONDS - start)) s"
    echo "{\"part\":\"$part\",\"commit\":\"$commit\",\"ended\":\"$ended\",\"code\":$code,\"seconds\":$((SECONDS - start))}" >>"$out/parts.jsonl"
    return "$code"
}

if [[ $device == cuda* ]]; then
    out+=/cuda
fi
mkdir -p "$out"
use_loader
failed=0
if ((${#parts[@]})); then
    for part in "${parts[@]}"; do
        run_part "$part" "$CALL_SECONDS_MAX" || failed=1
    done
else
    run_part prove "$PROVE_SECONDS_MAX" || failed=1
    run_part 20b "$SMALL_SECONDS_MAX" || failed=1
    run_part 120b "$LARGE_SECONDS_MAX" || failed=1
    run_part equality "$EQUALITY_SECONDS_MAX" || failed=1
fi
proved line
echo "results are in $out"
exit "$failed"
