#!/usr/bin/env bash
# Prepare the cgroups of a node, so that YARN can isolate its GPUs. `gpu: true` in emrctl.yaml adds
# this bootstrap action (emrctl/spec/emr.py) and EMR's classifications for GPUs (stacks/gpu.py).
#
# EMR 7 has cgroup version 2; YARN needs the devices controller of version 1, mounted at
# /spark-rapids-cgroup. EMR 6 has version 1, where YARN lacks permissions. Both are described in
# "Use the Nvidia RAPIDS Accelerator for Apache Spark" of the EMR release guide.
#
# GPU_SH_ROOT: prefix of all paths (default: none).
set -euo pipefail

root=${GPU_SH_ROOT:-}
version_1=$root/sys/fs/cgroup/devices

if [[ -d $version_1 ]]; then
  sudo chmod a+rwx -R "$version_1" "$root/sys/fs/cgroup/cpu,cpuacct"
  exit
fi
mounted=$root/spark-rapids-cgroup
sudo mkdir -p "$mounted/devices"
if ! mountpoint -q "$mounted/devices"; then
  sudo mount -t cgroup -o devices cgroupv1-devices "$mounted/devices"
fi
sudo chmod a+rwx -R "$mounted"
