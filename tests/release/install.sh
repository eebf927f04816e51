#!/bin/sh
# Installs Hepatica into a new folder, from this folder alone: no network is asked.
#   ./install.sh /opt/hepatica            (PYTHON=python3.12 chooses another Python)
set -eu
unset PYTHONPATH PYTHONHOME  # what lies elsewhere is no part of it
here=$(cd "$(dirname "$0")" && pwd)
place=${1:?which folder? For example: ./install.sh /opt/hepatica}
python=${PYTHON:-python3}

if [ -e "$place/pyvenv.cfg" ]; then
    echo "$place is an installation already. Choose a new folder, and switch over when it works." >&2
    exit 1
fi
"$python" "$here/verify.py"
tag=$("$python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
if ! grep -qx "$tag" "$here/PYTHONS"; then
    echo "These wheels are for $(tr '\n' ' ' <"$here/PYTHONS")and $python is $tag. Name another: PYTHON=…" >&2
    exit 1
fi
"$python" -m venv "$place"
# no file of settings and no variable of pip's may bring another source in
env -u PIP_CONSTRAINT -u PIP_FIND_LINKS PIP_CONFIG_FILE=/dev/null PIP_DISABLE_PIP_VERSION_CHECK=1 \
    "$place/bin/python" -m pip install --quiet --no-index --find-links "$here/wheels" \
    --only-binary=:all: --require-hashes -r "$here/requirements.txt"
"$place/bin/python" -m pip check
echo "Installed. Start it in the folder that will hold its data: $place/bin/hepatica serve"
echo "As services of systemd: $place/bin/hepatica units --help"
