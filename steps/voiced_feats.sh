# shellcheck shell=bash
# What models see of a data directory: source it after the options num_ceps, delta_order, delta_window, cmn_config.

# voiced_feats DIR: the array voiced is the command that writes the features of DIR/feats.scp to a pipe: the first
# num_ceps columns, differences, sliding normalisation, voiced frames. For $cmd, which takes "|" as a word.
voiced_feats() {
  local source="scp:$1/feats.scp"
  if [ "$num_ceps" -gt 0 ]; then source="scp:sed 's/\$/[:,0:$((num_ceps - 1))]/' $(printf %q "$1/feats.scp") |"; fi
  voiced=()
  if [ "$delta_order" -gt 0 ]; then
    voiced+=(vouch add-deltas --delta-order="$delta_order" --delta-window="$delta_window" "$source" ark:- "|")
    source=ark:-
  fi
  voiced+=(vouch apply-cmvn-sliding --config="$cmn_config" "$source" ark:- "|")
  voiced+=(vouch select-voiced-frames ark:- "scp:$1/vad.scp" ark:-)
}
frontend_settings() { # as the settings of a step: nothing where nothing is asked for
  if [ "$num_ceps" -gt 0 ]; then echo " num_ceps=$num_ceps"; fi
  if [ "$delta_order" -gt 0 ]; then echo " delta_order=$delta_order delta_window=$delta_window"; fi
}
