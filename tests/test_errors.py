"""How a command ends on an error."""

import pytest

from awing.errors import ConfigError, exit_on_user_error


def test_exit_on_user_error_prints_the_sentence(monkeypatch):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit, match=r"^error: expected input=PATH$"), exit_on_user_error():
        raise ConfigError("expected input=PATH")


def test_exit_on_user_error_shows_tracebacks_on_request(monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ConfigError), exit_on_user_error():
        raise ConfigError("expected input=PATH")
