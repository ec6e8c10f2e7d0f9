"""Private keys on the disk: their owner's alone, and encrypted where that is asked."""

from pathlib import Path

import pytest

from mos_protocol.errors import MalformedError
from mos_protocol.signed.keys import (
    PASSPHRASE_FILE_VARIABLE,
    PASSPHRASE_VARIABLE,
    SigningKey,
    load_key,
    save_key,
)
from mos_runtime.errors import StorageError


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SigningKey:
    """A key that was saved under the passphrase `secret`."""
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "secret")
    made = SigningKey.generate()
    save_key(tmp_path / "site.key", made)
    return made


def test_encrypted_key_opens_with_its_passphrase_alone(
    tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "site.key"
    assert b"ENCRYPTED" in path.read_bytes()
    assert load_key(path).public == key.public
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "another")
    with pytest.raises(MalformedError, match="passphrase is another one"):
        load_key(path)
    monkeypatch.delenv(PASSPHRASE_VARIABLE)
    with pytest.raises(MalformedError, match="--passphrase-file"):
        load_key(path)


def test_passphrase_comes_from_a_file(
    tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PASSPHRASE_VARIABLE)
    file = tmp_path / "passphrase"
    file.write_text("secret\n")
    monkeypatch.setenv(PASSPHRASE_FILE_VARIABLE, str(file))
    assert load_key(tmp_path / "site.key").public == key.public
    file.write_text("\n")
    with pytest.raises(StorageError, match="empty"):
        load_key(tmp_path / "site.key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_key_that_others_can_read_is_not_used(
    tmp_path: Path, key: SigningKey, mode: int
) -> None:
    path = tmp_path / "site.key"
    path.chmod(mode)
    with pytest.raises(StorageError, match="chmod 600"):
        load_key(path)
    path.chmod(0o400)
    assert load_key(path).public == key.public
