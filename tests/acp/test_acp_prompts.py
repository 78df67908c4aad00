"""What prompts carry beside their text (04 4.1; D8, D12)."""

import pytest
from greenroom.transport.acp.options import FRAME_BYTES_MAX


@pytest.mark.parametrize(
    ("opts", "cache"),
    [
        ({}, None),
        ({"provider_name": "other"}, None),
        ({"provider_name": "claude"}, {"type": "ephemeral"}),
        ({"runtime_provider": "anthropic"}, {"type": "ephemeral"}),
        ({"provider_base_url": "https://api.anthropic.com"}, None),
        (
            {"provider_name": "claude", "provider_base_url": "https://api.anthropic.com/v1"},
            {"type": "ephemeral", "ttl": "1h"},
        ),
        (
            {
                "runtime_provider": "anthropic",
                "provider_base_url": "https://aiplatform.googleapis.com",
            },
            {"type": "ephemeral", "ttl": "1h"},
        ),
        (
            {
                "provider_name": "claude",
                "provider_base_url": "https://eu-aiplatform.googleapis.com",
            },
            {"type": "ephemeral", "ttl": "1h"},
        ),
        (
            {"provider_name": "claude", "provider_base_url": "https://api.anthropic.com.evil"},
            {"type": "ephemeral"},
        ),
        ({"provider_name": "claude", "provider_base_url": "http://["}, {"type": "ephemeral"}),
    ],
)
def test_some_providers_are_asked_to_keep_the_prompt(make_peer, opts, cache):
    peer = make_peer(**opts).started().prompted()
    [block] = peer.sent[-1]["params"]["prompt"]
    assert block.get("_meta") == (None if cache is None else {"cache_control": cache})


def test_d12_a_native_prompt_is_told_of_on_the_first_prompt(make_v2_peer):
    opts = {"system_prompt": "be nice", "system_prompt_delivery": "native"}
    peer = make_v2_peer(**opts).started().running()
    params = peer.sent[0]["params"]
    assert params["prompt"][0]["text"] == "hello"
    assert params["_meta"] == {"system": {"prompt_delivery": "native"}}


def test_d8_a_prompt_too_long_to_send_is_an_error_and_was_not_held(v2):
    v2.prompted(text="x" * FRAME_BYTES_MAX)
    assert (v2.types, v2.client.turn_id) == (["error"], "")
