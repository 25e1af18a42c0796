"""The part of the Kubernetes container runtime interface (CRI, runtime.v1) that the checks call, over gRPC (python3-grpcio).

Messages are dictionaries. Only names, numbers and types of fields are known here; what a reply has besides is skipped.
"""

import grpc

# By message: field -> (number, type). Types: str, int (also enumerations), bool, bytes, the name of a message, [type] for repeated ones, and
# {} for a map of texts.
MESSAGES = {
    "RunPodSandboxRequest": {"config": (1, "PodSandboxConfig"), "runtime_handler": (2, str)},
    "PodSandboxConfig": {"metadata": (1, "PodSandboxMetadata"), "hostname": (2, str), "log_directory": (3, str), "dns_config": (4, "DNSConfig"),
                         "port_mappings": (5, ["PortMapping"]), "labels": (6, {}), "annotations": (7, {}), "linux": (8, "LinuxPodSandboxConfig")},
    "PodSandboxMetadata": {"name": (1, str), "uid": (2, str), "namespace": (3, str), "attempt": (4, int)},
    "DNSConfig": {"servers": (1, [str]), "searches": (2, [str]), "options": (3, [str])},
    "PortMapping": {"protocol": (1, int), "container_port": (2, int), "host_port": (3, int), "host_ip": (4, str)},
    "LinuxPodSandboxConfig": {"cgroup_parent": (1, str), "security_context": (2, "LinuxSandboxSecurityContext"), "sysctls": (3, {})},
    "LinuxSandboxSecurityContext": {"namespace_options": (1, "NamespaceOption")},
    "NamespaceOption": {"network": (1, int), "pid": (2, int), "ipc": (3, int), "target_id": (4, str)},
    "PodSandboxId": {"pod_sandbox_id": (1, str)},
    "PodSandboxStatusResponse": {"status": (1, "PodSandboxStatus")},
    "PodSandboxStatus": {"id": (1, str), "state": (3, int), "network": (5, "PodSandboxNetworkStatus")},
    "PodSandboxNetworkStatus": {"ip": (1, str)},
    "CreateContainerRequest": {"pod_sandbox_id": (1, str), "config": (2, "ContainerConfig"), "sandbox_config": (3, "PodSandboxConfig")},
    "ContainerConfig": {"metadata": (1, "ContainerMetadata"), "image": (2, "ImageSpec"), "command": (3, [str]), "args": (4, [str]),
                        "working_dir": (5, str), "envs": (6, ["KeyValue"]), "mounts": (7, ["Mount"]), "labels": (9, {}), "annotations": (10, {}),
                        "log_path": (11, str), "linux": (15, "LinuxContainerConfig")},
    "ContainerMetadata": {"name": (1, str), "attempt": (2, int)},
    "ImageSpec": {"image": (1, str)},
    "KeyValue": {"key": (1, str), "value": (2, str)},
    "Mount": {"container_path": (1, str), "host_path": (2, str), "readonly": (3, bool), "propagation": (5, int)},
    "LinuxContainerConfig": {"resources": (1, "LinuxContainerResources"), "security_context": (2, "LinuxContainerSecurityContext")},
    "LinuxContainerResources": {"cpu_period": (1, int), "cpu_quota": (2, int), "cpu_shares": (3, int), "memory_limit_in_bytes": (4, int)},
    "LinuxContainerSecurityContext": {"capabilities": (1, "Capability"), "namespace_options": (3, "NamespaceOption"),
                                      "run_as_user": (5, "Int64Value"), "readonly_rootfs": (7, bool), "no_new_privs": (11, bool)},
    "Capability": {"add_capabilities": (1, [str]), "drop_capabilities": (2, [str])},
    "Int64Value": {"value": (1, int)},
    "ContainerId": {"container_id": (1, str)},
    "StopContainerRequest": {"container_id": (1, str), "timeout": (2, int)},
    "ContainerStatusResponse": {"status": (1, "ContainerStatus")},
    "ContainerStatus": {"id": (1, str), "state": (3, int), "exit_code": (7, int), "reason": (10, str)},
    "ExecSyncRequest": {"container_id": (1, str), "cmd": (2, [str]), "timeout": (3, int)},
    "ExecSyncResponse": {"stdout": (1, bytes), "stderr": (2, bytes), "exit_code": (3, int)},
    "UpdateContainerResourcesRequest": {"container_id": (1, str), "linux": (2, "LinuxContainerResources")},
    "ContainerStatsResponse": {"stats": (1, "ContainerStats")},
    "ContainerStats": {"cpu": (2, "CpuUsage"), "memory": (3, "MemoryUsage")},
    "CpuUsage": {"usage_core_nano_seconds": (2, "Int64Value")},
    "MemoryUsage": {"working_set_bytes": (2, "Int64Value")},
    "Empty": {},
}
# By method: request and reply.
METHODS = {
    "RunPodSandbox": ("RunPodSandboxRequest", "PodSandboxId"),
    "StopPodSandbox": ("PodSandboxId", "Empty"),
    "RemovePodSandbox": ("PodSandboxId", "Empty"),
    "PodSandboxStatus": ("PodSandboxId", "PodSandboxStatusResponse"),
    "CreateContainer": ("CreateContainerRequest", "ContainerId"),
    "StartContainer": ("ContainerId", "Empty"),
    "StopContainer": ("StopContainerRequest", "Empty"),
    "RemoveContainer": ("ContainerId", "Empty"),
    "ContainerStatus": ("ContainerId", "ContainerStatusResponse"),
    "ContainerStats": ("ContainerId", "ContainerStatsResponse"),
    "UpdateContainerResources": ("UpdateContainerResourcesRequest", "Empty"),
    "ExecSync": ("ExecSyncRequest", "ExecSyncResponse"),
}
POD, CONTAINER, NODE = 0, 1, 2  # NamespaceMode
RUNNING, EXITED = 1, 2  # ContainerState
PRIVATE, HOST_TO_CONTAINER = 0, 1  # MountPropagation


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode_field(number, kind, value):
    if isinstance(kind, list):
        return b"".join(encode_field(number, kind[0], item) for item in value)
    if isinstance(kind, dict):
        return b"".join(encode_field(number, "KeyValue", {"key": k, "value": v}) for k, v in value.items())
    if kind in (int, bool):
        return varint(number << 3) + varint(int(value))
    data = value.encode() if kind is str else value if kind is bytes else encode(kind, value)
    return varint(number << 3 | 2) + varint(len(data)) + data


def encode(name, message):
    return b"".join(encode_field(*MESSAGES[name][field], value) for field, value in message.items())


def read_varint(data, at):
    number = shift = 0
    while True:
        number |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:
            return number, at


def decode(name, data):
    """Fields that are not there have the value that absence stands for."""
    fields = {number: (field, kind) for field, (number, kind) in MESSAGES[name].items()}
    message = {field: kind() if kind in (str, int, bool, bytes) else [] if isinstance(kind, list) else {} for field, kind in fields.values()}
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        if key & 7 == 0:
            value, at = read_varint(data, at)
        elif key & 7 == 2:
            size, at = read_varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            at += {1: 8, 5: 4}[key & 7]
            continue
        field, kind = fields.get(key >> 3, (None, None))
        if field is None or isinstance(kind, dict):
            continue
        inner = kind[0] if isinstance(kind, list) else kind
        if inner is int and value >= 1 << 63:
            value -= 1 << 64
        value = value.decode() if inner is str else bool(value) if inner is bool else value if inner in (int, bytes) else decode(inner, value)
        if isinstance(kind, list):
            message[field].append(value)
        else:
            message[field] = value
    return message


class Client:
    def __init__(self, socket):
        self.channel = grpc.insecure_channel(f"unix://{socket}")

    def call(self, method, limit=60, **request):
        """The reply; RuntimeError with the runtime's own words."""
        asked, answered = METHODS[method]
        stub = self.channel.unary_unary(f"/runtime.v1.RuntimeService/{method}", request_serializer=lambda message: encode(asked, message),
                                        response_deserializer=lambda data: decode(answered, data))
        try:
            return stub(request, timeout=limit)
        except grpc.RpcError as error:
            raise RuntimeError(f"{method}: {error.details()}") from None
