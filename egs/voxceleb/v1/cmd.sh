# shellcheck shell=bash
# How each kind of job is started: source it. Each variable is a job runner with the options that its jobs need
# (utils/run.py --help); run.sh hands them to the steps as --cmd.
#
# The jobs run on this machine, as many at once as it has cores and memory for. To leave room for other work, write
# e.g. "run.py --max-jobs-run 4". A variable that is set already is kept: `feature_cmd="run.py --mem 1G" bash run.sh`.

gpu="" # training and embeddings: one GPU a job where there is one
if command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q '^GPU'; then gpu=" --gpu 1"; fi
export feature_cmd=${feature_cmd:-run.py}              # features, VAD, augmentation
export train_cmd=${train_cmd:-run.py$gpu}
# Embeddings: each job loads PyTorch and a network. The full-size i-vector extractor (2048 Gaussians, 600 dims) wants
# more: extract_cmd="run.py --mem 8G".
export extract_cmd=${extract_cmd:-run.py --mem 2G$gpu}
# Jobs that share each pass of an i-vector training: more than 1 where $train_cmd sends jobs to other machines. With 1 a
# single process makes all passes.
export ivector_jobs=${ivector_jobs:-1}
unset gpu
