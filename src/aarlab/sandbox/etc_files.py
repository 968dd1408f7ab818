"""The few files of /etc that programs expect: who the user is, and where `localhost` is.

They are generated, since the host's own would show its users and networks. With them `whoami`,
`git commit`, `ssh -V`, a name look-up of `localhost` and Node's `os.userInfo()` work inside as on
any machine; any other name is unknown at once, without a question to a name server.
"""

from collections.abc import Mapping

from aarlab.sandbox.sandbox import SandboxSpec

USER, HOSTNAME = "researcher", "sandbox"


def etc_files(spec: SandboxSpec, uid: int) -> Mapping[str, str]:
    """Path inside -> text, for a user with this uid (its gid is the same number)."""
    home = spec.env.get("HOME", spec.workdir)
    return {
        "/etc/passwd": (
            "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n"
            f"{USER}:x:{uid}:{uid}:Researcher:{home}:/bin/bash\n"
            "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        ),
        "/etc/group": f"root:x:0:\n{USER}:x:{uid}:\nnogroup:x:65534:\n",
        # git writes an author only for a host with a domain
        "/etc/hosts": (
            "127.0.0.1 localhost\n::1 localhost ip6-localhost\n"
            f"127.0.1.1 {HOSTNAME}.localdomain {HOSTNAME}\n"
        ),
        "/etc/nsswitch.conf": "".join(
            f"{name}: files\n" for name in ("passwd", "group", "shadow", "hosts", "services")
        ),
        "/etc/host.conf": "multi on\n",
        "/etc/resolv.conf": "",
    }
