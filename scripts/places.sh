# Sourced by the scripts beside it: where things are and what is missing. Leaves the shell in the repository's root.
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}"
case "$CARGO_TARGET_DIR" in /*) ;; *) CARGO_TARGET_DIR="$root/$CARGO_TARGET_DIR" ;; esac
tools="$CARGO_TARGET_DIR/tools"
export PATH="$tools/bin:$PATH:/usr/sbin"

cargo_deny_version=0.20.2
interop="$root/scripts/interop.d"
python="$tools/venv/bin/python"

# The folder with PostgreSQL's programs: 15, which Debian 12 has, or else the newest after it.
postgres_bin() {
    local found
    found="$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | awk -F/ '$5 == 15 { print; exit } $5 > 15 { last = $0 } END { print last }' | head -n 1)"
    if [ -n "$found" ]; then dirname "$found"; else return 1; fi
}

has_python_packages() { cmp -s "$interop/requirements.txt" "$tools/venv/installed.txt" && "$python" -c '' 2>/dev/null; }
has_npm_packages() { cmp -s "$interop/package-lock.json" "$interop/node_modules/.installed.json" && command -v node >/dev/null; }
has_cargo_deny() { [ "$(cargo-deny --version 2>/dev/null)" = "cargo-deny $cargo_deny_version" ]; }

# Prints what the whole of `scripts/test` needs and this machine lacks, one a line; nothing when all is there.
missing() {
    command -v nginx >/dev/null || echo "nginx"
    command -v curl >/dev/null || echo "curl"
    command -v openssl >/dev/null || echo "openssl"
    postgres_bin >/dev/null || echo "PostgreSQL 15 (server)"
    has_python_packages || echo "the Python packages of scripts/interop.d/requirements.txt"
    has_npm_packages || echo "Node with the npm packages of scripts/interop.d/package-lock.json"
    has_cargo_deny || echo "cargo-deny $cargo_deny_version"
}
