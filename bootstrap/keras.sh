#!/usr/bin/env bash
# Install Keras with a backend on a node, for jobs such as `features --extractor vgg16`.
#
#   keras.sh [PYTHON] [BACKEND] [--PIP-OPTION=VALUE…]
#
#   PYTHON    python3.11 (default): EMR 7 has it besides 3.9, which is too old for Keras 3. Use the
#             same Python in the step: --conf spark.pyspark.python=python3.11
#   BACKEND   tensorflow-cpu (default), tensorflow[and-cuda] for GPUs, or torch for `features
#             --backend torch`: it has CUDA, too
#   options   passed to pip: --no-index --find-links=/mnt/wheels
#
# The packages need about 1.5 GB in site-packages (with CUDA 7 GB), and as much in pip's temporary
# folder during the installation: set cluster.root_volume_gb to 30 on EMR. The temporary folder is on /mnt1 or /mnt if
# they exist, because /tmp of a node is often small.
#
# Alternative without a bootstrap action: a virtual environment packed by venv-pack.
#
#   python3.11 -m venv keras && keras/bin/pip install keras tensorflow-cpu pillow pandas pyarrow \
#       scikit-learn venv-pack && keras/bin/venv-pack -p keras -o keras.tar.gz
#   aws s3 cp keras.tar.gz s3://BUCKET/
#   emrctl submit --deploy-mode cluster --archives s3://BUCKET/keras.tar.gz#keras \
#       --conf spark.pyspark.python=./keras/bin/python features …
#
# Pack it on the nodes' distribution (Amazon Linux 2023 for EMR 7).
set -euo pipefail

# --- arguments ------------------------------------------------------------------------------------

python=python3.11
if [[ "${1:-}" =~ ^(.*/)?python[0-9.]*$ ]]; then
  python=$1
  shift
fi
backend=tensorflow-cpu
case "${1:-}" in
tensorflow-cpu | "tensorflow[and-cuda]" | torch)
  backend=$1
  shift
  ;;
esac
case $backend in
torch) backend='torch>=2.5' ;;
*) backend+='>=2.18' ;;
esac
for argument in "$@"; do
  [[ $argument == -* ]] || {
    echo "keras.sh: error: '$argument' is neither a Python, a backend nor a pip option" >&2
    exit 1
  }
done

# --- temporary folder -----------------------------------------------------------------------------

for folder in /mnt1 /mnt; do
  if [[ -d $folder && -w $folder ]]; then
    mkdir -p "$folder/pip" && export TMPDIR=$folder/pip
    break
  fi
done

# --- install --------------------------------------------------------------------------------------

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
packages=('keras>=3.6' "$backend" pillow 'pandas>=2.2,<3' pyarrow scikit-learn)
if [[ -f $here/python.sh ]]; then
  exec bash "$here/python.sh" "$python" "$@" "${packages[@]}"
fi
# EMR copies the bootstrap action without the other scripts of its folder.
command -v "$python" >/dev/null || sudo -n dnf install -y -q "$python" "$python-pip"
root=()
if [[ $EUID -ne 0 ]] && sudo -n true 2>/dev/null; then root=(sudo -n "TMPDIR=${TMPDIR:-/tmp}"); fi
${root[@]+"${root[@]}"} "$python" -m ensurepip --upgrade >/dev/null 2>&1 || true
exec ${root[@]+"${root[@]}"} "$python" -m pip install --no-cache-dir --disable-pip-version-check \
  "$@" "${packages[@]}"
