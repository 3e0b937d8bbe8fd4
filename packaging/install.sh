#!/bin/sh
# Installs Levada into .venv: `core` is what users get, `test` adds all extras and the development tools.
# Versions come from uv.lock. Where uv cannot be installed, pip takes over without the lock, and says so.
set -eu
cd "$(dirname "$0")/.."
what=${1:-test}

suitable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

if ! { [ -x .venv/bin/python ] && .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; }; then
    for python in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python3.14 python; do
        [ -n "$python" ] && suitable "$python" && break
        python=
    done
    if [ -z "$python" ]; then
        echo "error: no Python 3.11 or newer with venv and pip was found" >&2
        echo "hint: install it (on Debian: python3 and python3-venv), or name it: make PYTHON=/path/to/python3.12" >&2
        exit 1
    fi
    echo "creating .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
fi

if [ "$what" = core ]; then extras='' groups='--no-default-groups'; else extras='--all-extras' groups='--group dev'; fi

if command -v uv >/dev/null 2>&1; then
    uv=uv
elif [ -x .venv/bin/uv ] || .venv/bin/python -m pip install --quiet --disable-pip-version-check uv; then
    uv=.venv/bin/uv
else
    uv=
fi

# a company's own certificates, where the machine trusts them
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"

# every start of the command reads them: without compiled modules it takes half a second more
export UV_COMPILE_BYTECODE="${UV_COMPILE_BYTECODE:-true}"

# --inexact: what is there already stays, so that `make demo` after `make test` removes nothing.
# shellcheck disable=SC2086
if [ -n "$uv" ] && UV_PROJECT_ENVIRONMENT=.venv "$uv" sync --quiet --frozen --inexact $groups $extras; then
    :
else
    echo "uv could not install the locked versions: pip takes the newest that fit instead" >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -e ".$([ "$what" = core ] || echo '[all]')"
    if [ "$what" = test ]; then
        .venv/bin/python - <<'EOF' > .venv/dev-requirements.txt
import tomllib
with open("pyproject.toml", "rb") as file:
    print("\n".join(tomllib.load(file)["dependency-groups"]["dev"]))
EOF
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -r .venv/dev-requirements.txt
    fi
fi
if [ "$what" = test ]; then touch .venv/.core; fi
touch ".venv/.$what"
