import pytest

from reconciler.model.host import Host, HostStatus
from reconciler.observed.trouble import explain_text

HOST = Host("h", "qemu+ssh://h/system")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("unable to connect to server at 'h:16509': Connection refused", HostStatus.UNREACHABLE),
        ("Unable to resolve address 'h' service '16509': Name or service not known", HostStatus.UNREACHABLE),
        (
            "Cannot recv data: kex_exchange_identification: read: Connection reset by peer",
            HostStatus.UNREACHABLE,
        ),
        (
            "Cannot recv data: Connection closed by 192.0.2.1 port 22: Connection reset",
            HostStatus.UNREACHABLE,
        ),
        (
            "Failed to connect socket to '/run/libvirt/libvirt-sock': No such file or directory",
            HostStatus.NO_LIBVIRT,
        ),
        (
            "Failed to connect socket to '/run/libvirt/libvirt-sock': Connection refused",
            HostStatus.NO_LIBVIRT,
        ),
        ("Failed to connect socket to '/run/libvirt/libvirt-sock': Permission denied", HostStatus.DENIED),
        ("authentication unavailable: no polkit agent available", HostStatus.DENIED),
        ("access denied by policy", HostStatus.DENIED),
        ("Cannot read CA certificate '/etc/pki/CA/cacert.pem': No such file or directory", HostStatus.DENIED),
        ("internal error: client socket is closed", HostStatus.NO_LIBVIRT),
        ("internal error: connection closed due to keepalive timeout", HostStatus.SLOW),
        ("End of file while reading data: sh: 1: nc: not found: Input/output error", HostStatus.NO_LIBVIRT),
        ("Host key verification failed.", HostStatus.HOST_KEY),
        ("no connection driver available for foo:///", HostStatus.NO_LIBVIRT),
        ("something nobody has seen before", HostStatus.NO_LIBVIRT),
        ("", HostStatus.NO_LIBVIRT),
    ],
)
def test_status(text, status):
    error = explain_text(HOST, text)
    assert error.reason == status.value
    assert error.hint
    assert text[-30:] in error.message


def test_a_banner_does_not_hide_the_reason():
    error = explain_text(
        HOST, "*****\nAuthorised use only\n*****\nadmin@h: Permission denied (publickey).\r\n"
    )
    assert error.reason == HostStatus.KEY_REFUSED.value
    assert "Permission denied (publickey)" in error.message
    assert "Authorised" not in error.message


def test_the_code_wins_where_the_text_is_vague():
    assert explain_text(HOST, "error from service: nope", denied=True).reason == HostStatus.DENIED.value


def test_a_key_file_that_cannot_be_read_is_not_the_hosts_fault(tmp_path):
    said = "admin@h: Permission denied (publickey)."
    key = tmp_path / "id"
    host = Host("h", f"qemu+ssh://admin@h/system?keyfile={key}&no_tty=1")
    error = explain_text(host, said)
    assert error.reason == HostStatus.KEY_REFUSED.value
    assert f"we cannot read the key file {key}: No such file or directory" in error.message
    assert "ansible_ssh_private_key_file" in error.hint
    key.write_text("key")
    assert "it refuses our ssh key" in explain_text(host, said).message
