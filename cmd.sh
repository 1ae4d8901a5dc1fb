# shellcheck shell=bash
# How each kind of job is started: source it. Each variable is a job runner with the options that its jobs need
# (utils/run.py --help); run.sh hands them to the steps as --cmd.
#
# The jobs run on this machine, as many at once as it has cores and memory for. To leave room for other work, write
# e.g. "run.py --max-jobs-run 4". A variable that is set already is kept: `feature_cmd="run.py --mem 1G" bash run.sh`.

feature_cmd=${feature_cmd:-run.py}           # features, VAD, augmentation
extract_cmd=${extract_cmd:-run.py --mem 2G}  # embeddings: each job loads PyTorch and a network
if [ -z "${train_cmd:-}" ]; then             # training: one GPU where there is one
  train_cmd=run.py
  if command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q '^GPU'; then train_cmd="run.py --gpu 1"; fi
fi
export feature_cmd extract_cmd train_cmd
